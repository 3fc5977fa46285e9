"""Means of hours and days, the share that they cover, and the commands that write them."""

import asyncio
import json
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from collector.app import Collector
from collector.clock import HOUR_MS
from collector.readings.day_levels import day_edges
from collector.readings.means import Point, daily_mean, hourly_means
from protocol.compose import compose_data
from protocol.mac import derive
from protocol.registry import by_name
from protocol.samples import Channel
from tests.collector.house import (
    BOOT,
    FRAMES,
    KEYS,
    ROWS,
    STREET,
    House,
    Script,
    an_hour,
    make_house,
)

MADRID = ZoneInfo("Europe/Madrid")
DAY = date(2026, 3, 1)
MINUTE_MS = 60_000


def minutes(edges: tuple[int, int], hour: int, count: int, value: float) -> list[Point]:
    start_ms = edges[0] + hour * HOUR_MS
    return [Point(start_ms + n * MINUTE_MS, MINUTE_MS, value) for n in range(count)]


def test_a_day_of_the_place_has_23_24_or_25_hours() -> None:
    days = (date(2026, 3, 29), DAY, date(2026, 10, 25))
    lengths = [(end - start) // HOUR_MS for start, end in (day_edges(day, MADRID) for day in days)]
    assert lengths == [23, 24, 25]


@pytest.mark.parametrize(("count", "given"), [(45, True), (44, False), (60, True)])
def test_an_hour_wants_three_quarters(count: int, given: bool) -> None:
    edges = day_edges(DAY, MADRID)
    (mean,) = hourly_means(minutes(edges, 5, count, 7.0), edges, "mean")
    assert mean.start_ms == edges[0] + 5 * HOUR_MS
    assert mean.coverage == pytest.approx(count / 60)
    assert (mean.value == 7.0) is given
    assert (mean.readings, mean.low, mean.high) == (count, 7.0, 7.0)


@pytest.mark.parametrize(("hours", "given"), [(18, True), (17, False)])
def test_a_day_wants_three_quarters_of_its_hours(hours: int, given: bool) -> None:
    edges = day_edges(DAY, MADRID)
    points = [p for hour in range(hours) for p in minutes(edges, hour, 50, float(hour))]
    mean = daily_mean(hourly_means(points, edges, "mean"), edges, "mean")
    assert mean is not None
    assert mean.coverage == pytest.approx(hours / 24)
    assert mean.value == (pytest.approx((hours - 1) / 2) if given else None)
    assert mean.high == hours - 1


def test_levels_are_averaged_by_energy() -> None:
    edges = day_edges(DAY, MADRID)
    points = minutes(edges, 0, 30, 60.0) + [
        p._replace(unix_ms=p.unix_ms + HOUR_MS // 2) for p in minutes(edges, 0, 30, 40.0)
    ]
    (mean,) = hourly_means(points, edges, "energy")
    assert mean.value == pytest.approx(57.03, abs=0.01)


def test_other_days_do_not_matter_and_nothing_has_no_mean() -> None:
    edges = day_edges(DAY, MADRID)
    outside = [Point(edges[0] - 1, 1, 1.0), Point(edges[1], 1, 1.0)]
    assert hourly_means(outside, edges, "mean") == []
    assert daily_mean([], edges, "mean") is None


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = make_house(tmp_path_factory.mktemp("house"))

    async def play(transport: Script, collector: Collector) -> None:
        await an_hour(transport, collector)
        for frame in noise_frames():
            transport.receive(STREET, frame)
        await asyncio.sleep(30)

    house.live(play)
    return house


def noise_frames() -> list[bytes]:
    """A day of LAeq each 15 minutes after the other frames: 50 dB, 60 dB by day, half heard."""
    channels = [Channel(by_name("laeq").id), Channel(by_name("valid_time").id)]
    period_ms = 900_000
    first_ms = 12 * HOUR_MS
    frames = []
    for part in range(8):
        rows: list[list[int | None]] = []
        for row in range(12):
            hour = ((part * 12 + row) * 15 - 1) // 60
            level_db = 60 if 7 <= hour < 19 else 50
            rows.append([level_db * 10, period_ms if hour < 19 else period_ms // 2])
        t0_ms = first_ms + part * 12 * period_ms
        up = derive(KEYS[STREET], b"up")
        frames.append(
            compose_data(up, STREET, BOOT, FRAMES + 1 + part, channels, rows, t0_ms, period_ms)
        )
    return frames


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_means_are_written_with_names_and_coverage(house: House) -> None:
    rows = lines(
        house.call("means", "-", "--format", "jsonl", "--node", "Plaza", "--quantity", "humidity")
    )
    assert len(rows) == 1
    (row,) = rows
    assert row["start"] == "2026-03-01T12:00:00.000Z"
    assert (row["quantity"], row["value"], row["unit"]) == ("humidity", 50.0, "%")
    assert (row["readings"], row["coverage"]) == (FRAMES * ROWS, 1.0)


def test_a_mean_of_too_little_is_empty(house: House) -> None:
    (row,) = lines(
        house.call("means", "-", "--format", "jsonl", "--period", "day", "--quantity", "humidity")
    )
    assert (row["value"], row["coverage"]) == (None, round(1 / 24, 4))
    (row,) = lines(
        house.call(
            "means", "-", "--format", "jsonl", "--period", "day", "--quantity", "humidity",
            "--coverage", "4",
        )
    )  # fmt: skip
    assert row["value"] == 50.0


def test_means_of_corrected_values_name_the_formula(house: House) -> None:
    rows = lines(house.call("means", "-", "--format", "jsonl", "--values", "corrected"))
    assert {(row["quantity"], row["formula"]) for row in rows} == {("pm2_5", "kappa-koehler-1")}


def test_day_levels_come_with_the_share_that_was_heard(house: House, tmp_path: Path) -> None:
    rows = lines(house.call("levels", "-", "--format", "jsonl", "--from", "2026-03-02"))
    (row,) = [row for row in rows if row["day"] == "2026-03-02"]
    assert (row["lday"], row["levening"], row["lnight"]) == (60.0, None, 50.0)
    assert row["coverage_day"] == 1.0
    assert 0.4 < float(str(row["coverage_evening"])) < 0.6
    assert row["lden"] is None, "the evening was half heard"
    target = tmp_path / "levels.csv"
    house.call("levels", str(target))
    assert target.read_text().startswith("node,name,day,instance,lday")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("means", "-", "--zone", "Madrid"), "'Madrid' is not a time zone"),
        (("means", "-", "--quantity", "pm25"), "'pm25' is not a quantity"),
        (("means", "x.xlsx"), "say --format"),
        (("levels", "-", "--format", "parquet"), "parquet needs a file"),
        (("levels", "-", "--node", "Nobody"), "no node 'Nobody'"),
    ],
)
def test_a_mistake_is_named(house: House, arguments: tuple[str, ...], words: str) -> None:
    assert words in house.call(*arguments, code=1)


def test_no_place_is_averaged(house: House) -> None:
    rows = lines(house.call("means", "-", "--format", "jsonl", "--coverage", "0"))
    assert not {"latitude", "longitude", "altitude"} & {str(row["quantity"]) for row in rows}
