"""Frames between transports and intake: bounded, and fair to every node.

Each known node has a share of its own; all unknown ones share a single one. Frames are taken from
the shares in turn, so that a flood under one name delays that name only. What does not fit is
dropped and counted: it was not acknowledged, so its board sends it again.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from collector.transports.base import Source

SHARE_FRAMES_MAX = 2_000
FRAMES_PER_TURN = 16
BYTES_PER_FRAME = 1_024
UNKNOWN = -1

Arrival = tuple[bytes, Source]


class FrameQueue:
    """Holds at most `frames_max` frames, and as many KiB."""

    def __init__(self, frames_max: int, known: Callable[[int], bool]) -> None:
        self.dropped = 0
        self._frames_max = frames_max
        self._bytes_max = frames_max * BYTES_PER_FRAME
        self._known = known
        self._shares: OrderedDict[int, deque[Arrival]] = OrderedDict()
        self._frames = 0
        self._bytes = 0
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return self._frames

    def put(self, raw: bytes, source: Source) -> None:
        """Adds a frame, or drops and counts it."""
        node = source.node
        if node is None:
            node = int.from_bytes(raw[4:8], "little")
        share = self._shares.get(node)
        if share is None:
            key = node if self._known(node) else UNKNOWN
            share = self._shares.get(key)
            if share is None:
                share = self._shares[key] = deque()
        full = self._frames >= self._frames_max or self._bytes + len(raw) > self._bytes_max
        if len(share) >= SHARE_FRAMES_MAX or (full and not self._make_room(share, len(raw))):
            self.dropped += 1
            return
        share.append((raw, source))
        self._frames += 1
        self._bytes += len(raw)
        self._arrived.set()

    def _make_room(self, share: "deque[Arrival]", size: int) -> bool:
        """Drops the newest frame of the longest share for one of a share below the average."""
        if (len(share) + 1) * len(self._shares) > self._frames:
            return False
        longest = max(self._shares.values(), key=len)
        raw, _ = longest.pop()
        self._frames -= 1
        self._bytes -= len(raw)
        self.dropped += 1
        return self._bytes + size <= self._bytes_max

    def take(self, frames_max: int) -> list[Arrival]:
        """Takes up to so many frames, some of each share in turn."""
        taken: list[Arrival] = []
        while self._shares and len(taken) < frames_max:
            key, share = next(iter(self._shares.items()))
            for _ in range(min(FRAMES_PER_TURN, frames_max - len(taken), len(share))):
                arrival = share.popleft()
                self._bytes -= len(arrival[0])
                taken.append(arrival)
            if share:
                self._shares.move_to_end(key)
            else:
                del self._shares[key]
        self._frames -= len(taken)
        if not self._frames:
            self._arrived.clear()
        return taken

    async def wait(self) -> None:
        """Returns when a frame is there."""
        await self._arrived.wait()
