"""Updates of a board on the MicroPython VM: .mpy slots, boot.py, chunks, trial, and SIGKILL."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collector.boards.bundles import Bundle, read_bundle, signed_file
from collector.nodes import NodeInfo
from firmware.version import VERSION
from hardware import bundle as technician
from hardware.cross import NOT_COMPILED, ROOT, compile_text, files_for
from simulator import provision
from simulator.collector_host import CollectorHost, CollectorPlan, Registered
from simulator.devices.base import Steady
from simulator.network import Network, SimulatedTransport
from simulator.virtual_loop import VirtualClock, VirtualLoop, run
from simulator.vm_node import SteppedVmNode
from simulator.wiring import Wiring

SCRIPT = Path(__file__).parent.parent / "device" / "updating_board.py"
START_MS = 1_770_000_000_000
NODE = 0x0A0B0C0D
SECRET = bytes(range(32))
UUID = "00010203-0405-4607-8809-0a0b0c0d0e0f"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
NEW = "9.9.9"
BOARD: dict[str, Any] = {
    "board": "test",
    "chip": "esp32",
    "i2c": {"main": {"id": 0, "sda": 21, "scl": 22, "hz": 100_000}},
    "sensors": [{"driver": "bme280", "bus": "i2c:main", "instance": 0, "options": {}}],
}
SETTINGS = {"sample_interval_s": 30, "report_interval_s": 60, "spool_sync_s": 10}
SETTLE_S = 1_500
AIR = Steady(temperature=21.5, humidity=40.0, pressure=101_300.0)

pytestmark = pytest.mark.usefixtures("vm")


@pytest.fixture(scope="module")
def slot(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """This firmware's slot, compiled for the VM."""
    folder = tmp_path_factory.mktemp("slot")
    return {
        source.with_suffix(".mpy").as_posix(): compiled(
            folder, (ROOT / source).read_text(encoding="utf-8")
        )
        for source in files_for(("bme280",))
        if source.as_posix() not in NOT_COMPILED
    }


def compiled(folder: Path, source: str) -> bytes:
    """A module as .mpy."""
    compile_text(source, "module.py", folder / "module.mpy", "x64")
    return (folder / "module.mpy").read_bytes()


@pytest.fixture(scope="module")
def newer(slot: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same as version 9.9.9."""
    source = (ROOT / "firmware/version.py").read_text(encoding="utf-8")
    renamed = re.sub('^VERSION = ".*"$', f'VERSION = "{NEW}"', source, flags=re.MULTILINE)
    assert renamed != source
    version = compiled(tmp_path_factory.mktemp("newer"), renamed)
    return {**slot, "firmware/version.mpy": version}


def signed(slot: dict[str, bytes]) -> Bundle:
    """A slot as `osn-collector update` reads it."""
    made = technician.sign(technician.compose("x64", NEW, slot), NEW, KEY)
    return read_bundle(signed_file(made.content, made.signature))


class Field:
    """One board in the field, and its collector, in virtual time."""

    def __init__(self, loop: VirtualLoop, folder: Path, slot: dict[str, bytes]) -> None:
        self.loop = loop
        self.folder = folder / "board"
        self.flash = self.folder / "flash"
        self.network = Network(loop, Random(1), latency_ms=20)
        clock = VirtualClock(loop, START_MS)
        info = NodeInfo(node=NODE, uuid=UUID, name="test", boot=START_MS // 1000)
        self.host = CollectorHost(
            CollectorPlan(
                folder=folder / "collector",
                clock=clock,
                nodes=[Registered(info, SECRET)],
                make_transports=lambda: [SimulatedTransport(self.network)],
            )
        )
        who = provision.identity_of(NODE, UUID, SECRET, START_MS // 1000)
        provision.into_folder(self.folder, who, BOARD, SETTINGS)
        (self.flash / "board.json").write_text(json.dumps(BOARD))
        (self.flash / "update.pub").write_bytes(PUBLIC)
        for name, content in {**at_root(), **slot_files(slot)}.items():
            target = self.flash / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        self.node = SteppedVmNode(
            loop,
            self.folder,
            BOARD,
            lambda clock: Wiring(BOARD, AIR, 1, clock),
            SECRET[:6],
            script=SCRIPT,
            heap="512K",
            make_link=self._link,
        )
        self.node.on_end = self._killed
        self.host.start()
        self.node.power_on()

    def _killed(self, why: str) -> None:
        self.loop.call_at_ms(self.loop.now_ms + 1_000, self.node.power_on)

    def _link(self) -> Any:
        link = self.network.link(NODE)
        link.on_frame = self.node.wake
        link.start(0)
        return link

    async def roll_out(self, bundle: Bundle) -> None:
        """Begin, once the board was heard, and wait until it is over."""
        await asyncio.sleep(5)
        collector = self.host.collector
        assert collector is not None
        collector.rollouts.begin(bundle, [NODE])
        for _ in range(SETTLE_S // 5):
            await asyncio.sleep(5)
            if self.state.over:
                return

    @property
    def state(self) -> Any:
        assert self.host.collector is not None
        return self.host.collector.rollouts.current

    @property
    def record(self) -> bytes:
        """The board's NVS record of its slots."""
        return bytes.fromhex(json.loads((self.folder / "nvs-osn.json").read_text())["slot"])

    def runs(self) -> str | None:
        """The version of the board's last HELLO."""
        assert self.host.collector is not None
        return self.host.collector.rollouts.versions.get(NODE)

    async def end(self) -> None:
        """Nothing of the board is missing on the ledger; then switch off."""
        await asyncio.sleep(120)
        for boot in self.host.storage.ledger.nodes[NODE].boots.values():
            assert not boot.lost
            assert not boot.conflicts
        self.node.power_off()
        await self.host.stop()


def at_root() -> dict[str, bytes]:
    return {name: (ROOT / "firmware" / name).read_bytes() for name in ("boot.py", "main.py")}


def slot_files(slot: dict[str, bytes]) -> dict[str, bytes]:
    return {f"a/{name}": content for name, content in slot.items()}


def in_field(folder: Path, slot: dict[str, bytes], act: Callable[[Field], Any]) -> Field:
    """Play a scene in virtual time."""

    async def main(loop: VirtualLoop) -> Field:
        field = Field(loop, folder, slot)
        await act(field)
        await field.end()
        return field

    return run(main)


def assert_updated(field: Field, bundle_files: dict[str, bytes]) -> None:
    """The board runs the new build from folder b, which is whole."""
    assert field.record[:2] == b"b\0"
    there = {
        str(path.relative_to(field.flash / "b")): path.read_bytes()
        for path in (field.flash / "b").rglob("*")
        if path.is_file()
    }
    assert there == bundle_files
    assert not (field.flash / "update.bin").exists()


def test_a_good_build_is_fetched_tried_and_kept(
    tmp_path: Path, slot: dict[str, bytes], newer: dict[str, bytes]
) -> None:
    async def act(field: Field) -> None:
        await field.roll_out(signed(newer))
        assert field.state.targets[NODE].state == "good"
        assert field.runs() == NEW
        assert field.node.starts == 2

    assert_updated(in_field(tmp_path, slot, act), newer)


def test_a_build_that_cannot_be_loaded_falls_back(
    tmp_path: Path, slot: dict[str, bytes], newer: dict[str, bytes]
) -> None:
    bad = signed({**newer, "firmware/clock.mpy": compiled(tmp_path, "import nowhere\n")})

    async def act(field: Field) -> None:
        await field.roll_out(bad)
        assert field.state.stopped.endswith(f"tried it and went back to {VERSION}")
        assert field.record == b"a\0\0\0\0"
        assert field.runs() == VERSION
        assert field.node.starts == 1 + 3 * 4  # three trials of three starts, each back again

    in_field(tmp_path, slot, act)


def kill_when(field: Field, seen: Callable[[], bool]) -> threading.Thread:
    """SIGKILL the VM as soon as something is seen on its flash, whatever it is doing then."""

    def watch() -> None:
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s:
            process = field.node.process
            if process is not None and seen():
                process.process.kill()
                return
            time.sleep(0.0005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


POINTS: dict[str, Callable[[Field], bool]] = {
    "half of the pieces": lambda f: size_of(f.flash / "update.bin") > 20_000,
    "first folder": lambda f: (f.flash / "b").exists(),
    "half unpacked": lambda f: (f.flash / "b/firmware/node.mpy").exists(),
    "entry written": lambda f: (f.flash / "b/firmware/application.mpy").exists(),
    "on trial": lambda f: f.record[1:2] == b"b",
    "a start counted": lambda f: f.record[1:3] == b"b\x02",
    "kept": lambda f: f.record[:2] == b"b\0",
}


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@pytest.mark.parametrize("point", POINTS)
def test_a_sigkill_at_any_point_never_bricks(
    tmp_path: Path, slot: dict[str, bytes], newer: dict[str, bytes], point: str
) -> None:
    async def act(field: Field) -> None:
        def seen() -> bool:
            try:
                return POINTS[point](field)
            except (OSError, ValueError, KeyError):
                return False

        killer = kill_when(field, seen)
        await field.roll_out(signed(newer))
        killer.join(10)
        assert not killer.is_alive(), "nothing was killed"
        assert field.state.targets[NODE].state == "good"
        assert field.runs() == NEW
        assert field.node.starts >= 2

    assert_updated(in_field(tmp_path, slot, act), newer)
