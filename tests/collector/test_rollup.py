"""Hourly means: computed when an hour is over, and again when late frames or times change it."""

import math
from pathlib import Path

import pytest

from collector.clock import HOUR_MS
from collector.storage import rollup
from collector.storage.rollup import Rollup, aggregate
from protocol import compose, wire
from protocol.compose import clock_section
from protocol.registry import by_name
from protocol.samples import Channel
from protocol.sections import ClockSet
from tests.collector.core import BOOT, NODE, Bench, Board, InATurn

PM = by_name("pm2_5").id
LAEQ = by_name("laeq").id
DAY_MS = 24 * HOUR_MS


def rows(bench: Bench) -> dict[tuple[int, int], tuple[int, float, float, float, int]]:
    found = bench.inline.connection.execute(
        "SELECT hour, quantity, count, mean, low, high, valid_ms FROM hourly ORDER BY 1, 2"
    )
    return {(row[0], row[1]): tuple(row[2:]) for row in found}


async def started(tmp_path: Path) -> tuple[Bench, Board, Rollup]:
    """A board whose uptime 0 is at a full hour of Unix time."""
    board = Board()
    bench = Bench(tmp_path, [board])
    bench.clock.step_ms(-(bench.clock.unix_ms() % HOUR_MS))
    bench.receive(board.live(0, [(BOOT, 1, 1)]))
    return bench, board, Rollup(bench.storage.writer, bench.storage.timeline, bench.clock)


async def test_an_hour_is_computed_when_it_is_over(tmp_path: Path) -> None:
    bench, board, rollup = await started(tmp_path)
    hour = bench.clock.unix_ms() // HOUR_MS
    for seq in range(1, 61):
        values = [[100 + seq, 2_000], [None, 2_100]]
        await bench.take(board.data(seq, values, t0_ms=(seq - 1) * 60_000))
    await bench.storage.snapshot()
    assert await rollup.once() == 0
    bench.clock.pass_ms(HOUR_MS + 599_000)
    assert await rollup.once() == 0
    bench.clock.pass_ms(2_000)
    assert await rollup.once() == 1
    count, mean, low, high, valid_ms = rows(bench)[hour, PM]
    assert (count, valid_ms) == (60, 1_800_000)
    assert mean == pytest.approx(13.05)
    assert (low, high) == (10.1, 16.0)
    assert await rollup.once() == 0


async def test_late_frames_make_a_closed_hour_dirty(tmp_path: Path) -> None:
    bench, board, rollup = await started(tmp_path)
    hour = bench.clock.unix_ms() // HOUR_MS
    await bench.take(board.data(2, [[200, 2_000]], t0_ms=HOUR_MS // 2))
    await bench.storage.snapshot()
    bench.clock.pass_ms(2 * DAY_MS)
    await rollup.once()
    assert rows(bench)[hour, PM][:2] == (1, 20.0)
    await bench.take(board.data(1, [[100, 2_000]], t0_ms=0))
    await bench.storage.snapshot()
    assert await rollup.once() == 1
    assert rows(bench)[hour, PM][:2] == (2, 15.0)


async def test_frames_of_many_readings_leave_others_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, board, computing = await started(tmp_path)
    # 255 rows of 64 constant columns, by hand, for no encoder of ours makes such frames
    columns = b"".join(bytes([PM, 15 | 1 << 4, instance, 2]) for instance in range(64))
    for seq in range(1, 11):
        rows_ = compose.u48(seq * 300_000) + compose.uvarint(1_000) + bytes([255, 64])
        raw = compose.compose(
            wire.T_DATA, NODE, BOOT, seq, [(wire.S_SAMPLES, rows_ + columns)], board.up
        )
        await bench.take(raw)
    await bench.storage.snapshot()
    bench.clock.pass_ms(2 * HOUR_MS)
    decoding, adding_up = InATurn(rollup.decode_stored), InATurn(rollup.aggregate)
    monkeypatch.setattr(rollup, "decode_stored", decoding)
    monkeypatch.setattr(rollup, "aggregate", adding_up)
    await computing.catch_up()
    assert (decoding.calls, adding_up.calls) == (10, 64)
    assert decoding.most == 1
    assert adding_up.most == 1


async def test_a_new_time_mapping_moves_readings_to_their_hour(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    bench.clock.step_ms(-(bench.clock.unix_ms() % HOUR_MS))
    rollup = Rollup(bench.storage.writer, bench.storage.timeline, bench.clock)
    now_ms = bench.clock.unix_ms()
    hour = now_ms // HOUR_MS
    bench.clock.pass_ms(10 * DAY_MS)
    wrong = clock_section(ClockSet(0, now_ms + DAY_MS, 100, wire.CLOCK_RTC))
    await bench.take(board.data(1, [[100, 2_000]], t0_ms=0, extra=[wrong]))
    await bench.storage.snapshot()
    await rollup.once()
    assert (hour + 24, PM) in rows(bench)
    right = clock_section(ClockSet(60_000, now_ms + 60_000, 100, wire.CLOCK_GPS))
    await bench.take(board.data(2, [[300, 2_000]], t0_ms=60_000, extra=[right]))
    await bench.storage.snapshot()
    await rollup.catch_up()
    assert rows(bench)[hour, PM][:2] == (2, 20.0)
    assert not [key for key in rows(bench) if key[0] == hour + 24]


async def test_an_undated_boot_is_computed_once_it_has_a_time(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    bench.clock.step_ms(-(bench.clock.unix_ms() % HOUR_MS))
    rollup = Rollup(bench.storage.writer, bench.storage.timeline, bench.clock)
    await bench.take(board.data(1, [[100, 2_000]], t0_ms=0))
    await bench.storage.snapshot()
    bench.clock.pass_ms(DAY_MS)
    await rollup.catch_up()
    assert rows(bench) == {}
    bench.receive(board.live(DAY_MS, [(BOOT, 2, 2)]))
    await bench.intake.flush()
    await bench.storage.snapshot()
    await rollup.catch_up()
    assert len({hour for hour, _ in rows(bench)}) == 1


async def test_levels_are_averaged_as_energy(tmp_path: Path) -> None:
    bench, board, rollup = await started(tmp_path)
    hour = bench.clock.unix_ms() // HOUR_MS
    levels = [[600], [500], [700], [400]]
    raw = compose.compose_data(board.up, NODE, BOOT, 1, [Channel(LAEQ)], levels, 0, 1_000)
    await bench.take(raw)
    await bench.storage.snapshot()
    bench.clock.pass_ms(2 * HOUR_MS)
    await rollup.once()
    expected = 10 * math.log10(sum(10 ** (db / 10) for db in (60, 50, 70, 40)) / 4)
    assert rows(bench)[hour, LAEQ][1] == pytest.approx(expected)


def test_how_values_become_one() -> None:
    values = [3.0, 1.0, 2.0]
    found = {how: aggregate(how, values) for how in ("mean", "max", "min", "sum", "last", "none")}
    assert found == {"mean": 2.0, "max": 3.0, "min": 1.0, "sum": 6.0, "last": 2.0, "none": None}
    assert aggregate("mean", []) is None
    assert aggregate("energy", [-3_000.0, 5_000.0]) == pytest.approx(5_000 - 3.0103, abs=1e-3)
