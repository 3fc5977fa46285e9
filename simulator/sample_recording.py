"""Seeded recordings in the shapes of real ones, for where there is no real one.

Cadences, gaps and value ranges follow those of a real SDS011 and BME280 of one street.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

SDS_HEAD = "sensor_id;sensor_type;location;lat;lon;timestamp;P1;durP1;ratioP1;P2;durP2;ratioP2"
BME_HEAD = (
    "sensor_id;sensor_type;location;lat;lon;timestamp;"
    "pressure;altitude;pressure_sealevel;temperature;humidity"
)
FIRST_DAY = datetime(2019, 2, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Quirks:
    """What real archives have besides clean rows: each is a share of the rows."""

    empty_values: float = 0.0
    same_second: float = 0.0
    one_second_gap: float = 0.0
    out_of_range: float = 0.0
    unsorted: bool = False


CLEAN = Quirks()
ROUGH = Quirks(0.02, 0.01, 0.02, 0.02, unsorted=True)


def write_recording(
    folder: Path, seed: int, days: int = 7, nodes: int = 1, quirks: Quirks = CLEAN
) -> int:
    """Write a folder of daily CSV files; returns the number of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(seed)
    rows = 0
    for node in range(nodes):
        location = 7000 + 3 * node
        for day in range(days):
            date = FIRST_DAY + timedelta(days=day)
            dust = _dust_rows(random, 15_000 + 2 * node, location, date, quirks)
            weather = _weather_rows(random, 15_001 + 2 * node, location, date, quirks)
            stem = f"{date:%Y-%m-%d}"
            dust_file = folder / f"{stem}_sds011_sensor_{15_000 + 2 * node}.csv"
            weather_file = folder / f"{stem}_bme280_sensor_{15_001 + 2 * node}.csv"
            _write(dust_file, SDS_HEAD, dust, random if quirks.unsorted else None)
            _write(weather_file, BME_HEAD, weather, random if quirks.unsorted else None)
            rows += len(dust) + len(weather)
    return rows


def _write(path: Path, head: str, rows: list[str], shuffle: Random | None) -> None:
    if shuffle is not None:
        shuffle.shuffle(rows)
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


def _times(random: Random, date: datetime, typical_s: int, gap: float, quirks: Quirks) -> list[int]:
    """Seconds of the day of each row."""
    times = []
    second = random.randint(10, typical_s)
    while second < 86_400:
        times.append(second)
        if random.random() < quirks.same_second:
            times.append(second)
        if random.random() < quirks.one_second_gap:
            second += 1
        elif random.random() < gap:
            second += random.randint(600, 4_300)
        else:
            second += max(5, round(random.gauss(typical_s, typical_s * 0.08)))
    return times


def _stamp(date: datetime, second: int) -> str:
    return (date + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")


def _dust_rows(
    random: Random, sensor: int, location: int, date: datetime, quirks: Quirks
) -> list[str]:
    rows = []
    for second in _times(random, date, 167, 0.004, quirks):
        rush = 1 + math.exp(-(((second / 3600 - 8) / 1.5) ** 2))
        fine = rush * random.lognormvariate(1.3, 0.5)
        coarse = fine * random.uniform(1.2, 3.0)
        if random.random() < quirks.out_of_range:
            coarse = random.choice((1999.9, 1205.4))
        p1, p2 = f"{coarse:.2f}", f"{fine:.2f}"
        if random.random() < quirks.empty_values:
            p1, p2 = random.choice((("", p2), (p1, ""), ("", "")))
        stamp = _stamp(date, second)
        rows.append(f"{sensor};SDS011;{location};56.963;-2.211;{stamp};{p1};;;{p2};;")
    return rows


def _weather_rows(
    random: Random, sensor: int, location: int, date: datetime, quirks: Quirks
) -> list[str]:
    rows = []
    pressure_pa = 100_000 + random.uniform(-1500, 1500)
    for second in _times(random, date, 337, 0.05, quirks):
        day = math.sin((second / 86_400 - 0.35) * 2 * math.pi)
        pressure_pa += random.gauss(0, 8)
        temperature = 2.5 + 4 * day + random.gauss(0, 0.1)
        humidity = min(100.0, 88 - 10 * day + random.gauss(0, 1.5))
        if random.random() < quirks.out_of_range:
            temperature = random.choice((-145.75, 99.0))
        cells = [f"{pressure_pa:.2f}", "", "", f"{temperature:.2f}", f"{humidity:.2f}"]
        if random.random() < quirks.empty_values:
            cells[random.choice((0, 4))] = ""
        stamp = _stamp(date, second)
        rows.append(f"{sensor};BME280;{location};56.963;-2.211;{stamp};{';'.join(cells)}")
    return rows


def write_levels(path: Path, seed: int, rows: int, period_s: int = 60) -> None:
    """Write a series of A-weighted levels as a sound level meter's software exports it."""
    random = Random(seed)
    lines = ["datetime, LEQ dB -A "]
    for row in range(rows):
        stamp = FIRST_DAY + timedelta(seconds=30 + row * period_s)
        level_db = 52 + 9 * math.sin(row / 40) + random.gauss(0, 2)
        lines.append(f"{stamp:%Y-%m-%d %H:%M:%S},{level_db:.6f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


KIT_HEAD = (
    "TIME,TEMP,HUM,BATT,NOISE_A,PRESS,PM_1,PM_25,PM_10",
    "ISO 8601,C,%,%,dBA,kPa,ug/m3,ug/m3,ug/m3",
    "Time,Temperature,Humidity,Battery,Noise dBA,Barometric pressure,PM 1.0,PM 2.5,PM 10.0",
    ",55,56,10,53,58,89,87,88",
)


def write_kit(path: Path, seed: int, rows: int, nulls: float = 0.05) -> None:
    """Write a file as a Smart Citizen Kit 2.1 writes it to its SD card, a row a minute."""
    random = Random(seed)
    lines = list(KIT_HEAD)
    for row in range(rows):
        stamp = FIRST_DAY + timedelta(seconds=5 + row * 60)
        fine = random.randint(1, 30)
        weather = [f"{12 + 5 * math.sin(row / 300):.2f}", f"{random.uniform(40, 90):.2f}"]
        dust = [str(round(fine * 0.7)), str(fine), str(fine + random.randint(0, 20))]
        level = f"{random.uniform(38, 75):.2f}"
        for part in (weather, dust):
            if random.random() < nulls:
                part[:] = ["null"] * len(part)
        if random.random() < nulls:
            level = "null"
        cells = [f"{stamp:%Y-%m-%dT%H:%M:%SZ}", *weather, "98", level, "101.32", *dust]
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
