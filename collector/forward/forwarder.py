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
from dataclasses import dataclass

from collector.archive import archive
from collector.archive.writer import WriteFailed, Writer
from collector.clock import Clock
from collector.forward import delivery
from collector.forward.account import Account
from collector.forward.closing import Closing
from collector.forward.dispatch import Dispatch
from collector.forward.expiry import Expiry
from collector.forward.frame_reader import FrameReader
from collector.forward.limits import Limits
from collector.forward.preparing import Preparer
from collector.forward.provisioner import Provisioner
from collector.forward.read_back import ReadBack
from collector.forward.resolving import Resolver
from collector.forward.selection import Policy, Selection
from collector.forward.sending import NetworkWaits, Sender
from collector.forward.worklist import Lane, Worklist
from collector.readings.observation import PublicNode
from collector.readings.rendering import Renderer
from collector.sinks.base import Sink
from collector.timeline.frozen_time import FrozenTimes

log = logging.getLogger(__name__)

WINDOW_READINGS = 32_768
BLIND_READINGS = 1_000
IDLE_S = 30.0
WRITE_RETRY_S = 5.0
EXPIRE_EVERY_S = 60.0


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
    rejected_share: float
    rejected_reason: str
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
        self._nodes = nodes
        traits = sink.capabilities
        oldest_first = self.policy.order == "oldest_first" or traits.oldest_first
        self._blind = not (traits.idempotent or traits.reads_back)
        self._lanes: tuple[Lane, ...] = ("backlog",) if oldest_first else ("live", "backlog")
        self._wakes: dict[Lane, asyncio.Event] = {lane: asyncio.Event() for lane in self._lanes}
        self._resting: set[Lane] = set()
        self._idle = asyncio.Event()
        self._alone = asyncio.Lock()
        self._prepared = False
        self._expire_at_s = float("-inf")
        self._fault = ""

        self._work = Worklist()
        self._limits = Limits(traits.network_rate, traits.address_rate, chance or random.Random())
        self._sender = Sender(sink, self._limits)
        self._reader = FrameReader(writer, frozen, renderer)
        self._account = Account(sink.name, writer, frozen)
        self._closing = Closing(self._work, self._account, clock)
        self._expiry = Expiry(self.policy, self._work, self._reader, self._account, clock)
        self._provisioner = Provisioner(sink, self._sender, self._limits.chance)
        selection = Selection(self.policy, traits.interval_s, latest_only=traits.latest_only)
        self._preparer = Preparer(
            self._work,
            self._reader,
            selection,
            self._provisioner,
            self._account,
            self._closing,
            clock,
            self.policy,
            window_readings or (BLIND_READINGS if self._blind else WINDOW_READINGS),
            self._wakes["backlog"].set,
        )
        read_back = ReadBack(self._sender, self._account, traits, self.policy)
        self._dispatch = Dispatch(sink, self._sender, read_back, self._closing)
        self._resolver = Resolver(
            self._reader,
            read_back,
            self._work,
            self._account,
            self._closing,
            self._limits.gate,
            selection,
        )

    async def run(self) -> None:
        """Feeds the network until cancelled; may be run again after it failed."""
        await self._start()
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(self._run_lane(lane))
        except Exception as fault:
            self._fault = f"failed and is started again: {_words(fault)}"
            raise
        finally:
            self._closing.close_rest()
            await self._account.close()
            await self._close_sink()

    def wake(self) -> None:
        """Says that frames were committed, or that times or the registry changed."""
        self._idle.clear()
        for event in self._wakes.values():
            event.set()

    def look_again(self) -> None:
        """Says that frames held for want of a time or a decoder may have become readable."""
        self._work.let_go(list(self._work.held))
        self.wake()

    async def replay(self, first_id: int, last_id: int) -> None:
        """Sends these frames again; WriteFailed when that cannot be noted."""
        for first, last in await self._account.replay(first_id, last_id):
            self._work.reopen(first, last)
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
            unknown_frames=sum(ranges.count() for ranges in self._closing.unknown.values()),
            requests=self._sender.counters.requests,
            failures=self._sender.counters.failures,
            blocked_reason=self._fault or self._limits.reason(),
            blocked_for_s=self._limits.blocked_for_s(now_s),
            closed_addresses=self._limits.closed_addresses(now_s)
            | self._sender.doubts.reasons()
            | self._provisioner.reasons(),
            rejected_share=self._account.recent.rejected_share(),
            rejected_reason=self._account.recent.reason,
            last_accepted_ms=self._closing.last_accepted_ms,
        )

    async def _close_sink(self) -> None:
        try:
            await self.sink.close()
        except Exception as fault:
            log.warning("%s: could not be closed: %s", self.sink.name, _words(fault))

    async def _start(self) -> None:
        name = self.sink.name

        def open_state(connection: sqlite3.Connection) -> tuple[delivery.SinkState, int]:
            delivery.create(connection)
            state = delivery.load(connection, name)
            claimed = [ranges.last or 0 for ranges in state.claims.values()]
            archive.raise_ids_above(connection, max([state.done.last or 0, *claimed]))
            return state, archive.newest_id(connection)

        await self._account.flushed()
        state, newest = await self._writer.write(open_state, urgent=True)
        self._prepared = False
        self._resting.clear()
        self._provisioner.forget()
        self._dispatch.restart()
        self._account.restore(state)
        live_from = newest + 1 if "live" in self._lanes else None
        self._work.restore(state.done, newest, live_from)
        self._closing.restore(state)

    async def _run_lane(self, lane: Lane) -> None:
        while True:
            try:
                await self._network(lane)
                await self._expire()
                async with self._alone:
                    await self._resolver.resolve()
                self._work.let_go([c for c in self._work.held if self._reader.is_dated(c)])
                worked = await self._drain(lane)
                self._fault = ""
                if not worked:
                    await self._rest(lane)
            except WriteFailed as failure:
                log.warning("%s: cannot note what is sent: %s", self.sink.name, failure)
                await asyncio.sleep(WRITE_RETRY_S)
            except NetworkWaits:
                continue

    async def _network(self, lane: Lane) -> None:
        """Waits while this lane's gates are closed, then sees that the sink is prepared."""
        while (wait_s := self._limits.gates_wait_s(lane, self._now())) > 0:
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
        window = await self._preparer.next(lane)
        worked = window is not None
        while window is not None:
            if self._blind or lane == "live":
                await self._dispatch.deliver(window)
                window = await self._preparer.next(lane)
                continue
            upcoming = asyncio.create_task(self._preparer.next(lane))
            try:
                await self._dispatch.deliver(window)
            except NetworkWaits:
                if prepared := await upcoming:
                    self._closing.close(prepared)
                raise
            except BaseException:
                upcoming.cancel()
                await asyncio.gather(upcoming, return_exceptions=True)
                raise
            window = await upcoming
        return worked

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _words(fault: BaseException) -> str:
    """What went wrong, out of the groups that it lies in."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return f"{type(fault).__name__}: {fault}"[:200]
