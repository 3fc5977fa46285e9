"""What all drivers share: deadlines, back-off, quality, and the table of names."""

import random
from itertools import pairwise
from pathlib import Path

import pytest

from firmware import sensors
from firmware.sensors.base import RETRY_FIRST_MS, RETRY_LAST_MS, Sensor, first_flag, range_quality
from firmware.sensors.common import Input
from protocol import wire
from protocol.registry import REGISTRY, SENSOR_MODELS
from simulator import devices
from simulator.devices.base import Steady
from simulator.devices.bench import Bench
from simulator.devices.bus import SimulatedUart
from simulator.devices.sds011 import Sds011

AIR = Steady(
    pm1=6.0, pm2_5=9.0, pm4=11.0, pm10=14.0, temperature=21.0, humidity=45.0, pressure=101_325.0,
    co2=700.0, latitude=52.0, longitude=5.0, altitude=3.0,
)  # fmt: skip
MODELS = [
    name
    for name in devices.names()
    if issubclass(devices.model(name), devices.UartDevice | devices.I2cDevice)
]
FAULTS = [(name, fault) for name in MODELS for fault in sorted(devices.model(name).FAULTS)]


class Broken(Sensor):
    """Fails as often as it is told to."""

    CHANNELS = ((16, None),)
    EAGER = False
    tries = 0

    def setup(self):
        self.tries += 1
        yield 1
        if self.bus:
            raise OSError(5, "broken")


def test_flags() -> None:
    assert range_quality(5, 0, 10) == wire.Q_OK
    assert range_quality(-1, 0, 10) == wire.Q_BELOW
    assert range_quality(11, 0, 10) == wire.Q_ABOVE
    assert first_flag(wire.Q_OK, wire.Q_STALE) == wire.Q_STALE
    assert first_flag(wire.Q_FAULT, wire.Q_STALE) == wire.Q_FAULT


def test_back_off_doubles_to_five_minutes() -> None:
    sensor = Broken(True, {})
    starts = []
    now_ms = 0
    while now_ms < 7_200_000:
        before = sensor.tries
        wait_ms = sensor.poll(now_ms)
        if sensor.tries > before:
            starts.append(now_ms)
        assert wait_ms > 0
        now_ms += wait_ms
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert RETRY_FIRST_MS <= waits[0] <= RETRY_FIRST_MS + 20
    assert round(waits[3] / waits[2]) == 2
    assert RETRY_LAST_MS <= waits[-1] <= RETRY_LAST_MS + 20
    assert len(starts) <= 35


def test_in_back_off_a_reading_is_missing_at_once_and_then_recovers() -> None:
    sensor = Broken(True, {})
    for now_ms in range(0, 60_000, 10):
        sensor.poll(now_ms)
    sensor.begin(60_000)
    assert sensor.ready
    assert sensor.qualities[0] == wire.Q_MISSING
    sensor.bus = False
    for now_ms in range(60_000, 400_000, 100):
        sensor.poll(now_ms)
    assert sensor.configured


def test_every_name_has_a_module_a_model_and_a_number() -> None:
    for name in sensors.names():
        module = sensors.load(name)
        assert callable(module.from_board)
    with pytest.raises(ValueError, match="there are: sds011, pms5003"):
        sensors.module_name("sds012")
    microphones = {"inmp441", "ics43434"}
    assert set(MODELS) | microphones == set(sensors.names()) | microphones


@pytest.mark.parametrize("name", MODELS)
def test_the_number_in_descriptors_is_the_registrys(name: str) -> None:
    number = Bench(name, AIR).sensor.MODEL
    assert SENSOR_MODELS[number].rstrip("0123456789x") == name.split("_")[0].rstrip("0123456789x")


@pytest.mark.parametrize("name", MODELS)
def test_channels_are_the_registrys_and_unique(name: str) -> None:
    channels = Bench(name, AIR).sensor.CHANNELS
    numbers = [number for number, _ in channels]
    assert set(numbers) <= set(REGISTRY)
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_no_fault_stops_a_driver_or_holds_it_up(name: str, fault: str) -> None:
    bench = Bench(name, AIR, seed=11)
    bench.sample(60_000)
    bench.device.break_down(fault, probability=0.7)
    for minute in range(2, 12):
        got = bench.sample(minute * 60_000)
        assert {sample.quality for sample in got.values()} <= set(range(9))
        assert bench.answered_after_ms <= bench.sensor.ANSWER_MS + 100
    bench.device.mend()
    for minute in range(12, 20):
        got = bench.sample(minute * 60_000)
    assert wire.Q_MISSING not in {sample.quality for sample in got.values()}


@pytest.mark.parametrize("name", MODELS)
def test_a_driver_survives_noise_on_its_bus(name: str) -> None:
    bench = Bench(name, AIR, seed=2)
    randomness = random.Random(name)
    device = bench.device
    speaks = device.transmit if hasattr(device, "say") else device.read

    def garbled(*arguments):
        data = bytearray(speaks(*arguments))
        for _ in range(len(data) // 8 + 1):
            if data and randomness.random() < 0.5:
                data[randomness.randrange(len(data))] = randomness.randrange(256)
        return bytes(data)

    if hasattr(device, "say"):
        device.transmit = garbled
    else:
        device.read = garbled
    for minute in range(1, 15):
        bench.sample(minute * 60_000)


def test_input_keeps_to_its_size() -> None:
    uart = SimulatedUart(Sds011(AIR, random.Random(1)), lambda: 10_000)
    received = Input(uart, 16)
    received.receive()
    assert received.count == 16
    received.receive()
    assert received.count == 16
    received.seek(0x00)
    assert received.count == 0 or received.data[0] == 0
    received.clear()
    assert received.count == 0
    assert uart.any() == 0


def test_no_driver_module_is_large() -> None:
    folder = Path(sensors.__file__).parent
    assert all(len(path.read_text().splitlines()) < 320 for path in folder.glob("*.py"))
