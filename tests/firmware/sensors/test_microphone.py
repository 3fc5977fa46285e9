"""The microphones as sensors of a board: what their page says of faults holds."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from firmware import sensors
from protocol import wire
from protocol.registry import REGISTRY
from simulator import devices
from simulator.devices.base import Steady
from simulator.devices.microphone import SimulatedI2s

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sensors" / "microphone.md"
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
FAULTS = sorted(devices.model("ics43434").FAULTS)


class Hal:
    """A board with one microphone, in virtual time."""

    def __init__(self, driver: str, fault: str) -> None:
        self.board = {"i2s": {"mic": {"id": 0, "sck": 26, "ws": 25, "sd": 33}}}
        self.now_ms = 0
        air = Steady(laeq=65.0)
        self.device: Any = devices.build({"driver": driver}, air, random.Random(1))
        if fault:
            self.device.break_down(fault)

    def i2s(self, spec: dict[str, int]) -> SimulatedI2s:
        return SimulatedI2s(self.device, lambda: self.now_ms)


class Row:
    """Cells by channel."""

    def __init__(self) -> None:
        self.cells: dict[int, tuple[int, int]] = {}

    def put(self, channel: int, value: int, quality: int = 0) -> None:
        self.cells[channel] = (value, quality)


def second_period(driver: str, fault: str = "") -> dict[str, tuple[int, int]]:
    """What the second period of four seconds gives, by name."""
    hal = Hal(driver, fault)
    entry = {"driver": driver, "bus": "i2s:mic", "options": {}}
    meter: Any = sensors.from_board(entry, hal)
    row = Row()
    for end_ms in (4_000, 8_000):
        while hal.now_ms < end_ms:
            hal.now_ms += max(1, meter.poll(hal.now_ms))
        meter.begin(hal.now_ms)
        while not meter.ready:
            hal.now_ms += 10
            meter.poll(hal.now_ms)
        meter.read(row)
    names = [REGISTRY[channel[0]].name for channel in meter.CHANNELS]
    return {names[index]: cell for index, cell in row.cells.items()}


@pytest.mark.parametrize("driver", ["ics43434", "inmp441"])
def test_a_level(driver: str) -> None:
    got = second_period(driver)
    level, quality = got["laeq"]
    assert abs(level - 650) <= 10
    assert quality == wire.Q_OK
    assert got["valid_time"][0] >= 3_900


def test_the_page_names_every_fault() -> None:
    assert {fault for fault, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))} == set(FAULTS)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "clipped"])
def test_a_fault_ends_in_the_flag_that_the_page_names(fault: str) -> None:
    says = dict(ROW.findall(PAGE.read_text(encoding="utf-8")))[fault]
    assert says == "fault"
    assert second_period("ics43434", fault)["laeq"][1] == wire.Q_FAULT
