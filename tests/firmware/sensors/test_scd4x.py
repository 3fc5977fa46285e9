"""SCD40 and SCD41 driver against their models."""

import pytest

from firmware import sensors
from firmware.sensors.base import Sensor
from protocol import wire
from protocol.quantity import PRESSURE
from simulator.devices.base import Steady
from simulator.devices.bench import Bench, Sample

AIR = {"co2": 812.0, "temperature": 23.4, "humidity": 41.0}


def flags(got: dict[str, Sample]) -> set[int]:
    return {sample.quality for sample in got.values()}


def test_a_reading() -> None:
    bench = Bench("scd41", Steady(**AIR))
    assert flags(bench.sample(20_000)) == {wire.Q_WARMING}
    got = bench.sample(60_000)
    assert abs(got["co2"].value - 812) <= 20
    assert abs(got["temperature"].value - 23.4) <= 0.05
    assert abs(got["humidity"].value - 41) <= 0.05
    assert flags(got) == {wire.Q_OK}
    assert bench.answered_after_ms <= 50


def test_between_two_of_its_measurements_a_value_is_stale() -> None:
    bench = Bench("scd41", Steady(**AIR))
    bench.sample(60_000)
    bench.sample(70_000)
    assert flags(bench.sample(71_000)) == {wire.Q_STALE}
    assert flags(bench.sample(77_000)) == {wire.Q_OK}


def test_settings_reach_the_sensor() -> None:
    options = {"self_calibration": False, "altitude_m": 650, "offset_centi": 250}
    bench = Bench("scd41", Steady(**AIR), options=options)
    bench.sample(60_000)
    assert bench.device.settings[0x2416] == 0
    assert bench.device.settings[0x2427] == 650
    assert abs(bench.device.settings[0x241D] * 175 / 65535 - 2.5) < 0.01


def test_a_barometer_compensates_it() -> None:
    bench = Bench("scd41", Steady(**AIR))
    barometer = Sensor(None, {})
    barometer.CHANNELS = ((PRESSURE, None),)
    barometer.values = [95_480]
    barometer.qualities = bytearray([wire.Q_OK])
    sensors.link([bench.sensor, barometer])
    bench.sample(60_000)
    assert bench.device.pressure_hpa == 955
    barometer.qualities[0] = wire.Q_MISSING
    barometer.values = [90_000]
    bench.sample(120_000)
    assert bench.device.pressure_hpa == 955


def test_low_power_measures_every_half_minute() -> None:
    bench = Bench("scd40", Steady(**AIR), options={"mode": "low_power"})
    bench.sample(60_000)
    assert flags(bench.sample(120_000)) == {wire.Q_OK}
    assert flags(bench.sample(121_000)) == {wire.Q_STALE}


def test_single_shot() -> None:
    bench = Bench("scd41", Steady(**AIR), options={"mode": "single_shot"})
    assert bench.sensor.LEAD_MS >= 5000
    for minute in (5, 10):
        got = bench.sample(minute * 60_000)
        assert flags(got) == {wire.Q_OK}
        assert abs(got["co2"].value - 812) <= 20
        assert abs(bench.answered_after_ms) <= 200


def test_an_scd40_has_no_single_shot() -> None:
    with pytest.raises(ValueError, match="scd41"):
        Bench("scd40", Steady(**AIR), options={"mode": "single_shot"})


def test_ranges() -> None:
    air = Steady(**{**AIR, "co2": 3000.0})
    older, newer = Bench("scd40", air), Bench("scd41", air)
    older.sample(60_000)
    newer.sample(60_000)
    assert older.sample(120_000)["co2"].quality == wire.Q_ABOVE
    assert newer.sample(120_000)["co2"].quality == wire.Q_OK
    air.values["co2"] = 250.0
    assert newer.sample(180_000)["co2"].quality == wire.Q_BELOW


def test_zero_is_no_concentration() -> None:
    bench = Bench("scd41", Steady(**AIR), faults=("zero",))
    bench.sample(60_000)
    got = bench.sample(120_000)
    assert got["co2"].quality == wire.Q_MISSING
    assert got["temperature"].quality == wire.Q_OK


def test_a_sensor_that_lost_power_is_started_again() -> None:
    bench = Bench("scd41", Steady(**AIR))
    bench.sample(60_000)
    bench.sample(120_000)
    bench.device.power_cycle(121_000)
    seen = [flags(bench.sample(minute * 60_000)) for minute in range(3, 7)]
    assert seen[0] == {wire.Q_MISSING}
    assert seen[-1] == {wire.Q_OK}


@pytest.mark.parametrize("fault", ["silent", "bad_checksum"])
def test_what_it_cannot_trust_is_missing_and_comes_back(fault: str) -> None:
    bench = Bench("scd41", Steady(**AIR), faults=(fault,))
    assert flags(bench.sample(60_000)) == {wire.Q_MISSING}
    bench.device.mend()
    assert flags(bench.sample(120_000)) <= {wire.Q_MISSING, wire.Q_WARMING}
    assert flags(bench.sample(600_000)) <= {wire.Q_OK, wire.Q_WARMING}
    assert flags(bench.sample(660_000)) == {wire.Q_OK}


def test_recalibration() -> None:
    bench = Bench("scd41", Steady(**AIR))
    bench.sample(60_000)
    bench.sensor.recalibrate(420)
    bench.advance(80_000)
    assert bench.sensor.recalibrated() == 420 - 812
    bench.sample(120_000)
    assert abs(bench.sample(180_000)["co2"].value - 420) <= 20


def test_stuck_values_are_suspect() -> None:
    bench = Bench("scd41", Steady(**AIR))
    for minute in range(1, 40):
        bench.sample(minute * 60_000)
    assert flags(bench.sample(2_400_000)) == {wire.Q_OK}
    bench.device.break_down("stuck")
    seen = [flags(bench.sample(minute * 60_000)) for minute in range(41, 75)]
    assert seen[-1] == {wire.Q_SUSPECT}
