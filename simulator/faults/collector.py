"""What happens to the collector's machine: stops, crashes, a twin, an old backup, a full card."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from collector.app import STOP_WITHIN_S
from collector.archive.writer import WriteFailed
from collector.ledger.ledger import LEDGER_HEALED, LOST_ELSEWHERE, LOST_HERE
from collector.private_file import PrivateFileError
from simulator.books import Books
from simulator.collector_host import CollectorHost
from simulator.faults.files import WAYS, BrokenFiles
from simulator.faults.plan import PlanError
from simulator.faults.rotation import Rotations
from simulator.hosted import HostedNode
from simulator.late_writer import Killed
from simulator.moments import COMMIT, MOMENTS, REQUEST, START
from simulator.oracle import Allowed
from simulator.promises import broken_promises, frames_in
from simulator.truth import Position, Truth
from simulator.virtual_loop import VirtualClock, VirtualLoop

FILES_OF_STOPPED = frozenset(("archive.db", "archive.db.witness", "quarantine.db"))
ANY = "any"
START_AGAIN_MS = 10_000
IMPOSSIBLE = ("received = x'ff'", "issued = -1", "before = issued + 1", "conflicts = '{'",
              "dropped = 7", "last_ms = 'x'")  # fmt: skip
"""What no row of the ledger can say; received is taken from the frames in each case."""
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
        rotations: Rotations,
    ) -> None:
        self.disk_full = False
        self.broken: set[Position] = set()
        self.findings: list[str] = []
        self.commits_fail = False
        self._files = BrokenFiles()
        self._random = Random(f"files {loop.now_ms} {len(nodes)}")
        self._mended = False
        self._stops: set[asyncio.Task[None]] = set()
        self._books = books
        self._rotations = rotations
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
            "damage": self._damage,
            "commits_fail": self._refuse_commits,
            "files": self._break_file,
            "rotate": self._rotate,
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
        self._rotations.mend()
        self._host.plan.moments.clear()
        self.commits_fail = False
        self._files.mend_all()
        self._free_disk()
        self._right_clock()
        self._end_second()
        self._start()

    def _after(self, down_ms: int, action: Callable[[], None]) -> None:
        self._loop.call_at_ms(self._loop.now_ms + down_ms, action)

    def _start(self) -> None:
        """A start that a broken file prevents is tried again, as a person would."""
        if self._host.running:
            return
        try:
            self._host.start()
        except PrivateFileError:
            self._after(START_AGAIN_MS, self._start)

    def ended(self) -> None:
        """It has ended by itself, as it may when its disk takes nothing; it is started again."""
        self._books.died(self._host.archive)
        self._after(START_AGAIN_MS, self._start)

    def _crash(self, down_ms: int, table: Mapping[str, Any]) -> None:
        if self._mended:
            return
        if self._host.running:
            self._host.crash()
            self._books.died(self._host.archive)
        self._look_up_promises()
        self._after(down_ms, self._start)

    def _damage(self, down_ms: int, table: Mapping[str, Any]) -> None:
        """It dies, and a worn card leaves rows of the ledger that say what cannot be."""
        if self._mended or not self._host.running:
            return
        self._crash(down_ms, table)
        self._allowed.alarms |= {LEDGER_HEALED}
        with closing(sqlite3.connect(self._host.archive)) as connection:
            rows = connection.execute("SELECT node, boot FROM ledger ORDER BY 1, 2").fetchall()
            for node, boot in rows:
                if self._random.random() < 0.5:
                    change = self._random.choice(IMPOSSIBLE)
                    connection.execute(
                        f"UPDATE ledger SET {change} WHERE node = ? AND boot = ?", (node, boot)
                    )
            connection.commit()

    def _refuse_commits(self, down_ms: int, table: Mapping[str, Any]) -> None:
        """The disk takes no commit for a while; only the late writer asks."""
        self.commits_fail = True
        self._after(down_ms, self._take_commits)

    def _take_commits(self) -> None:
        self.commits_fail = False

    def _break_file(self, down_ms: int, table: Mapping[str, Any]) -> None:
        """A file of keys or nodes is broken; what was read before has to stay in force."""
        host = self._host
        file = self._random.choice((host.keys_file, host.nodes_file))
        if self._mended or self._files.is_broken(file) or not file.exists():
            return
        self._files.break_(file, self._random.choice(sorted(WAYS)))
        self._after(down_ms, partial(self._mend_file, file, host.starts))

    def _rotate(self, down_ms: int, table: Mapping[str, Any]) -> None:
        if not self._mended:
            self._rotations.begin(self._random.choice(self._nodes), down_ms)

    def _mend_file(self, file: Path, life: int) -> None:
        collector = self._host.collector
        if collector is not None and self._host.starts == life:
            known = {*collector.keys.nodes()}, {info.node for info in collector.nodes}
            wanted = {node.info.node for node in self._host.plan.nodes}
            if known != (wanted, wanted):
                self.findings.append(f"{file.name} was broken, and {known} are left of {wanted}")
        self._files.mend(file)

    def _look_up_promises(self) -> None:
        if not self._allowed.restored and self._second is None:
            self.broken.update(broken_promises(self._host.archive, self._truth, self._nodes))

    def _stop(self, down_ms: int, table: Mapping[str, Any]) -> None:
        """As the service manager does: it is asked to end, and started again a while later."""
        if self._mended or not self._host.running or self._host.stopping:
            return
        stop = asyncio.ensure_future(self._stop_now(down_ms))
        self._stops.add(stop)
        stop.add_done_callback(self._stops.discard)

    async def _stop_now(self, down_ms: int) -> None:
        began_ms = self._loop.now_ms
        try:
            if not await self._host.stop():
                return
        except Killed:
            return  # it was crashed meanwhile, and is started again after that
        except WriteFailed:
            self._host.crash()
            self.ended()
            return
        except Exception as error:
            self.findings.append(f"a stop ended with {type(error).__name__}: {error}")
        took_ms = self._loop.now_ms - began_ms
        if took_ms > STOP_WITHIN_S * 1000:
            self.findings.append(f"a stop took {took_ms} ms")
        left = {path.name for path in self._host.plan.folder.glob("*.db*")}
        if left - FILES_OF_STOPPED:
            self.findings.append(f"a stop left {', '.join(sorted(left - FILES_OF_STOPPED))}")
        self._books.died(self._host.archive)
        self._look_up_promises()
        self._after(0 if self._mended else down_ms, self._start)

    def _start_second(self, down_ms: int, table: Mapping[str, Any]) -> None:
        """Somebody starts another collector with the same keys on the same broker, by mistake."""
        if self._second is not None:
            return
        self._allowed.alarms |= {LOST_HERE, LOST_ELSEWHERE}
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
