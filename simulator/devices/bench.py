"""One driver against one device model in virtual time, as on a bench."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firmware import sensors
from firmware.sensors.base import Sensor
from protocol import quantity
from protocol.registry import REGISTRY
from simulator.devices import I2cDevice, Stimulus, UartDevice, build
from simulator.devices.bus import SimulatedI2c, SimulatedUart

IDLE_STEP_MS = 1000
STEP_MIN_MS = 1


@dataclass(frozen=True)
class Sample:
    """What a driver gave for one channel: the integer of the wire, in its unit, and quality."""

    raw: int
    value: float
    quality: int


class _Row:
    def __init__(self) -> None:
        self.cells: dict[int, tuple[int, int]] = {}

    def put(self, channel: int, value: int, quality: int = 0) -> None:
        self.cells[channel] = (value, quality)


class _Pin:
    """An output pin; a sensor that has a SET pin is taken to hang on it."""

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench

    def value(self, level: int) -> None:
        handler = getattr(self._bench.device, "set_pin", None)
        if handler is not None:
            handler(level, self._bench.now_ms)


class Bench:
    """hal, clock and node in one: builds driver and model by name and samples when told.

    samples() maps a registry name to what the driver gave; its time never runs backwards.
    """

    def __init__(
        self,
        driver: str,
        stimulus: Stimulus,
        options: Mapping[str, Any] | None = None,
        seed: int = 1,
        start_ms: int = 0,
        faults: tuple[str, ...] = (),
    ) -> None:
        self.now_ms = start_ms
        entry = {"driver": driver, "instance": 0, "options": dict(options or {})}
        self.device = build(entry, stimulus, random.Random(seed), start_ms)
        self.device.break_down(*faults)
        entry["bus"] = "uart:x" if isinstance(self.device, UartDevice) else "i2c:x"
        self.sensor: Sensor = sensors.from_board(entry, self, start_ms)
        self._next_poll_ms = start_ms
        self.answered_after_ms = 0

    def uart(self, name: str) -> SimulatedUart:
        device = self.device
        return SimulatedUart(device if isinstance(device, UartDevice) else None, self.clock)

    def i2c(self, name: str) -> SimulatedI2c:
        device = self.device
        return SimulatedI2c([device] if isinstance(device, I2cDevice) else [], self.clock)

    def pin(self, number: int) -> _Pin:
        return _Pin(self)

    def clock(self) -> int:
        return self.now_ms

    def advance(self, to_ms: int) -> None:
        """Let time pass and the driver work until to_ms."""
        while self.now_ms < to_ms:
            self._poll()
            self.now_ms = min(max(self._next_poll_ms, self.now_ms + STEP_MIN_MS), to_ms)

    def _poll(self) -> None:
        wait_ms = self.sensor.poll(self.now_ms)
        self._next_poll_ms = self.now_ms + (IDLE_STEP_MS if wait_ms < 0 else wait_ms)

    def sample(self, at_ms: int, patience_ms: int = 60_000) -> dict[str, Sample]:
        """What the driver gives for the instant at_ms; fails when it is never ready."""
        sensor = self.sensor
        self.advance(at_ms - sensor.LEAD_MS)
        sensor.begin(self.now_ms)
        while not sensor.ready:
            self._poll()
            if sensor.ready:
                break
            if self.now_ms > at_ms + patience_ms:
                raise AssertionError(f"the driver is not ready {patience_ms} ms after the instant")
            self.now_ms = max(self._next_poll_ms, self.now_ms + STEP_MIN_MS)
        self.answered_after_ms = self.now_ms - at_ms
        row = _Row()
        sensor.read(row)
        return dict(self._named(row))

    def _named(self, row: _Row) -> "list[tuple[str, Sample]]":
        named = []
        for index, (number, exponent) in enumerate(self.sensor.CHANNELS):
            raw, quality = row.cells[index]
            power = quantity.exponent(number) if exponent is None else exponent
            value = REGISTRY[number].value(raw, power)
            named.append((REGISTRY[number].name, Sample(raw, value, quality)))
        return named
