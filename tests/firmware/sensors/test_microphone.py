"""ICS-43434 and INMP441 by name, from a board's file to levels."""

import random
from typing import Any, ClassVar

import pytest

from firmware import sensors
from firmware.noise.meter import Meter
from simulator.devices import build
from simulator.devices.base import Steady
from simulator.devices.microphone import Ics43434, Inmp441, Microphone, SimulatedI2s


class Hal:
    """A board with one I2S port."""

    board: ClassVar = {"i2s": {"mic": {"id": 0, "sck": 26, "ws": 25, "sd": 33}}}

    def __init__(self, driver: str) -> None:
        self.now_ms = 0
        entry = {"driver": driver, "bus": "i2s:mic"}
        self.device = build(entry, Steady(laeq=55.0), random.Random(2))

    def i2s(self, spec: dict[str, int]) -> SimulatedI2s:
        assert isinstance(self.device, Microphone)
        return SimulatedI2s(self.device, lambda: self.now_ms)


@pytest.mark.parametrize(("driver", "kind"), [("ics43434", Ics43434), ("inmp441", Inmp441)])
def test_the_named_microphone_reads_the_level_in_the_air(
    driver: str, kind: type[Microphone]
) -> None:
    hal: Any = Hal(driver)
    assert isinstance(hal.device, kind)
    meter = sensors.from_board({"driver": driver, "bus": "i2s:mic"}, hal)
    assert isinstance(meter, Meter)
    given: dict[int, tuple[int, int]] = {}

    class Row:
        def put(self, channel: int, value: int, quality: int = 0) -> None:
            given[channel] = (value, quality)

    for end_ms in (3000, 4000):
        while hal.now_ms < end_ms:
            hal.now_ms += 20
            meter.poll(hal.now_ms)
        meter.begin(hal.now_ms)
        while not meter.ready:
            hal.now_ms += 20
            meter.poll(hal.now_ms)
        meter.read(Row())
    assert given[0] == (pytest.approx(550, abs=2), 0)
    assert given[8] == (1000, 0)
