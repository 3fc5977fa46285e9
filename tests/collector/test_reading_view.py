"""Readings as rows: through the SQL view, and in a file that needs nothing of ours."""

import sqlite3
from pathlib import Path

import pytest

from collector.archive import archive
from collector.archive.reading_view import iso, register
from collector.operate.export_sqlite import Choice, ExportError, export
from protocol.registry import by_name
from tests.collector.core import BOOT, NODE, Bench, Board


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
        (second, "pm2_5", 0, 12.0, "ug/m3", "missing", 1, 1),
        (first, "temperature", 0, 21.5, "degC", "ok", 1, 0),
        (second, "temperature", 0, 21.51, "degC", "ok", 1, 1),
    ]
    undated = "SELECT time, value FROM reading WHERE node = '0badcafe' AND quantity = 'pm2_5'"
    assert reader.execute(undated).fetchall() == [(None, 99.9)]
    reader.close()


async def test_the_export_needs_no_function_of_ours(bench: Bench) -> None:
    target = bench.folder / "out.db"
    steps: list[tuple[int, int]] = []
    reader = archive.open_reader(bench.folder / "archive.db")
    assert export(reader, target, progress=lambda *step: steps.append(step)) == 6
    assert steps == [(3, 3)]
    plain = sqlite3.connect(target)
    assert plain.execute("SELECT count(*), count(unix_ms) FROM reading").fetchone() == (6, 4)
    assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with pytest.raises(ExportError, match="exists"):
        export(reader, target)


async def test_the_export_can_be_narrowed(bench: Bench) -> None:
    reader = archive.open_reader(bench.folder / "archive.db")
    pm = frozenset({by_name("pm2_5").id})
    now_ms = bench.clock.unix_ms()
    choices = {
        "node": (Choice(nodes=frozenset({NODE})), 4),
        "quantity": (Choice(quantities=pm), 3),
        "time": (Choice(from_ms=now_ms + 1), 2),
        "end": (Choice(to_ms=now_ms + 1), 2),
        "nothing": (Choice(from_ms=now_ms + 60_000), 0),
    }
    for name, (choice, rows) in choices.items():
        assert export(reader, bench.folder / f"{name}.db", choice) == rows


async def test_a_connection_without_an_archive_gets_the_functions_alone() -> None:
    connection = sqlite3.connect(":memory:")
    register(connection)
    assert connection.execute("SELECT osn_readings(x'00')").fetchone() == ("[]",)


def test_times_far_away_have_no_text() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1 << 60) is None
