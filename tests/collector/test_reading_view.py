"""Readings and hourly means as rows: through SQL views."""

import sqlite3
from pathlib import Path

import pytest

from collector.archive import archive
from collector.readings.reading_view import iso, register
from collector.storage.rollup import Rollup
from tests.collector.core import BOOT, Bench, Board


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    board, other = Board(), Board(node=0x0BADCAFE)
    bench = Bench(tmp_path, [board, other])
    bench.receive(board.live(60_000, [(BOOT, 1, 1)]))
    await bench.take(
        board.data(1, [[120, 2_150], [None, 2_151]], t0_ms=60_000, period_ms=30_000),
        other.data(1, [[999, -500]], t0_ms=0),
        board.data(1, [[666, 666]], t0_ms=60_000),
    )
    await bench.storage.snapshot()
    return bench


async def test_the_view_shows_readings_with_their_times(bench: Bench) -> None:
    reader = archive.open_reader(bench.folder / "archive.db")
    register(reader)
    rows = reader.execute(
        "SELECT time, quantity, instance, value, unit, quality, seq, sample FROM reading"
        " WHERE node = 'a1b2c3d4' ORDER BY quantity, sample"
    ).fetchall()
    first, second = iso(bench.clock.unix_ms()), iso(bench.clock.unix_ms() + 30_000)
    assert rows == [
        (first, "pm2_5", 0, 12.0, "ug/m3", "ok", 1, 0),
        (second, "pm2_5", 0, None, "ug/m3", "missing", 1, 1),
        (first, "temperature", 0, 21.5, "degC", "ok", 1, 0),
        (second, "temperature", 0, 21.51, "degC", "ok", 1, 1),
    ]
    undated = "SELECT time, value FROM reading WHERE node = '0badcafe' AND quantity = 'pm2_5'"
    assert reader.execute(undated).fetchall() == [(None, 99.9)]
    reader.close()


async def test_hourly_means_have_names_and_coverage(bench: Bench) -> None:
    bench.clock.pass_ms(2 * 3_600_000)
    await Rollup(bench.storage.writer, bench.storage.timeline, bench.clock).catch_up()
    reader = archive.open_reader(bench.folder / "archive.db")
    register(reader)
    rows = reader.execute(
        "SELECT quantity, unit, mean, count, coverage FROM hourly_mean"
        " WHERE node = 'a1b2c3d4' ORDER BY quantity, hour"
    ).fetchall()
    reader.close()
    assert {(row[0], row[1]) for row in rows} == {("pm2_5", "ug/m3"), ("temperature", "degC")}
    assert sum(row[3] for row in rows if row[0] == "temperature") == 2
    assert sum(row[4] for row in rows if row[0] == "pm2_5") == pytest.approx(30 / 3600)


async def test_a_connection_without_an_archive_gets_the_functions_alone() -> None:
    connection = sqlite3.connect(":memory:")
    register(connection)
    assert connection.execute("SELECT osn_readings(x'00')").fetchone() == ("[]",)


def test_times_far_away_have_no_text() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1 << 60) is None
