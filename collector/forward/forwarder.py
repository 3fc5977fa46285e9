"""The loop that feeds one network from the archive.

Two lanes share one sink: `live` takes frames as they arrive, `backlog` takes the rest, oldest
first, while live has nothing to send. Each works in windows: read frames, render them, commit a
claim, send, note what became of every reading. Nothing is sent that was not claimed, so after a
crash the claims say what may have been sent.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from collector.archive import archive
from collector.archive.archive import StoredFrame
from collector.archive.writer import WriteFailed, Writer
from collector.clock import Clock
from collector.forward import delivery
from collector.forward.account import Account, Task
from collector.forward.expiry import Expiry
from collector.forward.frame_reader import FrameReader
from collector.forward.limits import Limits
from collector.forward.selection import Policy, Selection
from collector.forward.sending import NetworkWaits, Results, Sender
from collector.forward.worklist import Cause, Lane, Worklist
from collector.ranges import Ranges
from collector.readings.frozen_time import FrozenTimes
from collector.readings.observation import Channel, Observation, PublicNode
from collector.readings.rendering import Rendered, Renderer
from collector.sinks.base import Sink

log = logging.getLogger(__name__)

WINDOW_FRAMES = 512
WINDOW_READINGS = 32_768
BLIND_READINGS = 1_000
RESOLVE_FRAMES = 64
READ_BACK_READINGS = 2_000
LIVE_BEHIND_FRAMES = 2_000
IDLE_S = 30.0
WRITE_RETRY_S = 5.0
EXPIRE_EVERY_S = 60.0
STOP_S = 5.0
DATA = 1


@dataclass(slots=True)
class Window:
    """Frames that one lane sends under one claim."""

    lane: Lane
    tasks: dict[int, Task] = field(default_factory=dict)
    readings: list[Observation] = field(default_factory=list)
    batch: int = 0


@dataclass(frozen=True, slots=True)
class ForwarderStatus:
    """What an operator wants to know of one sink."""

    name: str
    open_frames: int
    held_frames: int
    waiting_frames: int
    unknown_frames: int
    requests: int
    failures: int
    blocked_reason: str
    blocked_for_s: float
    closed_addresses: dict[str, str]
    last_accepted_ms: int | None


class Forwarder:
    """One sink, its lanes and its books.

    `run` until cancelled; `wake` after every commit that stored frames.
    """

    def __init__(
        self,
        sink: Sink,
        writer: Writer,
        renderer: Renderer,
        frozen: FrozenTimes,
        clock: Clock,
        policy: Policy | None = None,
        *,
        nodes: Sequence[PublicNode] = (),
        chance: random.Random | None = None,
        window_readings: int | None = None,
    ) -> None:
        self.sink = sink
        self.policy = policy or Policy()
        self._writer = writer
        self._clock = clock
        self._nodes = nodes
        traits = sink.capabilities
        self._limits = Limits(
            traits.network_rate,
            traits.address_rate,
            chance or random.Random(),
        )
        self._sender = Sender(sink, self._limits)
        self._selection = Selection(self.policy, traits.interval_s, latest_only=traits.latest_only)
        self._reader = FrameReader(writer, frozen, renderer)
        self._account = Account(sink.name, writer, frozen)
        self._blind = not (traits.idempotent or traits.reads_back)
        self._window_readings = window_readings or (
            BLIND_READINGS if self._blind else WINDOW_READINGS
        )
        self._oldest_first = self.policy.order == "oldest_first" or traits.oldest_first
        self._lanes: tuple[Lane, ...] = ("backlog",) if self._oldest_first else ("live", "backlog")
        self._work = Worklist()
        self._expiry = Expiry(self.policy, self._work, self._reader, self._account, clock)
        self._unknown: dict[int, Ranges] = {}
        self._provisioned: set[Channel] = set()
        self._prepared = False
        self._stopping = False
        self._alone = asyncio.Lock()
        self._live_quiet = asyncio.Event()
        self._live_quiet.set()
        self._wakes: dict[Lane, asyncio.Event] = {lane: asyncio.Event() for lane in self._lanes}
        self._resting: set[Lane] = set()
        self._idle = asyncio.Event()
        self._expire_at_s = float("-inf")
        self._last_accepted_ms: int | None = None

    async def run(self) -> None:
        """Feeds the network until cancelled; may be run again after it failed."""
        await self._start()
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(self._run_lane(lane))
        finally:
            await self._account.close()
            await self.sink.close()

    def wake(self) -> None:
        """Says that frames were committed, or that times or the registry changed."""
        self._idle.clear()
        for event in self._wakes.values():
            event.set()

    def look_again(self) -> None:
        """Says that frames held for want of a time or a decoder may have become readable."""
        self._work.let_go(list(self._work.held))
        self.wake()

    def reopen(self, first_id: int, last_id: int) -> None:
        """Follows `delivery.replay` of these frames."""
        self._work.reopen(first_id, last_id)
        partial = self._account.partial
        for frame in [frame for frame in partial if first_id <= frame <= last_id]:
            del partial[frame]
        self.wake()

    async def idle(self) -> None:
        """Waits until nothing is left that could be sent now, and that is committed."""
        await self._idle.wait()
        await self._account.flushed()

    def status(self) -> ForwarderStatus:
        """State for people and metrics."""
        now_s = self._now()
        return ForwarderStatus(
            name=self.sink.name,
            open_frames=self._work.open_count(),
            held_frames=self._work.held_count,
            waiting_frames=self._work.waiting_count,
            unknown_frames=sum(ranges.count() for ranges in self._unknown.values()),
            requests=self._sender.counters.requests,
            failures=self._sender.counters.failures,
            blocked_reason=self._limits.gate.reason,
            blocked_for_s=self._limits.gate.wait_s(now_s),
            closed_addresses=self._limits.closed_addresses(now_s),
            last_accepted_ms=self._last_accepted_ms,
        )

    async def _start(self) -> None:
        name = self.sink.name

        def open_state(connection: sqlite3.Connection) -> tuple[delivery.SinkState, int]:
            delivery.create(connection)
            state = delivery.load(connection, name)
            claimed = [ranges.last or 0 for ranges in state.claims.values()]
            archive.raise_ids_above(connection, max([state.done.last or 0, *claimed]))
            return state, archive.newest_id(connection)

        state, newest = await self._writer.write(open_state, urgent=True)
        self._prepared = self._stopping = False
        self._live_quiet.set()
        self._resting.clear()
        self._unknown.clear()
        self._provisioned.clear()
        self._account.restore(state)
        self._work.restore(state.done, newest, None if self._oldest_first else newest + 1)
        for batch, claimed in state.claims.items():
            open_ids = Ranges(
                gap for first, last in claimed for gap in state.done.missing(first, last)
            )
            self._unknown[batch] = open_ids
            self._work.occupy(open_ids)

    async def _run_lane(self, lane: Lane) -> None:
        while True:
            try:
                await self._network()
                await self._expire()
                await self._resolve()
                self._work.let_go([c for c in self._work.held if self._reader.is_dated(c)])
                if not await self._drain(lane):
                    await self._rest(lane)
            except WriteFailed as failure:
                log.warning("%s: cannot note what is sent: %s", self.sink.name, failure)
                await asyncio.sleep(WRITE_RETRY_S)
            except NetworkWaits:
                continue

    async def _network(self) -> None:
        """Waits while the network's gate is closed, then sees that the sink is prepared."""
        while (wait_s := self._limits.gate.wait_s(self._now())) > 0:
            await asyncio.sleep(min(wait_s, EXPIRE_EVERY_S))
            await self._expire()
        async with self._alone:
            if not self._prepared:
                await self._sender.call(lambda: self.sink.prepare(self._nodes))
                self._prepared = True

    async def _expire(self) -> None:
        async with self._alone:
            if self._now() < self._expire_at_s:
                return
            self._work.arrived(await self._reader.newest_id())
            expired = await self._expiry.run()
            self._expire_at_s = self._now() + EXPIRE_EVERY_S
        if expired:
            log.warning("%s: %d frames of its backlog expired", self.sink.name, expired)

    async def _rest(self, lane: Lane) -> None:
        event = self._wakes[lane]
        self._resting.add(lane)
        if len(self._resting) == len(self._lanes) and not any(
            other.is_set() for other in self._wakes.values()
        ):
            self._idle.set()
        due_s = self._work.next_due_s()
        rest_s = IDLE_S if due_s is None else min(IDLE_S, max(0.0, due_s - self._now()))
        with suppress(TimeoutError):
            async with asyncio.timeout(rest_s):
                await event.wait()
        event.clear()
        self._resting.discard(lane)

    async def _drain(self, lane: Lane) -> bool:
        """Sends windows until this lane has none; the next one is prepared meanwhile."""
        window = await self._next_window(lane)
        worked = window is not None
        while window is not None:
            if self._blind or lane == "live":
                await self._deliver(window)
                window = await self._next_window(lane)
                continue
            upcoming = asyncio.create_task(self._next_window(lane))
            try:
                await self._deliver(window)
            except NetworkWaits:
                self._conclude(await upcoming)
                raise
            except BaseException:
                upcoming.cancel()
                await asyncio.gather(upcoming, return_exceptions=True)
                raise
            window = await upcoming
        return worked

    async def _next_window(self, lane: Lane) -> Window | None:
        """Reads, renders and claims; None when the lane has nothing to send."""
        while True:
            self._work.arrived(await self._reader.newest_id())
            if lane == "live" and self._work.catch_up(LIVE_BEHIND_FRAMES):
                self._wakes["backlog"].set()
            ids = self._work.take(lane, WINDOW_FRAMES, self._now())
            if not ids:
                return None
            try:
                window = self._render(lane, ids, await self._reader.read(ids))
            except BaseException:
                self._work.give_back(ids, lane)
                raise
            try:
                if window.readings:
                    await self._provision(window.readings)
                    window.batch = await self._account.claim(
                        Ranges((frame, frame) for frame in window.tasks),
                        self._clock.unix_ms(),
                        urgent=lane == "backlog",
                    )
                    return window
            except BaseException:
                self._conclude(window)
                raise
            self._conclude(window)

    def _render(self, lane: Lane, ids: Ranges, frames: Sequence[StoredFrame]) -> Window:
        window = Window(lane)
        empty = ids.copy()
        now_ms = self._clock.unix_ms()
        for frame in frames:
            if len(window.readings) >= self._window_readings:
                rest = Ranges(empty.overlap(frame.id, ids.last or 0))
                self._work.give_back(rest, lane)
                empty.remove(frame.id, ids.last)
                break
            if frame.type == DATA:
                empty.remove(frame.id)
                self._render_frame(window, frame, now_ms)
        self._finish(empty)
        return window

    def _render_frame(self, window: Window, frame: StoredFrame, now_ms: int) -> None:
        rendered = self._reader.render(frame)
        if isinstance(rendered, Cause):
            self._work.hold(frame.id, rendered)
        elif window.lane == "live" and self._is_old(rendered, now_ms):
            self._work.defer(frame.id)
            self._wakes["backlog"].set()
        else:
            settled = self._account.partial.get(frame.id, 0)
            chosen = self._selection.choose(rendered, settled, now_ms)
            window.tasks[frame.id] = Task(rendered, settled, len(chosen))
            window.readings += chosen

    def _is_old(self, rendered: Rendered, now_ms: int) -> bool:
        if not rendered.observations or self.policy.fresh_s is not None:
            return False
        return now_ms - rendered.observations[-1].time_ms > self.policy.live_age_s * 1000

    async def _provision(self, readings: Sequence[Observation]) -> None:
        fresh = [
            channel
            for channel in dict.fromkeys(o.channel for o in readings)
            if channel not in self._provisioned
        ]
        if fresh:
            await self._sender.call(lambda: self.sink.provision(fresh))
            self._provisioned.update(fresh)

    async def _deliver(self, window: Window) -> None:
        results = Results()
        sending = asyncio.create_task(self._send(window, results))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            await self._end(sending)
            for lost in results.unknown:
                window.tasks[lost.frame.id].lost = not self.sink.capabilities.idempotent
            self._take(window, results)
            raise
        except NetworkWaits:
            await self._settle(window, results)
            raise
        await self._settle(window, results)

    async def _send(self, window: Window, results: Results) -> None:
        try:
            if window.lane == "live":
                self._live_quiet.clear()
            for group in self.sink.split(window.readings):
                if window.lane == "backlog":
                    await self._live_quiet.wait()
                if self._stopping:
                    return
                await self._sender.send(group, results)
        finally:
            if window.lane == "live":
                self._live_quiet.set()

    async def _end(self, sending: asyncio.Task[None]) -> None:
        """Lets the request under way end, for a little while; who cancels again waits no longer."""
        self._stopping = True
        with suppress(asyncio.CancelledError):
            await asyncio.wait((sending,), timeout=STOP_S)
        sending.cancel()
        with suppress(NetworkWaits, asyncio.CancelledError):
            await sending

    async def _settle(self, window: Window, results: Results) -> None:
        for lost in await self._look_for(results):
            window.tasks[lost.frame.id].lost = True
        self._take(window, results)

    async def _look_for(self, results: Results) -> Sequence[Observation]:
        """What became of readings without an answer; returns those that stay unknown."""
        unknown = results.unknown
        if not unknown or self.sink.capabilities.idempotent:
            return ()
        if self._blind:
            self._account.possible_duplicates(unknown)
            if self.policy.on_unknown == "leave":
                results.accepted += unknown
            return ()
        for start in range(0, len(unknown), READ_BACK_READINGS):
            part = unknown[start : start + READ_BACK_READINGS]
            try:
                held = await self._sender.read_back(part)
            except NetworkWaits:
                held = None
            if held is None:
                return unknown[start:]
            results.accepted += [o for o, there in zip(part, held, strict=True) if there]
        return ()

    def _take(self, window: Window, results: Results) -> None:
        self._account.record(window.tasks, results, self._now())
        if results.accepted:
            self._last_accepted_ms = self._clock.unix_ms()
        self._conclude(window)

    def _conclude(self, window: Window | None) -> None:
        """Says what happens with each frame of a window next, and lets go of its claim."""
        if window is None:
            return
        done, lost = Ranges(), Ranges()
        for frame, task in window.tasks.items():
            if task.open == 0:
                done.add(frame)
                self._account.complete(task)
                continue
            self._account.interrupt(task)
            if task.lost:
                lost.add(frame)
            elif task.due_s is not None:
                self._work.wait(frame, task.due_s)
            else:
                self._work.give_back([(frame, frame)], window.lane)
        self._finish(done)
        if lost:
            self._unknown[window.batch] = lost
        elif window.batch:
            self._account.release(window.batch)
        self._account.flush_soon()

    def _finish(self, ids: Ranges) -> None:
        self._work.finish(ids)
        self._account.finish(ids)

    async def _resolve(self) -> None:
        """Finds out about claims whose outcome is unknown, before anything else is sent."""
        async with self._alone:
            for batch in list(self._unknown):
                while self._unknown[batch]:
                    await self._resolve_some(batch)
                del self._unknown[batch]
                self._account.release(batch)
                self._account.flush_soon()

    async def _resolve_some(self, batch: int) -> None:
        claimed = self._unknown[batch]
        first = claimed.first or 0
        ids = Ranges(claimed.overlap(first, first + RESOLVE_FRAMES - 1))
        window = Window("backlog")
        for frame in await self._reader.read(ids):
            rendered = self._reader.render(frame)
            if frame.type != DATA or isinstance(rendered, Cause):
                continue
            settled = self._account.partial.get(frame.id, 0)
            readings = [o for o in rendered.observations if not settled >> o.reading & 1]
            window.tasks[frame.id] = Task(rendered, settled, len(readings))
            window.readings += readings
        results = Results(unknown=window.readings)
        if await self._look_for(results):
            self._limits.gate.failed(self._now(), "cannot read back what was sent")
            raise NetworkWaits("cannot read back what was sent")
        self._account.record(window.tasks, results, self._now())
        done = Ranges()
        for task in window.tasks.values():
            if task.open == 0:
                done.add(task.rendered.ref.id)
                self._account.complete(task)
            else:
                self._account.interrupt(task)
        self._work.give_back(ids, "backlog")
        self._finish(done)
        for low, high in ids:
            claimed.remove(low, high)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
