"""One simulated run: boards, network, collector and an open network, with a scenario's faults.

Everything runs on one virtual loop and draws from one seed, so a run can be repeated exactly.
"""

import logging
import shutil
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from collector.readings.observation import Observation
from collector.sinks.base import Sink
from simulator.books import SINK, Books
from simulator.building import Instants, NodeBuilder, registered, setting
from simulator.city import City, city_of
from simulator.collector_host import CollectorHost, CollectorPlan
from simulator.downlink_numbers import DownlinkNumbers
from simulator.faults.collector import CollectorFaults
from simulator.faults.flash import FlashRefusals
from simulator.faults.hostile import Hostile
from simulator.faults.plan import behaviour_of, network_faults
from simulator.faults.power import PowerCuts
from simulator.faults.rotation import Rotations
from simulator.hosted import HostedNode
from simulator.late_writer import LateWriter
from simulator.moments import COMMIT, REQUEST, Moments
from simulator.network import Network, SimulatedTransport
from simulator.oracle import Allowed, Oracle, Verdict, judge_alarms, name_of
from simulator.scenario import Scenario
from simulator.settling import Settling, pass_time
from simulator.statements import Statements
from simulator.truth import Truth
from simulator.updates import MARK, Updates
from simulator.upstream_model import ModelSink, Upstream
from simulator.virtual_loop import VirtualClock, VirtualLoop, run

START_UNIX_MS = 1_770_000_000_000
HOUR_MS = 3_600_000
FAST_FOLDER = Path("/dev/shm")  # noqa: S108 - memory, where the platform has it


@dataclass(frozen=True)
class RunOptions:
    """What the command line may change of a scenario."""

    seed: int
    nodes: int | None = None
    hours: float | None = None


def simulate(scenario: Scenario, options: RunOptions) -> tuple[Verdict, dict[str, Any]]:
    """Run to the end; the verdict, and the report, which is the same for the same seed."""
    logging.disable(logging.CRITICAL)
    parent = FAST_FOLDER if FAST_FOLDER.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="osn-run-", dir=parent))
    try:
        simulation = Simulation(scenario, options, folder)
        verdict = run(simulation.main)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        logging.disable(logging.NOTSET)
    report = {
        "scenario": scenario.name,
        "title": scenario.title,
        "seed": options.seed,
        "nodes": simulation.node_count,
        "hours": round(simulation.hours, 3),
        "writer": scenario.writer,
        "sink": scenario.sink_kind,
        **asdict(verdict),
        "alarms": simulation.alarm_counts,
    }
    if simulation.updates is not None:
        report["updates"] = [asdict(outcome) for outcome in simulation.updates.outcomes]
    return verdict, report


class Simulation:
    """The parts of one run."""

    def __init__(self, scenario: Scenario, options: RunOptions, folder: Path) -> None:
        self.scenario = scenario
        self.seed = options.seed
        self.node_count = options.nodes or scenario.nodes
        self.hours = options.hours or scenario.hours
        self.folder = folder
        self.random = Random(f"{scenario.name}/{options.seed}")
        self.city: City | None = None
        self.began_ms = START_UNIX_MS
        if scenario.city:
            self.city = city_of(scenario.city, scenario.event, options.seed, self.hours)
            self.began_ms = self.city.began_ms
        self.registered = [
            registered(self.seed, number, self.began_ms, self.city)
            for number in range(self.node_count)
        ]
        self.truth = Truth()
        self.allowed = Allowed(duplicates=scenario.sink_kind != "reads_back")
        self.statements = Statements()
        self.upstream = Upstream(Random(f"upstream {options.seed}"))
        self.books = Books(self.upstream, blind=scenario.sink_kind == "blind")
        self.oracle = Oracle(self.truth, self.upstream, self.allowed, self.books)
        self.moments = Moments()
        self.writing = Random(f"writer {options.seed}")
        self.upstream.on_request = partial(self.moments.happens, REQUEST)
        self.instants = Instants(setting(scenario, "sample_interval_s") * 1000)
        self.nodes: list[HostedNode] = []
        self.updates: Updates | None = None
        self.alarm_counts: dict[str, int] = {}

    async def main(self, loop: VirtualLoop) -> Verdict:
        """Build, run the faults, let everything settle, judge."""
        self._build(loop)
        self._plan()
        await pass_time(loop, self.nodes, self.hours * 3600, self._tidy)
        self._mend()
        await self._settling().settle()
        for node in self.nodes:
            self.truth.powered_off(node, cut=False)
            if node.node is not None:
                dropped = sum(node.node.outbox.drops.counts)
                self.allowed.dropped[node.address] = dropped
        verdict = self._judge()
        await self.host.stop()
        return verdict

    def _build(self, loop: VirtualLoop) -> None:
        """All parts; the collector runs, and boards get power within a minute."""
        self.loop = loop
        self.clock = VirtualClock(loop, self.began_ms)
        self.network = Network(
            loop,
            Random(f"network {self.seed}"),
            network_faults(self.scenario.network, self._end_ms, self.random),
            self.scenario.latency_ms,
        )
        self.upstream.behaviour = behaviour_of(self.scenario.sink, self._end_ms, self.random)
        self.numbers = DownlinkNumbers()
        self.network.taps.append(self.numbers.listen)
        self.host = CollectorHost(self._collector_plan())
        self.upstream.stated_error_ms = self._stated_error_ms
        self.power_cuts = PowerCuts(loop, self.random, self.nodes, self.truth)
        self.flash_refusals = FlashRefusals(loop, self.random, self.nodes)
        self.rotations = Rotations(
            loop, self.host, self.power_cuts, Random(f"rotations {self.seed}")
        )
        self.collector_faults = CollectorFaults(
            loop,
            self.host,
            self.clock,
            self.folder,
            self.truth,
            self.nodes,
            self.allowed,
            self.books,
            self.rotations,
        )
        self.host.start()
        builder = NodeBuilder(
            self.scenario,
            self.seed,
            self.city,
            self.began_ms,
            loop,
            self.network,
            self.truth,
            self.instants,
        )
        for number, who in enumerate(self.registered):
            node = builder.build(who, number)
            node.on_cut = self.power_cuts.follow
            self.nodes.append(node)
            loop.call_at_ms(self.random.randrange(60_000), node.power_on)

    def _collector_plan(self) -> CollectorPlan:
        return CollectorPlan(
            folder=self.folder / "collector",
            clock=self.clock,
            nodes=self.registered,
            make_transports=lambda: [SimulatedTransport(self.network)],
            make_sinks=self._sinks,
            seed=self.seed,
            free_bytes=lambda: 0 if self.collector_faults.disk_full else None,
            on_started=self.statements.watch,
            make_writer=self._late_writer if self.scenario.writer == "late" else None,
            moments=self.moments,
            on_disk_failure=lambda: self.collector_faults.ended(),
            in_files=any(table["kind"] == "files" for table in self.scenario.collector),
        )

    def _sinks(self) -> dict[str, Sink]:
        host, life = self.host, self.host.starts
        kind = self.scenario.sink_kind

        def alive() -> bool:
            return host.running and host.starts == life

        return {SINK: ModelSink(SINK, self.upstream, kind, alive)}

    def _late_writer(self, *openers: Any, **options: Any) -> LateWriter:
        began = partial(self.moments.happens, COMMIT)
        return LateWriter(
            *openers,
            chance=self.writing,
            on_commit=began,
            refuses=lambda: self.collector_faults.commits_fail,
            **options,
        )

    @property
    def _end_ms(self) -> int:
        return round(self.hours * HOUR_MS)

    def _stated_error_ms(self, observation: Observation) -> int:
        frame = observation.frame
        boot = self.truth.boots.get((frame.node, frame.boot))
        if boot is None or not self.host.running:
            return 0
        uptime_ms = observation.time_ms - boot.began_unix_ms
        stamp = self.host.storage.timeline.time_of(frame.node, frame.boot, uptime_ms)
        frozen_ms = self.statements.error_ms((frame.node, frame.boot, frame.seq))
        return max(frozen_ms, stamp.error_ms if stamp else 0)

    def _plan(self) -> None:
        """Schedule what goes wrong; the order decides which fault draws which number."""
        if self.scenario.update:
            self.updates = Updates(self.scenario.update, self.loop, self.host, self.nodes)
            self.updates.plan()
        self.power_cuts.plan(self.scenario.power, self._end_ms)
        self.flash_refusals.plan(self.scenario.flash, self._end_ms)
        self._plan_forgetting()
        self.collector_faults.plan(self.scenario.collector, self._end_ms, self.random)
        members = [(info.info.node, info.key) for info in self.registered]
        Hostile(self.network, self.random, members).plan(self.scenario.hostile, self._end_ms)

    def _plan_forgetting(self) -> None:
        """The network goes back to a backup of itself, or begins anew, now and then."""
        chance = Random(f"forgetting {self.scenario.name} {self.seed}")
        for _ in range(int(self.scenario.sink.get("forgets", 0))):
            at_ms = chance.randrange(60_000, max(60_001, self._end_ms))
            if chance.random() < 0.3:
                self.loop.call_at_ms(at_ms, self.upstream.go_back, {})
            else:
                self.loop.call_at_ms(at_ms, self._back_up_network, chance.randrange(3_600_000))

    def _back_up_network(self, later_ms: int) -> None:
        back_ms = min(self.loop.now_ms + later_ms, self._end_ms)
        self.loop.call_at_ms(back_ms, self.upstream.go_back, self.upstream.memory())

    def _tidy(self) -> None:
        """Forget what is proved, unless a backup may take it out of the archive or the network."""
        restored = any(table["kind"] == "restore" for table in self.scenario.collector)
        if not restored and not self.scenario.sink.get("forgets"):
            self.oracle.tidy()

    def _mend(self) -> None:
        """Nothing goes wrong any more."""
        self.network.faults.clear()
        self.upstream.behaviour = behaviour_of(
            {k: v for k, v in self.scenario.sink.items() if k == "refuse_one_in"}, 0, self.random
        )
        self.collector_faults.mend()
        self.power_cuts.mend()
        self.flash_refusals.mend()

    def _settling(self) -> Settling:
        report_s = None
        if self.scenario.node.get("sleep"):
            report_s = setting(self.scenario, "sleep_rows") * self.instants.interval_ms / 1000
        return Settling(
            self.loop,
            self.nodes,
            self.host,
            self.truth,
            self.instants,
            report_s,
            self._tidy,
            self.oracle.all_told,
        )

    def _judge(self) -> Verdict:
        verdict = self.oracle.judge(self.host.storage, self.host.connection)
        for node in self.nodes:
            for crash in node.crashes:
                if MARK not in crash:
                    verdict.find(f"node {node.address:08x}: its firmware raised: {crash}")
        if self.updates is not None:
            self.updates.judge(verdict)
        for position in sorted(self.collector_faults.broken):
            verdict.find(f"{name_of(position)} was acknowledged and not on the disk")
        findings = self.collector_faults.findings + self.rotations.judge()
        two = any(table["kind"] == "second" for table in self.scenario.collector)
        if not (self.allowed.restored or two):
            findings += self.numbers.findings
        for finding in findings:
            verdict.find(finding)
        judge_alarms(self.host.alarms, self.allowed, verdict)
        for alarm in self.host.alarms:
            self.alarm_counts[alarm.kind] = self.alarm_counts.get(alarm.kind, 0) + 1
        return verdict
