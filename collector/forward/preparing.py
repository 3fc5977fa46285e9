"""The next window of a lane: its frames taken, read, rendered, and claimed before they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from collector.archive.archive import StoredFrame
from collector.clock import Clock
from collector.forward.account import Account
from collector.forward.closing import Closing
from collector.forward.frame_reader import FrameReader
from collector.forward.provisioner import Provisioner
from collector.forward.selection import Policy, Selection
from collector.forward.window import Window
from collector.forward.worklist import Cause, Lane, Worklist
from collector.ranges import Ranges
from collector.readings.observation import PublicNode
from collector.readings.rendering import Rendered
from protocol.wire import T_DATA

WINDOW_FRAMES = 512
LIVE_BEHIND_FRAMES = 2_000


class Preparer:
    """Prepares windows of at most `readings_max` and a frame; `wake_backlog` says it has work."""

    def __init__(
        self,
        work: Worklist,
        reader: FrameReader,
        selection: Selection,
        provisioner: Provisioner,
        account: Account,
        closing: Closing,
        clock: Clock,
        policy: Policy,
        readings_max: int,
        wake_backlog: Callable[[], None],
    ) -> None:
        self._work = work
        self._reader = reader
        self._selection = selection
        self._provisioner = provisioner
        self._account = account
        self._closing = closing
        self._clock = clock
        self._policy = policy
        self._readings_max = readings_max
        self._wake_backlog = wake_backlog

    async def next(self, lane: Lane) -> Window | None:
        """Reads, renders and claims; None when the lane has nothing to send."""
        while True:
            self._work.arrived(await self._reader.newest_id())
            if lane == "live" and self._work.catch_up(LIVE_BEHIND_FRAMES):
                self._wake_backlog()
            ids = self._work.take(lane, WINDOW_FRAMES, asyncio.get_running_loop().time())
            if not ids:
                return None
            try:
                window = await self._render(lane, ids, await self._reader.read(ids))
            except BaseException:
                self._work.give_back(ids, lane)
                raise
            try:
                if window.readings:
                    self._set_apart(window, await self._provisioner.provision(window.readings))
                if window.readings:
                    window.batch = await self._account.claim(
                        Ranges((frame, frame) for frame in window.tasks),
                        window.chosen_ms,
                        urgent=lane == "backlog",
                    )
                    self._closing.opened(window)
                    return window
            except BaseException:
                self._closing.close(window)
                raise
            self._closing.close(window)

    @staticmethod
    def _set_apart(window: Window, waits_s: Mapping[PublicNode, float]) -> None:
        """Readings of nodes that the network does not take now wait; the others go."""
        if not waits_s:
            return
        now_s = asyncio.get_running_loop().time()
        for reading in window.readings:
            wait_s = waits_s.get(reading.channel.node)
            if wait_s is not None:
                task = window.tasks[reading.frame.id]
                task.due_s = max(task.due_s or 0.0, now_s + wait_s)
        window.readings = [o for o in window.readings if o.channel.node not in waits_s]

    async def _render(self, lane: Lane, ids: Ranges, frames: Sequence[StoredFrame]) -> Window:
        """Renders what fits into a window. Moves no frame before all are rendered: whoever is
        cancelled amid them gives all of them back."""
        now_ms = self._clock.unix_ms()
        window = Window(lane, now_ms)
        empty, rest = ids.copy(), Ranges()
        held: list[tuple[int, Cause]] = []
        old: list[int] = []
        for frame in frames:
            if len(window.readings) >= self._readings_max:
                rest = Ranges(empty.overlap(frame.id, ids.last or 0))
                empty.remove(frame.id, ids.last)
                break
            if frame.type != T_DATA:
                continue
            empty.remove(frame.id)
            rendered = await self._reader.render_in_turn(frame)
            if isinstance(rendered, Cause):
                held.append((frame.id, rendered))
            elif lane == "live" and self._is_old(rendered, now_ms):
                old.append(frame.id)
            else:
                settled = self._account.partial.get(frame.id, 0)
                window.take(rendered, settled, self._selection)
        self._work.give_back(rest, lane)
        for id, cause in held:
            self._work.hold(id, cause)
        for id in old:
            self._work.defer(id)
        if old:
            self._wake_backlog()
        self._closing.finish(empty)
        window.narrow(self._selection)
        return window

    def _is_old(self, rendered: Rendered, now_ms: int) -> bool:
        if not rendered.observations or self._policy.fresh_s is not None:
            return False
        return now_ms - rendered.observations[-1].time_ms > self._policy.live_age_s * 1000
