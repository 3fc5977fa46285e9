"""Frames out of the archive, with the times frozen for them, rendered for one sink."""

import asyncio
import sqlite3

from collector.archive import archive
from collector.archive.archive import StoredFrame
from collector.archive.decoding import why_undecoded
from collector.archive.writer import Writer
from collector.forward.states import UNREADABLE, Cause
from collector.ranges import Ranges
from collector.readings.observation import FrameRef
from collector.readings.rendering import Rendered, Renderer, Undecodable
from collector.timeline.frozen_time import FrozenTimes, Row, read_lines
from collector.turns import Turns

READINGS_PER_TURN = 2_000
"""A frame holds eight times as many at most: nobody waits for more than that one."""


class FrameReader:
    """Reads and renders."""

    def __init__(self, writer: Writer, frozen: FrozenTimes, renderer: Renderer) -> None:
        self._writer = writer
        self._frozen = frozen
        self._renderer = renderer
        self._turns = Turns(READINGS_PER_TURN)

    async def newest_id(self) -> int:
        """The newest frame that is committed."""
        return await self._writer.read(archive.newest_id)

    async def read(self, ids: Ranges) -> list[StoredFrame]:
        """Frames of these ids that are still there, in order."""
        wanted = ids.copy()

        def operation(
            connection: sqlite3.Connection,
        ) -> tuple[list[StoredFrame], list[tuple[int, int]], list[Row]]:
            frames = list(archive.frames_by_id(connection, wanted))
            boots = self._frozen.unknown((frame.node, frame.boot) for frame in frames)
            return frames, boots, read_lines(connection, boots)

        frames, boots, rows = await self._writer.read(operation)
        self._frozen.learn(rows, boots)
        return frames

    def render(self, frame: StoredFrame) -> Rendered | Cause:
        """The frame's readings, or why there are none yet."""
        if frame.state == archive.CONFLICT or why_undecoded(frame):
            return UNREADABLE
        line = self._frozen.line(frame.node, frame.boot, frame.first_ms, frame.last_ms)
        if line is None:
            return Cause(frame.node, frame.boot)
        try:
            ref = FrameRef(frame.id, frame.node, frame.boot, frame.seq)
            return self._renderer.render(ref, frame.raw, line)
        except Undecodable:
            return UNREADABLE

    async def render_in_turn(self, frame: StoredFrame) -> Rendered | Cause:
        """The same, and what else waits gets its turn after many readings, sent or not."""
        rendered = self.render(frame)
        if self._turns.over(1 if isinstance(rendered, Cause) else 1 + rendered.total):
            await asyncio.sleep(0)
        return rendered

    def is_dated(self, cause: Cause) -> bool:
        """Whether a boot that had no time has one by now."""
        return cause != UNREADABLE and self._frozen.is_dated(cause.node, cause.boot)
