"""One firmware, three depths: the VM in real time and in stepped time, and hosted by CPython."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from firmware.identity import Identity
from firmware.node import Node
from firmware.settings import Settings
from hardware import boardfile
from protocol import quantity, wire
from protocol.decoder import decode
from protocol.reading import readings
from simulator import provision
from simulator.devices.base import Steady
from simulator.devices.microphone import Microphone, Samples
from simulator.faults.filesystem import MemoryFiles
from simulator.hosted import HostedNode
from simulator.hosted_board import HostedBoard
from simulator.hosted_hal import HostedHal
from simulator.virtual_loop import VirtualLoop, run
from simulator.vm import SHIMS
from simulator.vm_node import RealTimeVmNode, SteppedVmNode
from simulator.wiring import Wiring
from simulator.world import Place, PlaceStimulus, Route, World

SCRIPT = SHIMS / "stepped_board.py"
HEAP = "2M"
SEED = 5
ADDRESS = 0x0A0B0C0D
UUID = "00010203-0405-4607-8809-0a0b0c0d0e0f"
KEY = bytes(range(32))
BEGAN_S = 1_770_000_000
BOARDS = boardfile.names()
SETTINGS: dict[str, int | str] = {
    "sample_interval_s": 10, "report_interval_s": 60, "batch_rows": 3, "spool_sync_s": 5,
}  # fmt: skip
INSTANTS_MS = (7_000, 10_000)
REAL_TIME_MAX_S = 600
AIR = Steady(
    pm1=6.0, pm2_5=9.0, pm4=11.0, pm10=21.0, temperature=12.5, humidity=61.0, pressure=99_630.0,
    co2=654.0, voc_raw=29_500.0, nox_raw=15_900.0, voc_index=100.0, nox_index=1.0,
    latitude=52.37, longitude=4.89, altitude=2.0, unix_ms=BEGAN_S * 1000.0,
)  # fmt: skip
SOUND = {
    quantity.LAEQ, quantity.LAFMAX, quantity.LAFMIN, quantity.LA10, quantity.LA50, quantity.LA90,
    quantity.LCEQ, quantity.LCPEAK, quantity.VALID_TIME,
}  # fmt: skip
BIKE = Route(((52.3680, 4.8900), (52.3725, 4.8990)), 4.5)

Frames = dict[tuple[int, int], bytes]
"""By boot and seq."""


class Recorder:
    """A link that notes every frame and answers none; for all depths. enough: after the second."""

    POLL_MS = 1_000
    secure = True
    reason = ""

    def __init__(self, frames: Frames, enough: asyncio.Event | None = None) -> None:
        self.connected = False
        self.frames = frames
        self.enough = enough

    def start(self, now_ms: int) -> None:
        self.connected = True

    def poll(self, now_ms: int) -> None:
        self.connected = True

    def send(self, frame: memoryview | bytes | bytearray) -> bool:
        raw = bytes(frame)
        if raw[1] & 31 in (wire.T_DATA, wire.T_HELLO):
            place = int.from_bytes(raw[8:12], "little"), int.from_bytes(raw[12:16], "little")
            assert self.frames.setdefault(place, raw) == raw
        if self.enough is not None and len(self.frames) >= 2:
            self.enough.set()
        return True

    def receive(self) -> memoryview | None:
        return None

    def close(self) -> None:
        self.connected = False


def board_of(name: str) -> dict[str, Any]:
    return boardfile.load(name).board_json()


def identity() -> Identity:
    return provision.identity_of(ADDRESS, UUID, KEY, BEGAN_S)


def city() -> PlaceStimulus:
    return PlaceStimulus(World(SEED), Place(street_m=6.0, route=BIKE), BEGAN_S * 1000)


def hosted(name: str, seconds: float) -> Frames:
    frames: Frames = {}
    board = board_of(name)

    async def main(loop: VirtualLoop) -> None:
        def make(hal: HostedHal) -> Node:
            settings = Settings(hal.files)
            for key, value in SETTINGS.items():
                settings.set(key, value)
            return Node(hal, board, settings)

        class Links:
            def link(self, node: int) -> Recorder:
                return Recorder(frames)

        hardware = HostedBoard(board, MemoryFiles(), provision.into_memory(identity()), KEY[:6])
        hardware.sampled_sound = True
        node = HostedNode(
            loop, Links(), ADDRESS, hardware,
            lambda: Wiring(board, city(), SEED, lambda: loop.now_ms), make, SEED,
        )  # fmt: skip
        node.power_on()
        await asyncio.sleep(seconds)
        assert node.crashes == []

    run(main)
    return frames


def stepped(name: str, seconds: float, folder: Path) -> Frames:
    frames: Frames = {}
    board = board_of(name)
    provision.into_folder(folder, identity(), board, SETTINGS)
    ends: list[str] = []

    async def main(loop: VirtualLoop) -> None:
        node = SteppedVmNode(
            loop, folder, board, lambda clock: Wiring(board, city(), SEED, clock), KEY[:6],
            script=SCRIPT, heap=HEAP, make_link=lambda: Recorder(frames), seed=SEED,
        )  # fmt: skip
        node.on_end = ends.append
        node.power_on()
        await asyncio.sleep(seconds)
        node.power_off()

    run(main)
    assert ends == []
    return frames


class Even(Random):
    """Chance without chance: what is drawn does not depend on how often."""

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return mu

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2

    def randint(self, a: int, b: int) -> int:
        return (a + b) // 2


class Tone:
    """1 kHz, the same in every 10 ms."""

    def samples(self, first: int, count: int) -> Samples:
        result: Samples = 0.05 * np.sin((first + np.arange(count)) % 48 * (2 * np.pi / 48))
        return result


def steady_wiring(board: dict[str, Any], clock: Callable[[], int]) -> Wiring:
    wiring = Wiring(board, AIR, SEED, clock)
    for device in wiring.devices:
        device.random = Even()
        if isinstance(device, Microphone):
            device.play(Tone())
    return wiring


def install(name: str, folder: Path) -> dict[str, Any]:
    board = board_of(name)
    settings = {**SETTINGS, "batch_rows": len(INSTANTS_MS)}
    provision.into_folder(folder, identity(), board, settings, INSTANTS_MS)
    return board


def steady_in_steps(name: str, folder: Path) -> Frames:
    frames: Frames = {}
    board = install(name, folder)

    async def main(loop: VirtualLoop) -> None:
        node = SteppedVmNode(
            loop, folder, board, lambda clock: steady_wiring(board, clock), KEY[:6],
            script=SCRIPT, heap=HEAP, make_link=lambda: Recorder(frames), seed=SEED,
        )  # fmt: skip
        node.power_on()
        await asyncio.sleep(INSTANTS_MS[-1] / 1000 + 10)
        node.power_off()

    run(main)
    return frames


async def steady_in_real_time(folder: Path) -> dict[str, Frames]:
    """All boards at once, each until its frame with all rows has come."""
    found: dict[str, Frames] = {name: {} for name in BOARDS}
    enough = {name: asyncio.Event() for name in BOARDS}
    ends: list[str] = []

    def power(name: str) -> RealTimeVmNode:
        board = install(name, folder / name)
        node = RealTimeVmNode(
            folder / name, board, lambda clock: steady_wiring(board, clock), KEY[:6],
            script=SCRIPT, heap=HEAP, seed=SEED,
            make_link=lambda: Recorder(found[name], enough[name]),
        )  # fmt: skip
        node.on_end = ends.append
        node.power_on()
        return node

    nodes = [power(name) for name in BOARDS]
    try:
        async with asyncio.timeout(REAL_TIME_MAX_S):
            for event in enough.values():
                await event.wait()
    finally:
        for node in nodes:
            node.power_off()
    assert ends == []
    return found


Said = dict[tuple[int, int, int], tuple[int, int]]
"""Raw value (0 for a missing one) and quality by time, quantity and instance."""


def said(frames: Frames) -> Said:
    data = [decode(raw) for raw in frames.values() if raw[1] & 31 == wire.T_DATA]
    return {
        (r.uptime_ms, r.quantity, r.instance): (r.raw or 0, r.quality)
        for frame in data
        for r in readings(frame)
    }


def judge_sound(real: Said, virtual: Said) -> None:
    """A mean level is the same wherever the meter had the time to hear its period."""
    for at_ms, before_ms in zip(INSTANTS_MS[1:], INSTANTS_MS, strict=False):
        heard_ms = real[at_ms, quantity.VALID_TIME, 0][0]
        if heard_ms >= 0.9 * (at_ms - before_ms):
            level = (at_ms, quantity.LAEQ, 0)
            assert abs(real[level][0] - virtual[level][0]) <= 1
            assert real[level][1] == virtual[level][1]


def judge_values(real: Said, virtual: Said) -> None:
    """Nearly all are of the same quality, and those are the same but for what drifts in a moment.

    How long a step takes in real time is the machine's; a gas sensor that warms up moves meanwhile.
    """
    same = [key for key in real if real[key][1] == virtual[key][1]]
    assert len(same) >= 0.9 * len(real), [key for key in real if key not in same]
    for key in same:
        value, expected = real[key][0], virtual[key][0]
        assert abs(value - expected) <= max(2, abs(expected) // 500), (key, value, expected)


@pytest.mark.usefixtures("vm")
async def test_every_board_says_the_same_in_real_time_and_in_steps(tmp_path: Path) -> None:
    real = await steady_in_real_time(tmp_path / "real")
    for name in BOARDS:
        virtual = await asyncio.to_thread(steady_in_steps, name, tmp_path / name)
        assert real[name].keys() == virtual.keys()
        told, expected = said(real[name]), said(virtual)
        assert told.keys() == expected.keys()
        if (INSTANTS_MS[0], quantity.LAEQ, 0) in told:
            judge_sound(told, expected)
        judge_values({key: value for key, value in told.items() if key[1] not in SOUND}, expected)


@pytest.mark.usefixtures("vm")
@pytest.mark.parametrize("name", BOARDS)
def test_every_board_builds_the_same_frames_stepped_on_the_vm_and_hosted(
    name: str, tmp_path: Path
) -> None:
    seconds = 65
    on_vm, in_python = stepped(name, seconds, tmp_path), hosted(name, seconds)
    assert len(on_vm) == 3
    assert on_vm == in_python
