"""Numbers of downlink frames: a board hears those only that lie above all it has accepted."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.archive.writer import WriteFailed
from collector.ledger.ledger import DOWN_STEP
from protocol import wire
from tests.collector.core import BOOT, NODE, Bench, Board

U32_MAX = 0xFFFFFFFF


class Listener:
    """What the node has been sent in each boot; checks that numbers only rise."""

    def __init__(self) -> None:
        self.highest: dict[int, int] = {}
        self.frames = 0

    def hear(self, bench: Bench) -> None:
        for frame in bench.down:
            assert frame.seq > self.highest.get(frame.boot, 0), "sent before, or overtaken"
            assert frame.seq <= U32_MAX
            self.highest[frame.boot] = frame.seq
            self.frames += 1
        bench.down.clear()


async def test_two_crashes_within_one_snapshot_repeat_no_number(tmp_path: Path) -> None:
    board, listener = Board(), Listener()
    bench = Bench(tmp_path, [board])
    await bench.take(board.data(1))
    assert await bench.storage.snapshot()
    for seq in range(2, 9):
        await bench.take(board.data(seq), board.live(seq * 60_000, [(BOOT, 1, seq)]))
        listener.hear(bench)
        bench = await bench.again([board], clean=False)
    assert listener.frames > 14


@pytest.mark.parametrize("seed", range(12))
async def test_no_start_sends_a_number_that_may_have_been_sent(tmp_path: Path, seed: int) -> None:
    """Crashes, stops, snapshots and failing writes in any order; boots that come and go."""
    chance, board, listener = random.Random(seed), Board(), Listener()
    bench = Bench(tmp_path, [board])
    uptime_ms = seq = 0
    for _ in range(150):
        uptime_ms += 60_000
        seq += 1
        roll = chance.random()
        if roll < 0.35:
            heard = chance.choice([0, listener.highest.get(board.boot, 0)])
            bench.receive(board.live(uptime_ms, [(board.boot, 1, seq)], downlink_seq=heard))
        elif roll < 0.6:
            await bench.take(board.data(seq, t0_ms=uptime_ms))
        elif roll < 0.65:  # many within one start: a roll-out, or a board that asks without end
            for _ in range(chance.choice([30, DOWN_STEP, 3 * DOWN_STEP])):
                number = bench.storage.ledger.next_down(NODE, board.boot)
                if number is not None:
                    assert number > listener.highest.get(board.boot, 0)
                    listener.highest[board.boot] = number
        elif roll < 0.7:
            board.boot += 1
            uptime_ms = seq = 0
        elif roll < 0.75:
            await bench.storage.snapshot()
        elif roll < 0.8:
            await bench.intake.flush()
        listener.hear(bench)
        if roll > 0.8:
            bench = await bench.again([board], clean=roll > 0.95)
    assert listener.frames > 50
    assert bench.storage.start > 10


async def test_numbers_that_run_short_come_with_the_next_commit(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(board.data(1))
    numbers = list(drawn(bench))
    assert DOWN_STEP - 2 <= len(numbers) <= DOWN_STEP
    assert bench.words(board.data(1)) == ["duplicate"]
    bench.down.clear()
    await bench.intake.flush()
    assert [frame.type for frame in bench.down] == [wire.T_ACK]
    assert bench.down[0].seq > numbers[-1]


async def test_without_a_write_there_are_no_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(board.data(1))
    list(drawn(bench))

    async def fails(*what: object, **more: object) -> None:
        raise WriteFailed("the disk is full")

    monkeypatch.setattr(bench.storage.writer, "write", fails)
    await bench.intake.flush()
    assert not await bench.storage.snapshot()
    assert list(drawn(bench)) == []


async def test_a_boot_whose_numbers_are_used_up_costs_itself_only(tmp_path: Path) -> None:
    board, other = Board(), Board(0x0000B0B1)
    bench = Bench(tmp_path, [board, other])
    bench.receive(board.live(60_000, [(BOOT, 1, 9)], downlink_seq=U32_MAX))
    await bench.take(board.data(1), other.data(1))
    await bench.intake.flush()
    assert {frame.node for frame in bench.down} == {other.node}
    board.boot += 1
    await bench.take(board.live(1_000, [(board.boot, 1, 1)], counter=1))
    assert NODE in {frame.node for frame in bench.down}


def drawn(bench: Bench) -> Iterator[int]:
    """Numbers for the node's boot until there are none."""
    while (number := bench.storage.ledger.next_down(NODE, BOOT)) is not None:
        yield number
