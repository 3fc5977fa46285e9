"""The drivers do on MicroPython exactly what they do on CPython: same bus calls, same values."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.devices.base import Steady
from simulator.devices.bench import Bench

SCRIPT = Path(__file__).resolve().parents[2] / "device" / "sensor_transcript.py"
STREET = {
    "pm1": 6.1,
    "pm2_5": 9.4,
    "pm4": 11.0,
    "pm10": 21.7,
    "temperature": -3.21,
    "humidity": 87.6,
    "pressure": 98_765.4,
    "co2": 654.0,
    "latitude": -33.92487,
    "longitude": 18.42406,
    "altitude": 12.3,
    "voc_raw": 29_500.0,
    "nox_raw": 15_900.0,
}
DRIVERS = [
    "bme280",
    "bmp280",
    "ds3231",
    "neo6m",
    "pms5003",
    "scd41",
    "sds011",
    "sgp41",
    "sht31",
    "sht41",
    "sps30",
    "sps30_uart",
]

Vm = Callable[..., subprocess.CompletedProcess[str]]


class Recorder:
    """A bus that notes every call and its answer."""

    def __init__(self, bus: Any, events: list[list[Any]]) -> None:
        self._bus = bus
        self._events = events

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            into = "into" in name
            shown = [*arguments[:-1], len(arguments[-1])] if into else list(arguments)
            event = ["bus", name, [a.hex() if hasattr(a, "hex") else a for a in shown]]
            self._events.append(event)
            try:
                answer = getattr(self._bus, name)(*arguments)
            except OSError as fault:
                event += ["error", fault.errno]
                raise
            if into:
                given = arguments[-1] if name != "readinto" else arguments[-1][: answer or 0]
                event += ["bytes", bytes(given).hex()]
            elif isinstance(answer, bytes):
                event += ["bytes", answer.hex()]
            else:
                event += ["value", answer]
            return answer

        return call


class RecordedBench(Bench):
    """A bench whose driver's life is noted as events."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.events: list[list[Any]] = []
        super().__init__(*arguments, **named)
        self._life = self.sensor
        self.sensor = self

    def uart(self, name: str) -> Any:
        return Recorder(super().uart(name), self.events)

    def i2c(self, name: str) -> Any:
        return Recorder(super().i2c(name), self.events)

    def begin(self, now_ms: int) -> None:
        self.events.append(["begin", now_ms])
        self._life.begin(now_ms)

    def poll(self, now_ms: int) -> int:
        self.events.append(["poll", now_ms])
        wait_ms = self._life.poll(now_ms)
        self.events.append(["polled", wait_ms])
        return wait_ms

    def read(self, row: Any) -> None:
        self._life.read(row)
        self.events.append(["read", [[c, v, q] for c, (v, q) in sorted(row.cells.items())]])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_life"], name)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_on_the_vm(driver: str, vm: Vm, tmp_path: Path) -> None:
    bench = RecordedBench(driver, Steady(**STREET), seed=5)
    for fault in ("", "bad_checksum", "silent", ""):
        if fault in bench.device.FAULTS:
            bench.device.break_down(fault, probability=0.5)
        bench.sample(bench.now_ms + 40_000)
        bench.device.mend()
    entry = {"driver": driver, "bus": "uart:x" if hasattr(bench.device, "say") else "i2c:x"}
    script = tmp_path / "transcript.json"
    script.write_text(json.dumps({"entry": entry, "events": bench.events}), encoding="utf-8")
    result = vm(SCRIPT, str(script), heap="8M")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("samples 4")
