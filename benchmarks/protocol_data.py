"""What the protocol's benchmark encodes: recorded channels, and what is modelled beside them."""

import csv
import dataclasses
import math
import os
import random
import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from simulator.sample_recording import write_recording
from simulator.world import Place, World

PERIOD_S = 148
START_MS = 1_764_547_200_000


@dataclass(frozen=True)
class Series:
    """Rows of scaled integers at a fixed period, by the registry's quantities.

    exponents are those of the wire (None: the registry's); modelled names what is no recording.
    """

    name: str
    quantities: tuple[int, ...]
    exponents: tuple[int | None, ...]
    period_ms: int
    rows: list[tuple[int, ...]]
    modelled: str


PM10, PM2_5, PM1, TEMPERATURE, HUMIDITY, PRESSURE, CO2, LAEQ = 1, 2, 3, 16, 17, 18, 24, 32
CHANNELS = (PM10, PM2_5, PM1, TEMPERATURE, HUMIDITY, PRESSURE, CO2, LAEQ)


def folder() -> Path | None:
    """The recordings named by OSN_DATA, or None."""
    named = os.environ.get("OSN_DATA")
    return Path(named) if named and Path(named).is_dir() else None


def read(files: Sequence[Path], names: Sequence[str]) -> list[tuple[float, tuple[float, ...]]]:
    """(Unix second, values) of sensor.community rows in which all names have a number."""
    found = []
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter=";"):
                stamp = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC).timestamp()
                try:
                    found.append((stamp, tuple(float(row[name]) for name in names)))
                except ValueError:
                    continue
    return sorted(found)


def bridged(
    times: Sequence[float], records: Sequence[tuple[float, float]], rng: random.Random
) -> tuple[list[float], float]:
    """A channel at times: recorded values where there are some, between them recorded steps.

    Steps between neighbours no more than 200 s apart are drawn from the 12 nearest in time, so
    that calm and windy hours stay apart, and bent so that they meet the next record. Also returns
    the share of times that had a record.
    """
    pairs = list(pairwise(records))
    steps = [(a[0], b[1] - a[1]) for a, b in pairs if b[0] - a[0] <= 200]
    fixed: dict[int, float] = {}
    for stamp, value in records:
        at = bisect_left(times, stamp)
        near = min(
            (i for i in (at - 1, at) if 0 <= i < len(times)), key=lambda i: abs(times[i] - stamp)
        )
        if abs(times[near] - stamp) <= PERIOD_S / 2:
            fixed[near] = value
    places = sorted(fixed)
    values = [fixed[places[0]]] * len(times)
    for first, last in pairwise(places):
        near_steps = nearest(steps, times[first])
        walk = [fixed[first]]
        for _ in range(first, last):
            walk.append(walk[-1] + rng.choice(near_steps))
        miss = fixed[last] - walk[-1]
        for offset in range(last - first + 1):
            values[first + offset] = walk[offset] + miss * offset / (last - first)
    for place in range(places[-1], len(times)):
        values[place] = fixed[places[-1]]
    return values, len(fixed) / len(times)


def nearest(steps: Sequence[tuple[float, float]], stamp: float) -> list[float]:
    """The 12 steps nearest in time."""
    at = bisect_left(steps, (stamp, -math.inf))
    first = max(0, min(at - 6, len(steps) - 12))
    return [step for _, step in steps[first : first + 12]]


def energy_means(path: Path, period_s: int) -> list[float]:
    """LAeq over periods from a file of one-second LAeq."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        energies = [10 ** (float(row[1]) / 10) for row in rows if row and row[1].strip()]
    return [
        10 * math.log10(sum(energies[at : at + period_s]) / period_s)
        for at in range(0, len(energies) - period_s, period_s)
    ]


def co2(count: int, rng: random.Random) -> list[float]:
    """Outdoor CO2: a day's swing, slow air, and what is left of an SCD41's noise in a mean."""
    air = 0.0
    found = []
    for row in range(count):
        air = 0.98 * air + rng.gauss(0, 1.2)
        swing = 12 * math.cos(2 * math.pi * row * PERIOD_S / 86_400)
        found.append(425 + swing + air + rng.gauss(0, 1.8))
    return found


def recorded(data: Path) -> Series:
    """The node of sensor.community with what it lacks modelled, on a grid of 148 s."""
    rng = random.Random(148)
    place = data / "sensor_community_aberdeen"
    particles = read(sorted(place.glob("*_sds011_*.csv")), ("P1", "P2"))
    weather = read(sorted(place.glob("*_bme280_*.csv")), ("temperature", "humidity", "pressure"))
    times = [stamp for stamp, _ in particles]
    columns = [[values[i] * 10 for _, values in particles] for i in (0, 1)]
    columns.append([values[1] * 6 for _, values in particles])
    share = 0.0
    for i, scale in ((0, 100), (1, 100), (2, 1)):
        channel = [(stamp, values[i]) for stamp, values in weather]
        values, share = bridged(times, channel, rng)
        columns.append([value * scale for value in values])
    columns.append(co2(len(times), rng))
    levels = energy_means(data / "noise_laeq" / "test_data_laeq1s.csv", PERIOD_S)
    columns.append([levels[row % len(levels)] * 10 for row in range(len(times))])
    rows = [tuple(round(value) for value in row) for row in zip(*columns, strict=True)]
    modelled = (
        f"PM1 is 0.6 PM2.5; CO2 is a model; temperature, humidity and pressure are recorded in "
        f"{share:.0%} of the rows and bridged with recorded steps between; LAeq is the energy mean "
        f"of another place's recording"
    )
    return Series("148 s", CHANNELS, (None,) * 8, PERIOD_S * 1000, rows, modelled)


STREET = (PM10, PM2_5, PM1, TEMPERATURE, HUMIDITY, PRESSURE, 25, 26)


def street(hours: int = 24) -> Series:
    """A simulated street every 10 s: PMS5003 (whole ug/m3), BME280 (x16), SGP41 (indices)."""
    rng = random.Random(10)
    world, place = World(5), Place(street_m=15)
    rows = []
    for row in range(hours * 360):
        air = world.air(START_MS + row * 10_000, place)
        noisy = [air[name] * (1 + rng.gauss(0, 0.02)) for name in ("pm10", "pm2_5", "pm1")]
        noisy.append((air["temperature"] + rng.gauss(0, 0.005)) * 100)
        noisy.append((air["humidity"] + rng.gauss(0, 0.02)) * 100)
        noisy.append(air["pressure"] + rng.gauss(0, 1.3))
        noisy += [air["voc_index"], air["nox_index"]]
        rows.append(tuple(round(value) for value in noisy))
    modelled = (
        "everything is simulated; noise as the sensors have it: BME280 0.005 degC, 0.02 %, "
        "1.3 Pa rms, PMS5003 2 %; PM goes with exponent 0"
    )
    exponents = (0, 0, 0, None, None, None, None, None)
    return Series("10 s", STREET, exponents, 10_000, rows, modelled)


# Level of each third octave from 20 Hz to 20 kHz against LAeq, of a street; dB.
STREET_SPECTRUM = (
    -20, -15, -11, -8, -6, -4, -3, -2, -2, -1, -1, -0.5, 0, 0, 0.5, 1, 1.5, 2, 2, 1.5, 1, 0, -1,
    -2.5, -4, -6, -8, -11, -14, -17, -21,
)  # fmt: skip
NEIGHBOURS = 0.7


def spectra(levels_db: Sequence[float]) -> list[tuple[int, list[int]]]:
    """LAeq (0.1 dB) and 31 bands (0.5 dB) for each second of a series of LAeq.

    A band is the level, the street's spectrum, a deviation that lives about 5 s and is like its
    neighbour's (correlation 0.7), and the estimator's own noise, 4.34 dB / sqrt(bandwidth * 1 s).
    """
    rng = random.Random(31)
    deviations = [0.0] * len(STREET_SPECTRUM)
    found = []
    for level in levels_db:
        bands = []
        innovation = rng.gauss(0, 1)
        for band, offset in enumerate(STREET_SPECTRUM):
            fresh = math.sqrt(1 - NEIGHBOURS**2) * rng.gauss(0, 1)
            innovation = NEIGHBOURS * innovation + fresh
            deviations[band] = 0.8 * deviations[band] + innovation
            frequency = 10 ** ((13 + band) / 10)
            bandwidth = frequency * (2 ** (1 / 6) - 2 ** (-1 / 6))
            noise = rng.gauss(0, 4.34 / math.sqrt(bandwidth))
            bands.append(round(2 * (level + offset + deviations[band] + noise)))
        found.append((round(level * 10), bands))
    return found


def second_levels(data: Path | None, count: int) -> tuple[list[float], str]:
    """LAeq of consecutive seconds, recorded where there is a recording."""
    if data is None:
        world, place = World(7), Place(street_m=15)
        start = START_MS + 8 * 3_600_000
        levels = [world.level_db(start + 1000 * second, place) for second in range(count)]
        return levels, "simulated"
    with (data / "noise_laeq" / "test_data_laeq1s.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [float(row[1]) for row in rows[30_000 : 30_000 + count]], "recorded"


def measured(data: Path | None) -> Series:
    """The recording of OSN_DATA, else a seeded one of its shape."""
    if data is not None:
        return recorded(data)
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        write_recording(place / "sensor_community_aberdeen", seed=1)
        (place / "noise_laeq").mkdir()
        levels, _ = second_levels(None, 86_400)
        lines = [
            "datetime, LEQ dB -A ",
            *(f"{second},{db:.1f}" for second, db in enumerate(levels)),
        ]
        path = place / "noise_laeq" / "test_data_laeq1s.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        series = recorded(place)
    seeded = f"no OSN_DATA, so a seeded recording of the same shape; {series.modelled}"
    return dataclasses.replace(series, modelled=seeded)
