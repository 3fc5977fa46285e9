"""One network, fed from the archive: put together, run, and asked about by operators.

How it works is told in `collector.forward.states`.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

from collector.archive.writer import WriteFailed, Writer
from collector.clock import Clock
from collector.forward.books import Books
from collector.forward.frame_reader import FrameReader
from collector.forward.lanes import Lanes
from collector.forward.limits import Limits
from collector.forward.provisioner import Provisioner
from collector.forward.selection import Policy, Selection
from collector.forward.sending import Sender
from collector.forward.states import Lane, State
from collector.forward.windows import Windows
from collector.readings.observation import PublicNode
from collector.readings.rendering import Renderer
from collector.sinks.base import Sink
from collector.timeline.frozen_time import FrozenTimes

log = logging.getLogger(__name__)

WINDOW_READINGS = 32_768
BLIND_READINGS = 1_000


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
        self.policy = policy = policy or Policy()
        self._running = False
        self._fault = ""
        traits = sink.capabilities
        chance = chance or random.Random()
        oldest_first = policy.order == "oldest_first" or traits.oldest_first
        lanes: tuple[Lane, ...] = ("backlog",) if oldest_first else ("live", "backlog")
        blind = not (traits.idempotent or traits.reads_back)
        self._live = not oldest_first
        self._limits = Limits(traits.network_rate, traits.address_rate, chance)
        self._sender = Sender(sink, self._limits, policy.on_unknown)
        self._provisioner = Provisioner(sink, self._sender, chance, nodes)
        self._books = Books(sink.name, writer, frozen)
        self._reader = FrameReader(writer, frozen, renderer)
        self._windows = Windows(
            self._reader,
            self._books,
            Selection(policy, traits.interval_s, latest_only=traits.latest_only),
            policy,
            clock,
            window_readings or (BLIND_READINGS if blind else WINDOW_READINGS),
            lambda: self._lanes.wake("backlog"),
        )
        self._lanes = Lanes(
            sink.name, lanes, self._windows, self._sender, self._provisioner, one_by_one=blind
        )

    async def run(self) -> None:
        """Feeds the network until cancelled; may be run again after it failed."""
        await self._windows.restart(live=self._live)
        self._running = True
        try:
            await self._lanes.run(self._went_round)
        except Exception as fault:
            self._fault = f"failed and is started again: {_words(fault)}"
            raise
        finally:
            await self._books.close()
            await self._close_sink()

    def wake(self) -> None:
        """Says that frames were committed, or that times or the registry changed."""
        self._lanes.wake()

    def look_again(self) -> None:
        """Says that frames held for want of a time or a decoder may have become readable."""
        self._windows.look_again()
        self.wake()

    async def replay(self, first_id: int, last_id: int) -> None:
        """Sends these frames again; WriteFailed when that cannot be noted."""
        if not self._running:
            raise WriteFailed(f"{self.sink.name} has not begun yet; try again in a moment")
        await self._windows.replay(first_id, last_id)
        self.wake()

    async def give_up(self, last_id: int) -> int:
        """Expires what is open up to this id, for retention; returns up to where none is needed."""
        return await self._lanes.give_up(last_id) if self._running else 0

    async def idle(self) -> None:
        """Waits until nothing is left that could be sent now, and that is committed."""
        await self._lanes.is_idle.wait()
        await self._books.flushed()

    def status(self) -> ForwarderStatus:
        """State for people and metrics."""
        now_s = asyncio.get_running_loop().time()
        frames = self._windows.frames
        return ForwarderStatus(
            name=self.sink.name,
            open_frames=frames.open_count(),
            held_frames=frames.count(State.HELD),
            waiting_frames=frames.count(State.WAITING),
            unknown_frames=frames.count(State.UNKNOWN),
            requests=self._sender.counters.requests,
            failures=self._sender.counters.failures,
            blocked_reason=self._fault or self._limits.reason(),
            blocked_for_s=self._limits.blocked_for_s(now_s),
            closed_addresses=self._limits.closed_addresses(now_s)
            | self._sender.doubts.reasons()
            | self._provisioner.reasons(),
            rejected_share=self._books.recent.rejected_share(),
            rejected_reason=self._books.recent.reason,
            last_accepted_ms=self._windows.last_accepted_ms,
        )

    def _went_round(self) -> None:
        self._fault = ""

    async def _close_sink(self) -> None:
        try:
            await self.sink.close()
        except Exception as fault:
            log.warning("%s: could not be closed: %s", self.sink.name, _words(fault))


def _words(fault: BaseException) -> str:
    """What went wrong, out of the groups that it lies in."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return f"{type(fault).__name__}: {fault}"[:200]
