"""The queue between transports and intake: bounded and fair."""

import asyncio
from pathlib import Path

from collector.intake.frame_queue import SHARE_FRAMES_MAX, FrameQueue
from collector.transports.base import Source
from tests.collector.core import NODE, Bench, Board

KNOWN = {1, 2}


def queue(frames_max: int = 10_000) -> FrameQueue:
    return FrameQueue(frames_max, KNOWN.__contains__)


def put(target: FrameQueue, node: int, text: bytes = b"") -> None:
    target.put(text or bytes(24), Source("mqtt", node))


async def test_frames_of_a_node_keep_their_order() -> None:
    frames = queue()
    for number in range(40):
        put(frames, 1, b"%d" % number)
    taken = frames.take(25) + frames.take(25)
    assert [raw for raw, _ in taken] == [b"%d" % number for number in range(40)]
    assert len(frames) == 0


async def test_a_flood_delays_only_its_own_node() -> None:
    frames = queue()
    for _ in range(SHARE_FRAMES_MAX + 5):
        put(frames, 1)
    put(frames, 2, b"honest")
    assert frames.dropped == 5
    assert b"honest" in [raw for raw, _ in frames.take(64)]


async def test_all_unknown_nodes_share_one_share() -> None:
    frames = queue(100_000)
    for node in range(1000, 1000 + 3 * SHARE_FRAMES_MAX):
        put(frames, node)
    assert len(frames) == SHARE_FRAMES_MAX
    put(frames, 2, b"honest")
    assert b"honest" in [raw for raw, _ in frames.take(64)]


async def test_the_whole_is_bounded_by_frames_and_bytes() -> None:
    frames = queue(10)
    for _ in range(11):
        put(frames, 1)
    assert (len(frames), frames.dropped) == (10, 1)
    frames = queue(10)
    for _ in range(4):
        put(frames, 1, bytes(4000))
    assert (len(frames), frames.dropped) == (2, 2)
    frames.take(10)
    put(frames, 1, bytes(4000))
    assert len(frames) == 1


async def test_the_header_names_the_node_where_the_link_does_not() -> None:
    frames = queue()
    raw = bytes(4) + (2).to_bytes(4, "little") + bytes(16)
    for _ in range(SHARE_FRAMES_MAX + 1):
        frames.put(raw, Source("serial"))
    assert frames.dropped == 1
    put(frames, 2)
    assert frames.dropped == 2, "serial and MQTT frames of a node share one share"


async def test_waiting_ends_with_a_frame() -> None:
    frames = queue()
    waiting = asyncio.create_task(frames.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    put(frames, 1)
    await waiting
    frames.take(1)
    waiting = asyncio.create_task(frames.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_honest_nodes_keep_their_acks_while_forged_frames_come_at_full_rate(
    tmp_path: Path,
) -> None:
    """A second in which forgers fill the queue at each turn, under known and unknown names."""
    boards = [Board(node=NODE + number) for number in range(40)]
    honest, named = boards[:20], boards[20:]
    bench = Bench(tmp_path, boards)
    waiting = FrameQueue(1_000, {board.node for board in boards}.__contains__)
    forged = [
        (Board(node=board.node, secret=bytes(32)).data(seq), Source("mqtt", board.node))
        for board in (*named, *(Board(node=0x1000 + number) for number in range(20)))
        for seq in range(1, 11)
    ]
    for turn in range(40):
        for raw, source in forged:
            waiting.put(raw, source)
        board = honest[turn % len(honest)]
        waiting.put(board.data(turn // len(honest) + 1), Source("mqtt", board.node))
        for raw, source in waiting.take(128):
            bench.receive(raw, source=source)
        bench.clock.pass_ms(25)
    for raw, source in waiting.take(1_000):
        bench.receive(raw, source=source)
    await bench.intake.flush()
    assert waiting.dropped > 1_000
    assert {frame.node for frame in bench.down if frame.ack} == {board.node for board in honest}
    assert len(bench.stored()) == 40


async def test_a_full_queue_lets_the_longest_share_go_first() -> None:
    target = queue(100)
    for _ in range(100):
        put(target, 1)
    put(target, 2, b"honest" + bytes(18))
    assert len(target) == 100
    assert target.dropped == 1
    put(target, 1)
    assert (len(target), target.dropped) == (100, 2)
    assert b"honest" in [raw[:6] for raw, _ in target.take(100)]
