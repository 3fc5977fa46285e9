"""The boards of a simulated run: who they are, what is on them, and when they sample."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import UUID

from collector.nodes import NodeInfo, Site
from firmware.node import Node
from firmware.settings import Settings
from simulator import provision, updates
from simulator.buses import Bare, Buses
from simulator.city import City, Heard
from simulator.collector_host import Registered
from simulator.faults.filesystem import MemoryFiles
from simulator.fleet_node import Feed, PatientNode
from simulator.hosted import HostedNode
from simulator.hosted_board import HostedBoard
from simulator.hosted_hal import HostedHal
from simulator.network import Network
from simulator.scenario import Scenario
from simulator.truth import Boot, Truth
from simulator.virtual_loop import VirtualLoop
from simulator.wiring import Wiring
from simulator.world import PlaceStimulus

NEVER_MS = 1 << 46
NODE_SETTINGS = {"sample_interval_s": 10, "report_interval_s": 300, "batch_rows": 30}


def setting(scenario: Scenario, name: str) -> int:
    """A setting of the scenario's boards."""
    found: int = scenario.node.get(name, NODE_SETTINGS.get(name, 0))
    return found


def registered(seed: int, number: int, began_ms: int, city: City | None) -> Registered:
    """A board as its owner registers it: address, key and place."""
    secret = sha256(f"node {seed} {number}".encode()).digest()
    address = (int.from_bytes(secret[:3], "big") << 8 | number & 255) or 1
    info = NodeInfo(
        node=address,
        uuid=str(UUID(bytes=secret[8:24], version=4)),
        name=f"node {number}",
        site=Site(52.0, 5.0),
        mobile=city is not None and city.place(number).route is not None,
        boot=began_ms // 1000,
    )
    return Registered(info, sha256(b"key" + secret).digest())


class Instants:
    """Sampling instants of all boards; see firmware.types.Schedule. None once `quiet` is set."""

    def __init__(self, interval_ms: int) -> None:
        self.interval_ms = interval_ms
        self.quiet = False

    def next_ms(self, after_uptime_ms: int) -> int:
        """The first instant after this uptime."""
        interval_ms = self.interval_ms
        return NEVER_MS if self.quiet else (after_uptime_ms // interval_ms + 1) * interval_ms


class NodeBuilder:
    """Builds the hosted nodes of a run; `truth` watches each boot of them."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        city: City | None,
        began_ms: int,
        loop: VirtualLoop,
        network: Network,
        truth: Truth,
        instants: Instants,
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._city = city
        self._began_ms = began_ms
        self._loop = loop
        self._network = network
        self._truth = truth
        self._instants = instants
        self._sleepy = bool(scenario.node.get("sleep"))

    def build(self, who: Registered, number: int) -> HostedNode:
        """A node without power."""
        board = {"board": "fleet", "chip": "esp32", "sensors": []}
        buses: Callable[[], Buses] = Bare
        stimulus = None
        if self._city is not None:
            board = self._city.board(number)
            stimulus = self._city.stimulus(number)
            buses = self._wiring(board, stimulus, number)
        identity = provision.identity_of(
            who.info.node, who.info.uuid, who.key, self._began_ms // 1000
        )
        files = MemoryFiles()
        if self._scenario.update:
            updates.install(files)
        hosted = HostedNode(
            self._loop,
            self._network,
            who.info.node,
            HostedBoard(board, files, provision.into_memory(identity), who.key[:6]),
            buses,
            self._firmware(board, number),
            self._seed * 1000 + number,
        )
        hosted.on_started = self._watch(stimulus, number)
        hosted.on_off = self._truth.powered_off
        hosted.on_sleep = self._truth.fell_asleep
        return hosted

    def _firmware(self, board: dict[str, Any], number: int) -> Callable[[HostedHal], Node]:
        make_node: Callable[..., Node] = PatientNode
        if self._scenario.update:
            make_node = updates.start
        elif self._city is not None or self._sleepy:
            make_node = Node

        def make(hal: HostedHal) -> Node:
            settings = Settings(hal.files)
            settings.load()
            for name in {*NODE_SETTINGS, *self._scenario.node}:
                settings.set(name, setting(self._scenario, name))
            interval_ms = self._instants.interval_ms
            sensors = None if self._city is not None else [(Feed(number, interval_ms), 0)]
            return make_node(hal, board, settings, self._instants, sensors=sensors)

        return make

    def _watch(self, stimulus: PlaceStimulus | None, number: int) -> Callable[[HostedNode], None]:
        def started(hosted: HostedNode) -> None:
            now_ms = self._loop.now_ms
            boot = Boot(self._began_ms + now_ms, self._instants.interval_ms, number)
            if self._sleepy:
                boot.batch_rows = setting(self._scenario, "sleep_rows")
            if stimulus is not None or self._sleepy:
                boot.heard = Heard(stimulus, now_ms)
            self._truth.watch(hosted, boot)

        return started

    def _wiring(
        self, board: dict[str, Any], stimulus: PlaceStimulus, number: int
    ) -> Callable[[], Buses]:
        seed = self._seed * 1000 + number
        return lambda: Wiring(board, stimulus, seed, lambda: self._loop.now_ms)
