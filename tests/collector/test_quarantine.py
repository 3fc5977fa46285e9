"""Quarantine keeps to its ring and its write rate, whatever is thrown at it."""

import asyncio
import os
import random
from pathlib import Path

from collector.archive import quarantine
from collector.archive.inline_writer import InlineWriter
from collector.archive.quarantine import (
    BYTES_MAX,
    FRAMES_PER_NODE,
    FRAMES_PER_WRITE,
    NODES_MAX,
    Quarantine,
)
from collector.keys import KeyRing
from collector.transports.base import Source
from simulator.virtual_loop import VirtualClock, VirtualLoop, run
from tests.collector.core import BOOT, NODE, Bench, BenchClock, Board


def opened(tmp_path: Path, clock: BenchClock) -> tuple[Quarantine, InlineWriter]:
    writer = InlineWriter(lambda: quarantine.open_quarantine(tmp_path / "q.db"))
    return Quarantine(writer, clock), writer


async def test_an_hour_of_forged_frames_keeps_to_ring_and_rate(tmp_path: Path) -> None:
    clock = BenchClock()
    kept, writer = opened(tmp_path, clock)
    randomness = random.Random(1)
    for _ in range(3_600):
        for _ in range(20):
            node = randomness.randrange(1 << 32)
            kept.offer(randomness.randbytes(900), node, "tag", "mqtt")
        await kept.flush()
        clock.pass_ms(1_000)
    assert writer.counters.commits <= 600
    assert kept.counted == 72_000
    assert kept.only_counted >= 72_000 - 601 * FRAMES_PER_WRITE
    nodes, frames, size = writer.connection.execute(
        "SELECT count(DISTINCT node), count(*), sum(length(raw)) FROM held"
    ).fetchone()
    assert nodes <= NODES_MAX
    assert frames <= 600 * FRAMES_PER_WRITE
    assert size <= BYTES_MAX


async def test_one_claimed_node_keeps_its_newest_64_frames(tmp_path: Path) -> None:
    clock = BenchClock()
    kept, writer = opened(tmp_path, clock)
    for number in range(200):
        kept.offer(b"%03d" % number, 7, "unknown_node", "mqtt")
        kept.offer(b"%03d" % number, 7, "unknown_node", "mqtt")
        await kept.flush()
        clock.pass_ms(6_000)
    held = list(quarantine.held(writer.connection, 7))
    assert [frame.raw for frame in held] == [b"%03d" % n for n in range(136, 200)]
    assert len(held) == FRAMES_PER_NODE
    [claim] = quarantine.claimed(writer.connection)
    assert (claim.node, claim.reason, claim.frames) == (7, "unknown_node", 400)


async def test_the_ring_lets_the_oldest_go(tmp_path: Path) -> None:
    clock = BenchClock()
    kept, writer = opened(tmp_path, clock)
    for number in range(160):
        for node in range(FRAMES_PER_WRITE):
            kept.offer(bytes([number, node]) + os.urandom(4_094), number * 100 + node, "x", "mqtt")
        await kept.flush()
        clock.pass_ms(6_000)
    rows = list(quarantine.held(writer.connection, limit=100_000))
    assert sum(len(frame.raw) for frame in rows) <= BYTES_MAX
    assert len({frame.node for frame in rows}) <= NODES_MAX


async def test_an_adopted_nodes_frames_are_taken_in_from_quarantine(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [])
    frames = [board.data(seq) for seq in range(1, 11)]
    assert set(bench.words(*frames)) == {"unknown_node"}
    await bench.storage.quarantine.flush()
    bench.keys.add(NODE, board.secret)
    released = await bench.storage.quarantine_writer.write(
        lambda connection: quarantine.release(connection, NODE)
    )
    for frame in released:
        bench.intake.receive(frame.raw, Source(frame.source, NODE))
    await bench.intake.flush()
    assert bench.stored() == [(NODE, BOOT, seq) for seq in range(1, 11)]
    assert bench.acked() == (10, 0)


async def test_a_revoked_nodes_frames_are_refused(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    assert await bench.take(board.data(1)) == ["accepted"]
    bench.keys.revoke(NODE)
    assert await bench.take(board.data(2)) == ["unknown_node"]
    assert isinstance(bench.keys, KeyRing)
    assert len(bench.acks()) == 1


async def test_a_quarantine_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    writer = bench.storage.quarantine_writer
    assert isinstance(writer, InlineWriter)
    connection = writer.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    bench.words(*(bytes([n]) * 3_000 for n in range(20)))
    assert not await bench.storage.quarantine.flush()
    assert bench.storage.quarantine.failures == 1
    assert await bench.take(board.data(1)) == ["accepted"]


def test_its_loop_writes_what_was_offered_and_then_wakes_no_more(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> list[int]:
        writer = InlineWriter(lambda: quarantine.open_quarantine(tmp_path / "q.db"))
        kept = Quarantine(writer, VirtualClock(loop))
        running = asyncio.create_task(kept.run())
        commits: list[int] = []
        for pause_s in (0, 2, 2, 6):
            await asyncio.sleep(pause_s)
            kept.offer(b"%d" % len(commits), 7, "tag", "mqtt")
            commits.append(writer.counters.commits)
        await asyncio.sleep(10)
        commits.append(writer.counters.commits)
        assert not loop._timers
        running.cancel()
        return commits

    # The first within a second, the next two together six seconds later, and the last.
    assert run(main) == [0, 1, 1, 2, 3]
