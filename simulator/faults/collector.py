"""What happens to the collector's machine: crashes, a twin, an old backup, a full card, a clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from collector.ledger.ledger import LOST_ELSEWHERE, LOST_HERE
from simulator.collector_host import CollectorHost
from simulator.hosted import HostedNode
from simulator.oracle import Allowed
from simulator.promises import broken_promises, frames_in
from simulator.truth import Position, Truth
from simulator.virtual_loop import VirtualClock, VirtualLoop


class CollectorFaults:
    """Does it to `host`; `allowed` says what the oracle has to excuse, `broken` what it may not."""

    def __init__(
        self,
        loop: VirtualLoop,
        host: CollectorHost,
        clock: VirtualClock,
        folder: Path,
        truth: Truth,
        nodes: Sequence[HostedNode],
        allowed: Allowed,
    ) -> None:
        self.disk_full = False
        self.broken: set[Position] = set()
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
            "second": self._start_second,
            "restore": self._restore,
            "disk_full": self._fill_disk,
            "clock": self._step_clock,
        }

    def plan(self, tables: Sequence[Mapping[str, Any]], end_ms: int, random: Random) -> None:
        """Schedule all of a scenario."""
        for table in tables:
            for _ in range(int(table.get("times", 1))):
                at_ms = random.randrange(60_000, max(60_001, end_ms))
                down_ms = int(table.get("seconds", 60) * 1000)
                self._loop.call_at_ms(at_ms, self._actions[table["kind"]], down_ms, table)

    def mend(self) -> None:
        """The machine is as it should be, and one collector runs on it."""
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
        self._host.crash()
        if not self._allowed.restored and self._second is None:
            self.broken.update(broken_promises(self._host.archive, self._truth, self._nodes))
        self._after(down_ms, self._start)

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
