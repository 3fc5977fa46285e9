"""The queue between transports and intake: bounded and fair."""

import asyncio

from collector.intake.frame_queue import SHARE_FRAMES_MAX, FrameQueue
from collector.transports.base import Source

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
