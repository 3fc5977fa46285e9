"""Replay a recording from device models to a sink, in virtual time."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from collector.archive import archive
from collector.nodes import NodeInfo, Site
from collector.settings import SinkEntry
from collector.sinks.jsonl import Config as JsonlConfig
from collector.storage.storage import Storage
from firmware.node import Node
from firmware.settings import Settings
from protocol.decoder import decode
from protocol.reading import readings
from protocol.registry import REGISTRY
from protocol.wire import T_DATA
from simulator import provision
from simulator.collector_host import CollectorHost, CollectorPlan, Registered
from simulator.faults.filesystem import MemoryFiles
from simulator.hosted import HostedNode
from simulator.hosted_board import HostedBoard
from simulator.hosted_hal import HostedHal
from simulator.network import Network, SimulatedTransport
from simulator.recordings import Recording, RecordingError
from simulator.replay_plan import NodePlan, RecordedSchedule, RecordedStimulus, make_plans
from simulator.replay_report import ReplayReport, Told, compare, read_jsonl
from simulator.virtual_loop import VirtualClock, VirtualLoop, run
from simulator.vm import SHIMS
from simulator.vm_node import SteppedVmNode
from simulator.wiring import Wiring

ARCHIVE = "archive.db"
DELIVERED = "delivered.jsonl"
SINK = "jsonl"
SETTINGS: dict[str, int | str] = {"batch_rows": 60, "report_interval_s": 3600}
STEPPED_BOARD = SHIMS / "stepped_board.py"
VM_HEAP = "512K"
AFTERWARDS_S = 2 * 3600
NODES_MAX = 2_000
VM_NODES_MAX = 32
FRAMES_AT_ONCE = 1_000
NEWEST_ID = 1 << 62

Progress = Callable[[float], None]
Disturb = Callable[[VirtualLoop, CollectorHost, Network], None]
"""Called once at the start: may schedule crashes and network faults."""


class Powered(Protocol):
    """A node of either depth."""

    def power_on(self) -> None: ...

    def power_off(self) -> None: ...


@dataclass(frozen=True)
class ReplayOptions:
    """keep: where archive and deliveries stay; vm: run the firmware on the MicroPython VM."""

    keep: Path
    vm: bool = False
    seed: int = 1
    disturb: Disturb | None = None


def replay(
    recording: Recording, options: ReplayOptions, progress: Progress | None = None
) -> ReplayReport:
    """Run the whole recording and compare what came out.

    Raises RecordingError for more nodes than can be hosted, FileNotFoundError without a VM.
    """
    started_s = time.perf_counter()
    plans = make_plans(recording)
    most = VM_NODES_MAX if options.vm else NODES_MAX
    if len(plans) > most:
        raise RecordingError(f"this recording needs {len(plans)} nodes; {most} at most")
    if options.vm and any(track.driver == "ics43434" for track in recording.tracks):
        raise RecordingError("levels are replayed under CPython only: leave --vm out")
    options.keep.mkdir(parents=True, exist_ok=True)
    for stale in (*options.keep.glob("*.db*"), options.keep / DELIVERED):
        stale.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="osn-replay-") as folder:
        replayed = _Replay(plans, options, Path(folder), progress or _no_progress)
        stored, ledger = run(replayed.main)
    delivered = list(read_jsonl(options.keep / DELIVERED))
    report = compare(plans, recording, stored, delivered)
    report.virtual_machine = options.vm
    report.ledger = {**ledger, "readings_delivered": len(delivered)}
    report.duration_s = round(time.perf_counter() - started_s, 1)
    return report


class _Replay:
    """One run: nodes, network and collector on one virtual loop."""

    def __init__(
        self, plans: list[NodePlan], options: ReplayOptions, folder: Path, progress: Progress
    ) -> None:
        self.plans = plans
        self.options = options
        self.folder = folder
        self.progress = progress
        self.origin_ms = min(plan.start_ms for plan in plans)
        self.failures: list[str] = []

    async def main(self, loop: VirtualLoop) -> tuple[list[Told], dict[str, int]]:
        network = Network(loop, Random(self.options.seed))
        clock = VirtualClock(loop, self.origin_ms)
        host = CollectorHost(
            CollectorPlan(
                folder=self.options.keep,
                clock=clock,
                nodes=[_registered(plan) for plan in self.plans],
                make_transports=lambda: [SimulatedTransport(network)],
                sinks=(self._sink(),),
            )
        )
        host.start()
        if self.options.disturb is not None:
            self.options.disturb(loop, host, network)
        make = self._vm_node if self.options.vm else self._hosted_node
        nodes = [make(loop, network, plan) for plan in self.plans]
        for plan, node in zip(self.plans, nodes, strict=True):
            loop.call_at_ms(plan.start_ms - self.origin_ms, node.power_on)
        try:
            await self._pass_time(loop, host)
        finally:
            for node in nodes:
                node.power_off()
        stored = list(_stored(host.storage))
        ledger = _ledger(host.storage)
        await host.stop()
        return stored, ledger

    async def _pass_time(self, loop: VirtualLoop, host: CollectorHost) -> None:
        end_ms = max(plan.instants_ms[-1] for plan in self.plans) - self.origin_ms
        end_s = end_ms / 1000 + AFTERWARDS_S
        while loop.time() < end_s:
            await asyncio.sleep(min(600.0, end_s - loop.time()))
            host.check()
            if self.failures:
                raise RuntimeError(self.failures[0])
            self.progress(loop.time() / end_s)

    def _sink(self) -> SinkEntry:
        return SinkEntry("jsonl", SINK, JsonlConfig(file=self.options.keep / DELIVERED))

    def _hosted_node(self, loop: VirtualLoop, network: Network, plan: NodePlan) -> Powered:
        board = plan.board()
        start_ms = plan.start_ms - self.origin_ms
        stimulus = RecordedStimulus(plan, plan.start_ms)
        schedule = RecordedSchedule([at - plan.start_ms for at in plan.instants_ms])

        def buses() -> Wiring:
            return Wiring(board, stimulus, self.options.seed, lambda: loop.now_ms - start_ms)

        def make(hal: HostedHal) -> Node:
            settings = Settings(hal.files)
            for name, value in SETTINGS.items():
                settings.set(name, value)
            return Node(hal, board, settings, schedule)

        hosted = HostedBoard(
            board, MemoryFiles(), provision.into_memory(_identity(plan)), plan.key[:6]
        )
        return HostedNode(loop, network, plan.address, hosted, buses, make, self.options.seed)

    def _vm_node(self, loop: VirtualLoop, network: Network, plan: NodePlan) -> Powered:
        board = plan.board()
        folder = self.folder / f"{plan.address:08x}"
        provision.into_folder(
            folder,
            _identity(plan),
            board,
            SETTINGS,
            [at - plan.start_ms for at in plan.instants_ms],
        )
        stimulus = RecordedStimulus(plan, plan.start_ms)

        def link() -> Any:
            link = network.link(plan.address)
            link.on_frame = node.wake
            link.start(0)
            return link

        node = SteppedVmNode(
            loop,
            folder,
            board,
            lambda clock: Wiring(board, stimulus, self.options.seed, clock),
            plan.key[:6],
            script=STEPPED_BOARD,
            heap=VM_HEAP,
            make_link=link,
        )
        node.on_end = self.failures.append
        return node


def _identity(plan: NodePlan) -> Any:
    return provision.identity_of(plan.address, plan.uuid, plan.key, plan.start_ms // 1000)


def _registered(plan: NodePlan) -> Registered:
    info = NodeInfo(
        node=plan.address,
        uuid=plan.uuid,
        name=plan.name,
        board="classic",
        site=Site(plan.latitude, plan.longitude),
        boot=plan.start_ms // 1000,
    )
    return Registered(info, plan.key)


def _stored(storage: Storage) -> Iterator[Told]:
    """Every value in the archive, dated by the timeline as it stands."""
    writer = storage.writer
    connection = writer.connection  # type: ignore[attr-defined]
    next_id = 1
    while frames := list(archive.frames(connection, next_id, NEWEST_ID, FRAMES_AT_ONCE)):
        next_id = frames[-1].id + 1
        for frame in frames:
            if frame.type != T_DATA:
                continue
            for reading in readings(decode(frame.raw)):
                if reading.value is None:
                    continue
                stamp = storage.timeline.time_of(frame.node, frame.boot, reading.uptime_ms)
                name = REGISTRY[reading.quantity].name
                unix_ms = stamp.unix_ms if stamp else 0
                yield Told(frame.node, name, unix_ms, reading.value, str(reading.quality))


def _ledger(storage: Storage) -> dict[str, int]:
    connection = storage.writer.connection  # type: ignore[attr-defined]
    counts: Counter[str] = Counter()
    for outcome, readings_count in connection.execute(
        "SELECT outcome, sum(readings) FROM delivery_count GROUP BY outcome"
    ):
        counts[f"sink_{outcome}"] += readings_count
    counts["frames_stored"] = connection.execute("SELECT count(*) FROM frame").fetchone()[0]
    return dict(counts)


def _no_progress(part: float) -> None:
    pass
