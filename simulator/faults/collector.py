"""What happens to the collector's machine: stops, crashes, a twin, an old backup, a full card."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from collector.app import STOP_WITHIN_S
from collector.ledger.ledger import LOST_ELSEWHERE, LOST_HERE
from simulator.books import Books
from simulator.collector_host import CollectorHost
from simulator.faults.plan import PlanError
from simulator.hosted import HostedNode
from simulator.late_writer import Killed
from simulator.moments import COMMIT, MOMENTS, REQUEST, START
from simulator.oracle import Allowed
from simulator.promises import broken_promises, frames_in
from simulator.truth import Position, Truth
from simulator.virtual_loop import VirtualClock, VirtualLoop

FILES_OF_STOPPED = frozenset(("archive.db", "archive.db.witness", "quarantine.db"))
ANY = "any"
AFTER_MS = {START: 400, REQUEST: 3_000, COMMIT: 80}
"""How long after it has begun something is done to the collector at the latest."""


class CollectorFaults:
    """Does it to `host`; `allowed` says what the oracle has to excuse.

    `broken` are frames that it may not excuse, `findings` what a stop has left undone.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        host: CollectorHost,
        clock: VirtualClock,
        folder: Path,
        truth: Truth,
        nodes: Sequence[HostedNode],
        allowed: Allowed,
        books: Books,
    ) -> None:
        self.disk_full = False
        self.broken: set[Position] = set()
        self.findings: list[str] = []
        self.stops = 0
        self._mended = False
        self._stops: set[asyncio.Task[None]] = set()
        self._books = books
        self._loop = loop
        self._host = host
        self._clock = clock
        self._folder = folder
        self._truth = truth
        self._nodes = nodes
        self._allowed = allowed
        self._second: CollectorHost | None = None
        self._actions: dict[str, Callable[[int, Mapping[str, Any]], None]] = {
            "crash": self._crash,
            "stop": self._stop,
            "second": self._start_second,
            "restore": self._restore,
            "disk_full": self._fill_disk,
            "clock": self._step_clock,
        }

    def plan(self, tables: Sequence[Mapping[str, Any]], end_ms: int, random: Random) -> None:
        """Schedule all of a scenario. Raises PlanError."""
        for table in tables:
            if table.get("kind") not in self._actions:
                kinds = ", ".join(self._actions)
                raise PlanError(f"no collector fault {table.get('kind')!r}; there are: {kinds}")
            action = self._actions[table["kind"]]
            moments = table.get("moments", (ANY,))
            if not set(moments) <= {ANY, *MOMENTS}:
                raise PlanError(f"moments {moments}; there are: {', '.join((ANY, *MOMENTS))}")
            for _ in range(int(table.get("times", 1))):
                at_ms = random.randrange(60_000, max(60_001, end_ms))
                down_ms = int(table.get("seconds", 60) * 1000)
                moment = random.choice(moments) if len(moments) > 1 else moments[0]
                if moment == ANY:
                    self._loop.call_at_ms(at_ms, action, down_ms, table)
                    continue
                after_ms = random.randrange(AFTER_MS[moment] + 1)
                later = partial(self._after, after_ms, partial(action, down_ms, table))
                self._loop.call_at_ms(at_ms, self._host.plan.moments.wait, moment, later)

    def mend(self) -> None:
        """The machine is as it should be, and one collector runs on it."""
        self._mended = True
        self._host.plan.moments.clear()
        self._free_disk()
        self._right_clock()
        self._end_second()
        self._start()

    def _after(self, down_ms: int, action: Callable[[], None]) -> None:
        self._loop.call_at_ms(self._loop.now_ms + down_ms, action)

    def _start(self) -> None:
        if not self._host.running:
            self._host.start()

    def _crash(self, down_ms: int, table: Mapping[str, Any]) -> None:
        if self._mended:
            return
        if self._host.running:
            self._host.crash()
            self._books.died(self._host.archive)
        self._look_up_promises()
        self._after(down_ms, self._start)

    def _look_up_promises(self) -> None:
        if not self._allowed.restored and self._second is None:
            self.broken.update(broken_promises(self._host.archive, self._truth, self._nodes))

    def _stop(self, down_ms: int, table: Mapping[str, Any]) -> None:
        """As the service manager does: it is asked to end, and started again a while later."""
        if self._mended or not self._host.running or self._host.stopping:
            return
        stopping = asyncio.ensure_future(self._host.stop())
        self._stops.add(stopping)
        began_ms = self._loop.now_ms
        stopping.add_done_callback(lambda done: self._stopped(done, began_ms, down_ms))

    def _stopped(self, stop: asyncio.Task[None], began_ms: int, down_ms: int) -> None:
        self._stops.discard(stop)
        error = None if stop.cancelled() else stop.exception()
        if stop.cancelled() or isinstance(error, Killed):
            return  # it was crashed meanwhile, and is started again after that
        took_ms = self._loop.now_ms - began_ms
        if error is not None:
            self.findings.append(f"a stop ended with {type(error).__name__}: {error}")
        if took_ms > STOP_WITHIN_S * 1000:
            self.findings.append(f"a stop took {took_ms} ms")
        left = {path.name for path in self._host.plan.folder.glob("*.db*")}
        if left - FILES_OF_STOPPED:
            self.findings.append(f"a stop left {', '.join(sorted(left - FILES_OF_STOPPED))}")
        self.stops += 1
        self._look_up_promises()
        self._after(0 if self._mended else down_ms, self._start)

    def _start_second(self, down_ms: int, table: Mapping[str, Any]) -> None:
        """Somebody starts another collector with the same keys on the same broker, by mistake."""
        if self._second is not None:
            return
        self._allowed.alarms = frozenset((LOST_HERE, LOST_ELSEWHERE))
        plan = replace(
            self._host.plan, folder=self._folder / "second", make_sinks=dict, free_bytes=None
        )
        self._second = CollectorHost(plan)
        self._second.start()
        self._after(down_ms, self._end_second)

    def _end_second(self) -> None:
        """It is found and ended; what it has taken is known from its archive."""
        if self._second is not None and self._second.running:
            self._second.crash()
            self._allowed.elsewhere = frozenset(frames_in(self._second.archive))

    def _restore(self, down_ms: int, table: Mapping[str, Any]) -> None:
        if not self._host.running or self._allowed.restored:
            return
        self._allowed.restored = self._allowed.duplicates = True
        self._host.back_up(self._folder / "backup")
        self._after(down_ms, self._put_back)

    def _put_back(self) -> None:
        self._host.crash()
        self._host.restore(self._folder / "backup")
        self._start()

    def _fill_disk(self, down_ms: int, table: Mapping[str, Any]) -> None:
        self.disk_full = True
        self._after(down_ms, self._free_disk)

    def _free_disk(self) -> None:
        self.disk_full = False

    def _step_clock(self, down_ms: int, table: Mapping[str, Any]) -> None:
        """The Pi's clock is wrong for a while, and the Pi knows that."""
        self._clock.is_synchronised = False
        self._clock.step_ms = int(table.get("step_s", -86_400)) * 1000
        self._after(down_ms, self._right_clock)

    def _right_clock(self) -> None:
        self._clock.step_ms = 0
        self._clock.is_synchronised = True
