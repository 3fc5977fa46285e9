"""The three boards of the demonstration, as VMs or, where there is none, under CPython."""

import json
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from uuid import UUID

from firmware.node import Node
from firmware.sampling import Grid
from firmware.settings import Settings
from hardware import boardfile
from simulator import provision, vm
from simulator.files import FolderFiles
from simulator.hosted import HostedNode
from simulator.hosted_board import HostedBoard
from simulator.hosted_hal import HostedHal
from simulator.mqtt_link import MqttLink
from simulator.timers import RealTime
from simulator.vm_node import RealTimeVmNode
from simulator.wiring import Wiring
from simulator.world import Place, PlaceStimulus, Route, World

DEMO_BOARD = vm.SHIMS / "demo_board.py"
HEAP = "2M"
SSID = "street"
NEVER_MS = 1 << 46


@dataclass(frozen=True)
class Spec:
    """One board: its file in hardware/boards, its name and where it is."""

    board: str
    name: str
    place: Place


SPECS = (
    Spec("street", "Main street", Place(52.3702, 4.8952, 2.0, street_m=6.0)),
    Spec("classic", "School lane", Place(52.3731, 4.8922, 9.0, street_m=45.0, school=True)),
    Spec(
        "mobile",
        "Cargo bike",
        Place(
            altitude_m=1.0,
            street_m=15.0,
            route=Route(((52.3680, 4.8900), (52.3725, 4.8990), (52.3760, 4.9080)), 4.5),
        ),
    ),
)

SETTINGS: dict[str, int | str] = {
    "sample_interval_s": 1,
    "report_interval_s": 3,
    "batch_rows": 10,
    "spool_sync_s": 1,
    "live_interval_s": 10,
    "transport": "mqtt",
    "broker_host": "127.0.0.1",
    "wifi_ssid": SSID,
}


class DemoBoard(Protocol):
    """What the demonstration does with a board."""

    spec: Spec
    address: int
    folder: Path
    problems: list[str]

    def power_on(self) -> None:
        """Give power."""

    def power_off(self) -> None:
        """Cut the power."""

    @property
    def powered(self) -> bool:
        """Whether the firmware runs."""

    def set_wifi(self, on: bool) -> None:
        """Switch the access point on or off for this board."""

    def quiet(self) -> None:
        """Let it measure no more, but report and send what it has."""


@dataclass(frozen=True)
class Identity:
    """Who a demonstration board is: the same in every run of a seed."""

    address: int
    uuid: str
    key: bytes
    boot: int

    @classmethod
    def of(cls, seed: int, spec: Spec) -> "Identity":
        secret = sha256(f"demo {seed} {spec.board}".encode()).digest()
        return cls(
            int.from_bytes(secret[:4], "big") or 1,
            str(UUID(bytes=secret[8:24], version=4)),
            sha256(b"key" + secret).digest(),
            int(time.time()),
        )

    def record(self, spec: Spec) -> str:
        """The line that provisioning hands to the collector."""
        place = spec.place
        site = {
            "latitude": place.latitude,
            "longitude": place.longitude,
            "elevation_m": place.altitude_m,
        }
        return json.dumps(
            {
                "node": f"{self.address:08x}",
                "uuid": self.uuid,
                "key": self.key.hex(),
                "name": spec.name,
                "board": spec.board,
                "boot": self.boot,
                "mobile": place.route is not None,
                **({} if place.route else {"site": site}),
            }
        )


class _Common:
    """What boards of both kinds share."""

    def __init__(self, spec: Spec, identity: Identity, folder: Path, seed: int) -> None:
        self.spec = spec
        self.address = identity.address
        self.folder = folder
        self.problems: list[str] = []
        self.identity = identity
        self.seed = seed
        self.board = boardfile.load(spec.board).board_json()
        self.world = World(seed)

    def stimulus(self) -> PlaceStimulus:
        """What its sensors find from now on."""
        return PlaceStimulus(self.world, self.spec.place, int(time.time() * 1000))

    def provision(self, port: int, host: str = "127.0.0.1") -> None:
        """Fill its folder."""
        who = self.identity
        provision.into_folder(
            self.folder,
            provision.identity_of(who.address, who.uuid, who.key, who.boot),
            self.board,
            {**SETTINGS, "broker_host": host, "broker_port": port},
        )


class VmBoard(_Common):
    """A board on the MicroPython VM."""

    def __init__(
        self,
        spec: Spec,
        identity: Identity,
        folder: Path,
        seed: int,
        port: int,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(spec, identity, folder, seed)
        self.provision(port, host)
        (folder / "flash" / "board.json").write_text(json.dumps(self.board), encoding="utf-8")
        self._wifi_on = True
        self._node = RealTimeVmNode(
            folder,
            self.board,
            lambda clock: Wiring(self.board, self.stimulus(), seed, clock),
            identity.key[:6],
            script=DEMO_BOARD,
            heap=HEAP,
        )
        self._node.on_end = self.problems.append
        self._node.on_start = self._started

    @property
    def powered(self) -> bool:
        return self._node.powered

    def power_on(self) -> None:
        self._node.power_on()

    def power_off(self) -> None:
        self._node.power_off()

    def set_wifi(self, on: bool) -> None:
        self._wifi_on = on
        self._started()

    def quiet(self) -> None:
        (self.folder / "quiet").touch()

    def _started(self) -> None:
        if self._node.chip is not None:
            self._node.chip.wifi_on = self._wifi_on


class HostedDemoBoard(_Common):
    """The same firmware under CPython, for platforms without a MicroPython VM."""

    def __init__(self, spec: Spec, identity: Identity, folder: Path, seed: int, port: int) -> None:
        super().__init__(spec, identity, folder, seed)
        self.provision(port)
        self._quiet = False
        self._links: list[MqttLink] = []
        self._port = port
        self._wifi_on = True
        self._time = RealTime()
        who = provision.identity_of(identity.address, identity.uuid, identity.key, identity.boot)
        hosted = HostedBoard(
            self.board,
            FolderFiles(folder / "flash"),
            provision.into_memory(who),
            identity.key[:6],
        )
        self._node = HostedNode(
            self._time, self, identity.address, hosted, self._buses, self._make, seed
        )

    @property
    def powered(self) -> bool:
        return self._node.powered

    def link(self, node: int) -> MqttLink:
        """A connection to the broker; see simulator.hosted.Links."""
        link = MqttLink("127.0.0.1", self._port, node)
        self._links = [link]
        link.blocked = not self._wifi_on
        return link

    def power_on(self) -> None:
        self._node.power_on()

    def power_off(self) -> None:
        self._node.power_off()
        for link in self._links:
            link.close()

    def set_wifi(self, on: bool) -> None:
        self._wifi_on = on
        for link in self._links:
            link.block(not on)

    def quiet(self) -> None:
        self._quiet = True

    def next_ms(self, after_uptime_ms: int) -> int:
        """Sampling instants; see firmware.types.Schedule."""
        interval_ms = int(SETTINGS["sample_interval_s"]) * 1000
        return NEVER_MS if self._quiet else Grid(interval_ms).next_ms(after_uptime_ms)

    def _buses(self) -> Wiring:
        start_ms = self._time.now_ms
        return Wiring(self.board, self.stimulus(), self.seed, lambda: self._time.now_ms - start_ms)

    def _make(self, hal: HostedHal) -> Node:
        settings = Settings(hal.files)
        settings.load()
        return Node(hal, self.board, settings, self)


def make_boards(folder: Path, seed: int, port: int, hosted: bool) -> list[DemoBoard]:
    """The boards of the demonstration, without power yet."""
    kind: type[VmBoard] | type[HostedDemoBoard] = HostedDemoBoard if hosted else VmBoard
    boards: list[DemoBoard] = []
    for spec in SPECS:
        identity = Identity.of(seed, spec)
        boards.append(kind(spec, identity, folder / spec.board, seed, port))
    return boards


def records(seed: int) -> str:
    """What provisioning hands to the collector, a JSON line for each board."""
    return "".join(Identity.of(seed, spec).record(spec) + "\n" for spec in SPECS)
