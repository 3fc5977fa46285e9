"""One simulated run: boards, network, collector and an open network, with a scenario's faults.

Everything runs on one virtual loop and draws from one seed, so a run can be repeated exactly.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from collector.ledger.ledger import LOST_ELSEWHERE, LOST_HERE
from collector.nodes import NodeInfo, Site
from collector.readings.observation import Observation
from firmware.node import Node
from firmware.settings import Settings
from protocol.wire import T_DATA
from simulator import provision, updates
from simulator.buses import Bare, Buses
from simulator.city import City, Heard, city_of
from simulator.collector_host import CollectorHost, CollectorPlan, Registered
from simulator.faults.filesystem import MemoryFiles, Outcome, PowerCut
from simulator.faults.hostile import Hostile
from simulator.faults.plan import behaviour_of, network_faults
from simulator.fleet_node import Feed, PatientNode
from simulator.hosted import HostedNode
from simulator.hosted_board import HostedBoard
from simulator.hosted_hal import HostedHal
from simulator.network import Network, SimulatedTransport
from simulator.oracle import Allowed, Oracle, Verdict, judge_alarms, name_of
from simulator.promises import broken_promises, frames_in
from simulator.scenario import Scenario
from simulator.truth import Boot, Position, Truth
from simulator.updates import MARK, Updates
from simulator.upstream_model import ModelSink, Upstream
from simulator.virtual_loop import VirtualClock, VirtualLoop, run
from simulator.wiring import Wiring
from simulator.world import PlaceStimulus

START_UNIX_MS = 1_770_000_000_000
HOUR_MS = 3_600_000
SETTLE_MAX_S = 4 * 3600.0
SETTLE_STEP_S = 60.0
NEVER_MS = 1 << 46
REST_CHECK_S = 60
STEPS_MAX = 12_000
"""In a minute: a board that steps more often than each 5 ms all the time does not come to rest."""
FAST_FOLDER = Path("/dev/shm")  # noqa: S108 - memory, where the platform has it
NODE_SETTINGS = {"sample_interval_s": 10, "report_interval_s": 300, "batch_rows": 30}


class Restless(RuntimeError):
    """A board's firmware runs in circles."""


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
        **asdict(verdict),
        "alarms": simulation.alarm_counts,
    }
    if simulation.updates is not None:
        report["updates"] = [asdict(outcome) for outcome in simulation.updates.outcomes]
    return verdict, report


class Simulation:
    """The parts of one run, and the schedule of what goes wrong."""

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
        self.truth = Truth()
        self.allowed = Allowed()
        self.upstream = Upstream(Random(f"upstream {options.seed}"))
        self.oracle = Oracle(self.truth, self.upstream, self.allowed)
        self.nodes: list[HostedNode] = []
        self.sleepy = bool(scenario.node.get("sleep"))
        self.disk_full = False
        self.quiet = False
        self.alarm_counts: dict[str, int] = {}
        self.broken: set[Position] = set()
        self.second: CollectorHost | None = None
        self.updates: Updates | None = None

    async def main(self, loop: VirtualLoop) -> Verdict:
        """Build, run the faults, let everything settle, judge."""
        self.loop = loop
        self.clock = VirtualClock(loop, self.began_ms)
        end_ms = round(self.hours * HOUR_MS)
        self.network = Network(
            loop,
            Random(f"network {self.seed}"),
            network_faults(self.scenario.network, end_ms, self.random),
            self.scenario.latency_ms,
        )
        self.upstream.behaviour = behaviour_of(self.scenario.sink, end_ms, self.random)
        self.host = CollectorHost(self._collector_plan())
        self.upstream.stated_error_ms = self._stated_error_ms
        self.host.start()
        for number in range(self.node_count):
            self._add_node(number)
        if self.scenario.update:
            self.updates = Updates(self.scenario.update, loop, self.host, self.nodes)
            self.updates.plan()
        self._plan_power(end_ms)
        self._plan_collector(end_ms)
        self.hostile = Hostile(self.network, self.random, self._members())
        self.hostile.plan(self.scenario.hostile, end_ms)
        await self._pass_time(self.loop.time() + self.hours * 3600)
        await self._settle()
        for node in self.nodes:
            self.truth.powered_off(node, cut=False)
            if node.node is not None:
                dropped = sum(node.node.outbox.drops.counts)
                self.allowed.dropped[node.address] = dropped
        verdict = self.oracle.judge(self.host.storage, self.host.connection)
        for node in self.nodes:
            for crash in node.crashes:
                if MARK not in crash:
                    verdict.find(f"node {node.address:08x}: its firmware raised: {crash}")
        if self.updates is not None:
            self.updates.judge(verdict)
        for position in sorted(self.broken):
            verdict.find(f"{name_of(position)} was acknowledged and not on the disk")
        judge_alarms(self.host.alarms, self.allowed, verdict)
        for alarm in self.host.alarms:
            self.alarm_counts[alarm.kind] = self.alarm_counts.get(alarm.kind, 0) + 1
        await self.host.stop()
        return verdict

    def _stated_error_ms(self, observation: Observation) -> int:
        frame = observation.frame
        boot = self.truth.boots.get((frame.node, frame.boot))
        if boot is None or not self.host.running:
            return 0
        uptime_ms = observation.time_ms - boot.began_unix_ms
        stamp = self.host.storage.timeline.time_of(frame.node, frame.boot, uptime_ms)
        return stamp.error_ms if stamp else 0

    # --- building ---

    def _members(self) -> list[tuple[int, bytes]]:
        return [(info.info.node, info.key) for info in self.registered]

    def _collector_plan(self) -> CollectorPlan:
        self.registered = [self._registered(number) for number in range(self.node_count)]
        reads_back = not self.scenario.sink.get("idempotent", False)
        self.allowed.duplicates = not reads_back
        return CollectorPlan(
            folder=self.folder / "collector",
            clock=self.clock,
            nodes=self.registered,
            make_transports=lambda: [SimulatedTransport(self.network)],
            make_sinks=lambda: {"model": ModelSink("model", self.upstream, reads_back=reads_back)},
            seed=self.seed,
            free_bytes=lambda: 0 if self.disk_full else None,
        )

    def _registered(self, number: int) -> Registered:
        secret = sha256(f"node {self.seed} {number}".encode()).digest()
        address = (int.from_bytes(secret[:3], "big") << 8 | number & 255) or 1
        info = NodeInfo(
            node=address,
            uuid=str(UUID(bytes=secret[8:24], version=4)),
            name=f"node {number}",
            site=Site(52.0, 5.0),
            mobile=self.city is not None and self.city.place(number).route is not None,
            boot=self.began_ms // 1000,
        )
        return Registered(info, sha256(b"key" + secret).digest())

    def _add_node(self, number: int) -> None:
        who = self.registered[number]
        identity = provision.identity_of(
            who.info.node, who.info.uuid, who.key, self.began_ms // 1000
        )
        board = {"board": "fleet", "chip": "esp32", "sensors": []}
        interval_ms = self._setting("sample_interval_s") * 1000
        buses: Callable[[], Buses] = Bare
        stimulus = None
        if self.city is not None:
            board = self.city.board(number)
            stimulus = self.city.stimulus(number)
            buses = self._wiring(board, stimulus, number)

        files = MemoryFiles()
        make_node: Callable[..., Node] = PatientNode
        if self.scenario.update:
            updates.install(files)
            make_node = updates.start
        elif self.city is not None or self.sleepy:
            make_node = Node

        def make(hal: HostedHal) -> Node:
            settings = Settings(hal.files)
            settings.load()
            for name in {*NODE_SETTINGS, *self.scenario.node}:
                settings.set(name, self._setting(name))
            sensors = None if self.city is not None else [(Feed(number, interval_ms), 0)]
            return make_node(hal, board, settings, self, sensors=sensors)

        hosted = HostedNode(
            self.loop,
            self.network,
            who.info.node,
            HostedBoard(board, files, provision.into_memory(identity), who.key[:6]),
            buses,
            make,
            self.seed * 1000 + number,
        )

        def started(hosted: HostedNode) -> None:
            now_ms = self.loop.now_ms
            boot = Boot(self.began_ms + now_ms, interval_ms, number)
            if self.sleepy:
                boot.batch_rows = self._setting("sleep_rows")
            if stimulus is not None or self.sleepy:
                boot.heard = Heard(stimulus, now_ms)
            self.truth.watch(hosted, boot)

        hosted.on_started = started
        hosted.on_off = self.truth.powered_off
        hosted.on_sleep = self.truth.fell_asleep
        hosted.on_cut = self._after_cut
        self.nodes.append(hosted)
        self.loop.call_at_ms(self.random.randrange(60_000), hosted.power_on)

    def _wiring(
        self, board: dict[str, Any], stimulus: PlaceStimulus, number: int
    ) -> Callable[[], Buses]:
        seed = self.seed * 1000 + number
        return lambda: Wiring(board, stimulus, seed, lambda: self.loop.now_ms)

    def _setting(self, name: str) -> int:
        found: int = self.scenario.node.get(name, NODE_SETTINGS.get(name, 0))
        return found

    def next_ms(self, after_uptime_ms: int) -> int:
        """Sampling instants of all nodes; see firmware.types.Schedule."""
        interval_ms = self._setting("sample_interval_s") * 1000
        return NEVER_MS if self.quiet else (after_uptime_ms // interval_ms + 1) * interval_ms

    # --- power ---

    def _plan_power(self, end_ms: int) -> None:
        for table in self.scenario.power:
            for _ in range(int(table.get("times", 1))):
                node = self.random.choice(self.nodes)
                at_ms = self.random.randrange(120_000, max(120_001, end_ms))
                action: Callable[[HostedNode], None] = self._cut_now
                if table["kind"] == "operation":
                    action = self._cut_at_operation
                self.loop.call_at_ms(at_ms, action, node)

    def _cut_now(self, node: HostedNode) -> None:
        if node.powered or node.asleep:
            node.power_off()
            self._after_cut(node)

    def _cut_at_operation(self, node: HostedNode) -> None:
        """The power fails in the middle of one of the next operations on flash."""
        if node.powered or node.asleep:
            files = node.board.files
            files.faults.cut_at = files.operations + self.random.randint(1, 6)
            files.faults.outcome = self.random.choice(list(Outcome))
            if self.random.random() < 0.3:
                node.board.nvs.on_commit = self._cut_at_commit

    def _cut_at_commit(self) -> None:
        raise PowerCut

    def _after_cut(self, node: HostedNode) -> None:
        self.truth.power_cuts += 1
        node.board.nvs.on_commit = None
        node.board.files = node.board.files.survivors()
        self.loop.call_at_ms(self.loop.now_ms + self.random.randint(1_000, 120_000), node.power_on)

    # --- collector ---

    def _plan_collector(self, end_ms: int) -> None:
        for table in self.scenario.collector:
            for _ in range(int(table.get("times", 1))):
                at_ms = self.random.randrange(60_000, max(60_001, end_ms))
                down_ms = int(table.get("seconds", 60) * 1000)
                action = getattr(self, f"_collector_{table['kind']}")
                self.loop.call_at_ms(at_ms, action, down_ms, table)

    def _collector_crash(self, down_ms: int, table: dict[str, Any]) -> None:
        self.host.crash()
        if not self.allowed.restored and self.second is None:
            self.broken.update(broken_promises(self.host.archive, self.truth, self.nodes))
        self.loop.call_at_ms(self.loop.now_ms + down_ms, self._start_collector)

    def _collector_second(self, down_ms: int, table: dict[str, Any]) -> None:
        """Somebody starts another collector with the same keys on the same broker, by mistake."""
        if self.second is not None:
            return
        self.allowed.alarms = frozenset((LOST_HERE, LOST_ELSEWHERE))
        plan = replace(
            self.host.plan, folder=self.folder / "second", make_sinks=dict, free_bytes=None
        )
        self.second = CollectorHost(plan)
        self.second.start()
        self.loop.call_at_ms(self.loop.now_ms + down_ms, self._second_gone)

    def _second_gone(self) -> None:
        """It is found and ended; what it has taken is known from its archive."""
        if self.second is not None and self.second.running:
            self.second.crash()
            self.allowed.elsewhere = frozenset(frames_in(self.second.archive))

    def _collector_restore(self, down_ms: int, table: dict[str, Any]) -> None:
        if not self.host.running or self.allowed.restored:
            return
        self.allowed.restored = self.allowed.duplicates = True
        self.host.back_up(self.folder / "backup")
        self.loop.call_at_ms(self.loop.now_ms + down_ms, self._put_back)

    def _put_back(self) -> None:
        self.host.crash()
        self.host.restore(self.folder / "backup")
        self._start_collector()

    def _collector_disk_full(self, down_ms: int, table: dict[str, Any]) -> None:
        self.disk_full = True
        self.loop.call_at_ms(self.loop.now_ms + down_ms, self._disk_freed)

    def _disk_freed(self) -> None:
        self.disk_full = False

    def _collector_clock(self, down_ms: int, table: dict[str, Any]) -> None:
        """The Pi's clock is wrong for a while, and the Pi knows that."""
        self.clock.is_synchronised = False
        self.clock.step_ms = int(table.get("step_s", -86_400)) * 1000
        self.loop.call_at_ms(self.loop.now_ms + down_ms, self._clock_right)

    def _clock_right(self) -> None:
        self.clock.step_ms = 0
        self.clock.is_synchronised = True

    def _start_collector(self) -> None:
        if not self.host.running:
            self.host.start()

    # --- the end ---

    async def _pass_time(self, end_s: float) -> None:
        """Let time pass. Raises Restless when a board does not come to rest."""
        while (left_s := end_s - self.loop.time()) > 0:
            before = [node.steps for node in self.nodes]
            await asyncio.sleep(min(left_s, REST_CHECK_S))
            if not self._will_be_restored:
                self.oracle.tidy()
            for node, steps in zip(self.nodes, before, strict=True):
                if node.steps - steps > STEPS_MAX:
                    raise Restless(
                        f"node {node.address:08x}: {node.steps - steps} steps in {REST_CHECK_S} s"
                    )

    @property
    def _will_be_restored(self) -> bool:
        """Whether frames that are in the archive now may be gone from it at the end."""
        return any(table["kind"] == "restore" for table in self.scenario.collector)

    async def _settle(self) -> None:
        """Mend everything, let boards report what they have, and wait until nothing moves."""
        self.network.faults.clear()
        self.upstream.behaviour = behaviour_of(
            {k: v for k, v in self.scenario.sink.items() if k == "refuse_one_in"}, 0, self.random
        )
        self._disk_freed()
        self._clock_right()
        self._second_gone()
        self._start_collector()
        for node in self.nodes:
            node.board.files.faults.cut_at = None
            node.board.nvs.on_commit = None
        await self._pass_time(self.loop.time() + 200)
        if self.sleepy:  # they stop by themselves, over and over; what is old goes with reports
            report_s = self._setting("sleep_rows") * self._setting("sample_interval_s")
            await self._pass_time(self.loop.time() + 3 * report_s)
        else:
            self._fall_quiet()
        end_s = self.loop.time() + SETTLE_MAX_S
        calm = 0
        while self.loop.time() < end_s and calm < (1 if self.sleepy else 3):
            await self._pass_time(self.loop.time() + SETTLE_STEP_S)
            self.host.check()
            calm = calm + 1 if self._is_calm() else 0

    def _fall_quiet(self) -> None:
        """Let no board sample any more, and let all report what they have."""
        for node in self.nodes:
            if isinstance(node.node, PatientNode):
                node.node.catch_up()
        self.quiet = True
        for node in self.nodes:
            self.truth.stopped(node)
            if node.node is not None and node.node.sampler is not None:
                if not node.node.sampler.row_open:  # an open row ends by itself, as the last one
                    node.node.sampler._instant = NEVER_MS
                node.node._report_due = 0
            node.wake()

    def _is_calm(self) -> bool:
        for node in self.nodes:
            if self.sleepy:
                if not node.asleep or not self.truth.latest[node.address].settled:
                    return False
                continue
            if node.node is None:
                return False
            outbox = node.node.outbox
            if node.node.sampler is not None and node.node.sampler.batch.rows:
                return False
            if outbox.spool.unsynced or outbox.uplink.wait_ms(node.node.clock.uptime_ms()) < 30_000:
                return False
            if any(entry[1] <= entry[2] for entry in outbox.spool.boots):
                boots = outbox.settled
                if any(not boots.covers(entry[0], entry[2]) for entry in outbox.spool.boots):
                    return False
        assert self.host.collector is not None
        if self.host.collector.intake.waiting:
            return False
        undated = self._undated_frames()
        return all(
            s.open_frames == s.held_frames == undated and s.waiting_frames == s.unknown_frames == 0
            for s in (f.status() for f in self.host.collector.forwarders)
        )

    def _undated_frames(self) -> int:
        """DATA in the archive of boots that power ended before they had heard the time."""
        count = 0
        for (node, number), boot in self.truth.boots.items():
            stamp = self.host.storage.timeline.time_of(node, number, boot.sampling_ms)
            if boot.cut and not boot.synchronised and stamp is None:
                count += self.host.connection.execute(
                    "SELECT count(*) FROM frame WHERE node = ? AND boot = ? AND type = ?",
                    (node, number, T_DATA),
                ).fetchone()[0]
        return count
