"""The collector's core in virtual time, over several lives.

The clock, the transports, the sinks and the folder come from outside, so that a collector can be
crashed, started again on what it left, or started on yesterday's copy.
"""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from collector.app import Collector
from collector.archive.inline_writer import InlineWriter
from collector.archive.writer import WriteFailed
from collector.keys import KeyRing, open_files
from collector.ledger.ledger import Alarm
from collector.nodes import NodeInfo, NodeRegistry
from collector.settings import CollectorSettings, Config, SinkEntry
from collector.sinks.base import Sink
from collector.storage.storage import Storage, open_storage
from collector.transports.base import Transport
from simulator.late_writer import Killed, LateWriter
from simulator.moments import START, Moments
from simulator.virtual_loop import VirtualClock

ALARMS_MAX = 10_000


@dataclass(frozen=True)
class Registered:
    """A node as the collector knows it: its record and its key."""

    info: NodeInfo
    key: bytes


@dataclass
class CollectorPlan:
    """What a collector is made of, each time that it starts.

    durable False leaves out what only a power cut of the machine would need. earliest_ms is the
    earliest date that the collector believes. on_started is told of each collector before its
    forwarders begin. With make_writer its writers work as the daemon's do; without it every
    operation is a commit of its own.
    """

    folder: Path
    clock: VirtualClock
    nodes: Sequence[Registered]
    make_transports: Callable[[], Sequence[Transport]]
    sinks: tuple[SinkEntry, ...] = ()
    make_sinks: Callable[[], Mapping[str, Sink]] = dict
    durable: bool = False
    seed: int = 0
    earliest_ms: int = 0
    commit_interval_s: float = 1.0
    free_bytes: Callable[[], int | None] | None = None
    make_writer: Callable[..., LateWriter] | None = None
    moments: Moments = field(default_factory=Moments)
    in_files: bool = False
    """Whether nodes and keys are in files of the folder, which the collector then watches."""
    on_disk_failure: Callable[[], None] | None = None
    """Told when it has ended by itself because its disk took nothing; without it that is an error
    of the run."""
    on_started: Callable[[Collector], None] = lambda collector: None


class CollectorHost:
    """One collector. start() and crash() alternate; stop() is a clean end, unless it is crashed."""

    def __init__(self, plan: CollectorPlan) -> None:
        self.plan = plan
        self.collector: Collector | None = None
        self.past_alarms: list[Alarm] = []
        self.starts = 0
        self.stopping = False
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._transports: Sequence[Transport] = ()
        plan.folder.mkdir(parents=True, exist_ok=True)

    @property
    def archive(self) -> Path:
        """The archive's file."""
        return self.plan.folder / "archive.db"

    @property
    def nodes_file(self) -> Path:
        """Who the nodes are."""
        return self.plan.folder / "nodes.json"

    @property
    def keys_file(self) -> Path:
        """Their keys."""
        return self.plan.folder / "keys.json"

    @property
    def running(self) -> bool:
        """Whether the collector lives."""
        return self.collector is not None

    @property
    def storage(self) -> Storage:
        """The storage of the running collector."""
        assert self.collector is not None
        return self.collector.storage

    @property
    def connection(self) -> sqlite3.Connection:
        """The archive's connection of the running collector."""
        writer = self.storage.writer
        assert isinstance(writer, InlineWriter | LateWriter)
        return writer.connection

    @property
    def alarms(self) -> list[Alarm]:
        """All alarms of all lives."""
        return self.past_alarms + (self.collector.alarms.latest if self.collector else [])

    def start(self) -> None:
        """Open the files and run. Raises PrivateFileError when they cannot be used."""
        plan = self.plan
        registry, ring = self._registries()
        self.starts += 1
        storage = open_storage(
            self.archive,
            plan.folder / "quarantine.db",
            plan.clock,
            threaded=plan.make_writer is not None,
            make_writer=plan.make_writer or LateWriter,
            durable=plan.durable,
            earliest_ms=plan.earliest_ms,
        )
        config = Config(
            file=plan.folder / "collector.toml",
            collector=CollectorSettings(
                data=plan.folder, clock="always", commit_interval_s=plan.commit_interval_s
            ),
            sinks=plan.sinks,
        )
        self._transports = plan.make_transports()
        self.collector = Collector(
            config,
            plan.clock,
            storage,
            self._transports,
            registry,
            ring,
            sinks=plan.make_sinks(),
            free_bytes=plan.free_bytes,
            housekeeping=False,
            chance=random.Random(f"{plan.seed}/{self.starts}"),
        )
        self._task = asyncio.create_task(self.collector.run())
        self._task.add_done_callback(self._ended)
        plan.moments.happens(START)
        self._telling = asyncio.create_task(self._tell(self.collector))

    def _registries(self) -> tuple[NodeRegistry, KeyRing]:
        plan = self.plan
        if not plan.in_files:
            secrets = {node.info.node: node.key for node in plan.nodes}
            return NodeRegistry(nodes=[node.info for node in plan.nodes]), KeyRing(secrets=secrets)
        registry, ring = open_files(self.nodes_file, self.keys_file)
        if not self.starts:
            registry.put(*(node.info for node in plan.nodes))
            for node in plan.nodes:
                ring.add(node.info.node, node.key)
        return registry, ring

    def crash(self) -> None:
        """End as by SIGKILL: nothing more is written, what was not committed is gone."""
        if self.collector is None:
            return
        for transport in self._transports:
            vanish = getattr(transport, "vanish", None)
            if vanish is not None:
                vanish()
        storage = self.storage
        for writer in (storage.writer, storage.quarantine_writer):
            assert isinstance(writer, InlineWriter | LateWriter)
            writer.abandon()
        for open_file in (storage._near, storage._witness):
            if open_file is not None:
                open_file.close()
        self._forget()
        assert self._task is not None
        self._task.add_done_callback(_overlook)
        self._task.cancel()
        self._task = None

    async def stop(self) -> bool:
        """End as by SIGTERM; False when nothing runs. Raises Killed when it is killed meanwhile."""
        collector, task = self.collector, self._task
        if collector is None or task is None or self.stopping:
            return False
        self.stopping = True
        collector.stop()
        try:
            await task
            await collector.close()
        except asyncio.CancelledError:
            if self.collector is collector:
                raise
            raise Killed from None
        self._forget()
        self._task = None
        return True

    def check(self) -> None:
        """Raise what has ended the collector, if anything has."""
        if self._task is not None and self._task.done():
            self._task.result()

    def back_up(self, folder: Path) -> None:
        """Copy the archive, as a backup of this moment would hold it."""
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / "archive.db"
        copy.unlink(missing_ok=True)
        self.connection.execute("VACUUM INTO ?", (str(copy),))

    def restore(self, folder: Path) -> None:
        """Put a backup in the archive's place; the collector must not be running."""
        for leftover in self.plan.folder.glob("archive.db*"):
            leftover.unlink()
        shutil.copyfile(folder / "archive.db", self.archive)

    async def _tell(self, collector: Collector) -> None:
        """Forwarders are there, and have not begun yet."""
        await collector.started.wait()
        self.plan.on_started(collector)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is not self._task or self.stopping or task.cancelled():
            return
        if isinstance(task.exception(), WriteFailed) and self.plan.on_disk_failure is not None:
            self.crash()
            self.plan.on_disk_failure()

    def _forget(self) -> None:
        assert self.collector is not None
        if self._telling is not None:
            self._telling.cancel()
        self.past_alarms = (self.past_alarms + self.collector.alarms.latest)[-ALARMS_MAX:]
        self.collector = None
        self.stopping = False


def _overlook(task: asyncio.Task[None]) -> None:
    """Of what ends in a dead process nobody hears."""
    if not task.cancelled():
        task.exception()
