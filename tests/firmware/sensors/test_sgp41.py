"""SGP41 driver and the gas index against the model."""

import pytest

from firmware import sensors
from firmware.sensors import sgp41
from firmware.sensors.base import Sensor
from protocol import wire
from protocol.quantity import HUMIDITY, TEMPERATURE
from simulator.devices.base import Steady
from simulator.devices.bench import Bench, Sample

AIR = {"voc_raw": 29_000.0, "nox_raw": 15_500.0}


def flags(got: dict[str, Sample], *names: str) -> set[int]:
    return {got[name].quality for name in names or got}


def test_ticks_of_the_data_sheet() -> None:
    assert sgp41.humidity_ticks(5000) == 0x7FFF
    assert sgp41.temperature_ticks(2500) == 0x6666
    assert sgp41.humidity_ticks(12_000) == 65535
    assert sgp41.temperature_ticks(-9000) == 0


def test_with_indices_it_is_read_every_second() -> None:
    bench = Bench("sgp41", Steady(**AIR))
    got = bench.sample(8_000)
    assert got["voc_raw"].quality == wire.Q_WARMING
    assert got["nox_raw"].quality == wire.Q_MISSING
    got = bench.sample(120_000)
    assert abs(got["voc_raw"].value - 29_000) <= 60
    assert abs(got["nox_raw"].value - 15_500) <= 30
    assert flags(got, "voc_raw", "nox_raw") == {wire.Q_OK}
    assert flags(got, "voc_index", "nox_index") == {wire.Q_WARMING}
    assert bench.answered_after_ms <= 1_100
    assert bench.device.harmed == 0
    assert abs(bench.sensor.voc.age_s - 109) <= 2


def test_indices_are_right_once_they_have_learned() -> None:
    air = Steady(**AIR)
    bench = Bench("sgp41", air)
    got = bench.sample(3_000_000)
    assert got["voc_index"].quality == wire.Q_OK
    assert got["nox_index"].quality == wire.Q_WARMING
    assert 85 <= got["voc_index"].value <= 115
    assert got["nox_index"].value == 1
    air.values["voc_raw"] = 28_000.0
    assert bench.sample(3_060_000)["voc_index"].value > 200


def test_raw_alone_heats_before_the_instant_and_rests_after() -> None:
    bench = Bench("sgp41", Steady(**AIR), options={"indices": False})
    assert bench.sensor.LEAD_MS == 11_000
    for minute in (10, 20, 30):
        got = bench.sample(minute * 60_000)
        assert set(got) == {"voc_raw", "nox_raw"}
        assert flags(got) == {wire.Q_OK}
        assert bench.device._hot_ms is None
    assert bench.device.harmed == 0


def test_it_compensates_for_the_air_around_it() -> None:
    bench = Bench("sgp41", Steady(**AIR))
    climate = Sensor(None, {})
    climate.CHANNELS = ((TEMPERATURE, None), (HUMIDITY, None))
    climate.values = [1000, 8000]
    climate.qualities = bytearray([wire.Q_OK, wire.Q_OK])
    bench.sample(30_000)
    assert bench.device.compensation == (0x7FFF, 0x6666)
    sensors.link([bench.sensor, climate])
    bench.sample(60_000)
    assert bench.device.compensation == (52428, 20596)


def test_a_failed_self_test_is_a_fault() -> None:
    bench = Bench("sgp41", Steady(**AIR), faults=("failed_test",))
    assert flags(bench.sample(60_000), "voc_raw", "nox_raw") == {wire.Q_FAULT}


@pytest.mark.parametrize("fault", ["silent", "bad_checksum"])
def test_what_it_cannot_trust_is_missing_and_comes_back(fault: str) -> None:
    bench = Bench("sgp41", Steady(**AIR))
    bench.sample(60_000)
    bench.device.break_down(fault)
    assert flags(bench.sample(120_000)) == {wire.Q_MISSING}
    assert bench.sensor.bus_errors > 0
    bench.device.mend()
    assert flags(bench.sample(240_000), "voc_raw", "nox_raw") == {wire.Q_OK}


def test_back_off_spares_the_bus() -> None:
    bench = Bench("sgp41", Steady(**AIR), faults=("silent",))
    for second in range(10, 3_600, 10):
        bench.sample(second * 1000)
    assert bench.sensor.bus_errors <= 25


def test_stuck_signals_are_suspect() -> None:
    bench = Bench("sgp41", Steady(**AIR))
    bench.sample(60_000)
    bench.device.break_down("stuck")
    assert flags(bench.sample(120_000), "voc_raw", "nox_raw") == {wire.Q_SUSPECT}
