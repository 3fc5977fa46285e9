"""BME280 and BMP280 driver against the register model."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware.sensors import bme280
from protocol import wire
from simulator.devices.base import Steady
from simulator.devices.bench import Bench

AIR = {"temperature": -2.76, "humidity": 88.13, "pressure": 99630.02}
EXAMPLE = [27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000]


def test_the_data_sheets_example() -> None:
    fine = bme280.fine_temperature(EXAMPLE, 519888)
    assert fine == 128422
    assert bme280.temperature(fine) == 2508
    assert bme280.pressure(EXAMPLE, 415148, fine) == 100653


def test_words_that_divide_by_zero_give_no_pressure() -> None:
    assert bme280.pressure([*EXAMPLE[:3], 0, *EXAMPLE[4:]], 415148, 128422) is None


def test_calibration_words_of_humidity_share_a_register() -> None:
    words = bme280.calibration(bytes(25) + b"\x4b", bytes.fromhex("6a01001339031e"))
    assert words[12:] == [75, 362, 0, 0x139, 0x33, 30]
    negative = bme280.calibration(bytes(26), bytes.fromhex("000000ffff ff80"))
    assert negative[15:] == [-1, -1, -128]


def test_a_reading() -> None:
    bench = Bench("bme280", Steady(**AIR))
    got = bench.sample(60_000)
    assert got["temperature"].raw == -276
    assert abs(got["humidity"].value - 88.13) <= 0.03
    assert abs(got["pressure"].value - 99630.02) <= 1
    assert {sample.quality for sample in got.values()} == {wire.Q_OK}
    assert bench.answered_after_ms <= 60


centi = st.integers(-4000, 6000).map(lambda raw: raw / 100)
percent = st.integers(0, 10000).map(lambda raw: raw / 100)
pascal = st.integers(3_000_000, 11_000_000).map(lambda raw: raw / 100)


@given(centi, percent, pascal, st.integers(0, 10_000))
@settings(max_examples=400, deadline=None)
@example(-40.0, 100.0, 30000.0, 0)
@example(60.0, 0.0, 110000.0, 1)
def test_every_recorded_value_comes_back(
    temperature: float, humidity: float, pressure: float, seed: int
) -> None:
    air = Steady(temperature=temperature, humidity=humidity, pressure=pressure)
    got = Bench("bme280", air, seed=seed).sample(1000)
    assert abs(got["temperature"].value - temperature) <= 0.01 + 1e-9
    assert abs(got["humidity"].value - humidity) <= 0.03
    assert abs(got["pressure"].value - pressure) <= 1
    assert {sample.quality for sample in got.values()} == {wire.Q_OK}


@pytest.mark.parametrize("seed", range(5))
def test_a_seeded_sweep_of_one_sensor(seed: int) -> None:
    randomness = random.Random(seed)
    air = Steady()
    bench = Bench("bme280", air, seed=seed)
    for instant in range(1, 200):
        air.values = {
            "temperature": round(randomness.uniform(-40, 60), 2),
            "humidity": round(randomness.uniform(0, 100), 2),
            "pressure": round(randomness.uniform(95000, 104000), 2),
        }
        got = bench.sample(instant * 1000)
        for name, largest in (("temperature", 0.01), ("humidity", 0.03), ("pressure", 1.0)):
            wanted = air.values[name]
            assert wanted is not None
            assert abs(got[name].value - wanted) <= largest + 1e-9


@pytest.mark.parametrize("name", ["temperature", "humidity", "pressure"])
def test_one_quantity_alone_may_be_missing(name: str) -> None:
    bench = Bench("bme280", Steady(**{**AIR, name: None}))
    got = bench.sample(60_000)
    for other, sample in got.items():
        if other == name:
            assert sample.quality == wire.Q_MISSING
        else:
            assert sample.quality != wire.Q_MISSING
            assert abs(sample.value - AIR[other]) <= (1 if other == "pressure" else 0.03)


def test_without_its_temperature_the_others_use_the_last_one() -> None:
    air = Steady(**AIR)
    bench = Bench("bme280", air)
    bench.sample(60_000)
    air.values = {**AIR, "temperature": None}
    got = bench.sample(120_000)
    assert got["humidity"].quality == got["pressure"].quality == wire.Q_SUSPECT
    assert abs(got["humidity"].value - 88.13) <= 0.03
    assert abs(got["pressure"].value - 99630.02) <= 1


def test_a_sensor_that_vanishes_is_missing_and_comes_back() -> None:
    air = Steady(**AIR)
    bench = Bench("bme280", air)
    for minute in range(1, 30):
        air.values = {}
        got = bench.sample(minute * 60_000)
        assert {sample.quality for sample in got.values()} == {wire.Q_MISSING}
        assert bench.answered_after_ms <= 300
    air.values = dict(AIR)
    assert bench.sample(30 * 60_000)["temperature"].raw == -276


def test_a_sensor_that_lost_power_is_set_up_again() -> None:
    bench = Bench("bme280", Steady(**AIR))
    bench.sample(60_000)
    bench.device.power_cycle(90_000)
    assert bench.sample(120_000)["humidity"].quality == wire.Q_OK


def test_a_bmp280_sold_as_bme280_has_no_humidity() -> None:
    got = Bench("bme280", Steady(**AIR), faults=("wrong_variant",)).sample(60_000)
    assert got["humidity"].quality == wire.Q_FAULT
    assert got["temperature"].raw == -276
    assert got["pressure"].quality == wire.Q_OK


def test_bmp280() -> None:
    bench = Bench("bmp280", Steady(**AIR), options={"address": 0x77})
    got = bench.sample(60_000)
    assert set(got) == {"temperature", "pressure"}
    assert got["temperature"].raw == -276
    assert abs(got["pressure"].value - 99630.02) <= 1


@pytest.mark.parametrize("fault", ["slow", "bad_checksum"])
def test_what_it_cannot_trust_is_missing(fault: str) -> None:
    got = Bench("bme280", Steady(**AIR), faults=(fault,)).sample(60_000)
    assert {sample.quality for sample in got.values()} == {wire.Q_MISSING}


def test_registers_that_never_change_are_suspect() -> None:
    bench = Bench("bme280", Steady(**AIR))
    bench.sample(1_000)
    flags = [bench.sample(minute * 60_000)["pressure"].quality for minute in range(1, 60)]
    assert set(flags) == {wire.Q_OK}
    bench.device.break_down("stuck")
    flags = [bench.sample(minute * 60_000)["pressure"].quality for minute in range(61, 100)]
    assert flags[-1] == wire.Q_SUSPECT
    assert flags[:20] == [wire.Q_OK] * 20


def test_a_jump_no_weather_makes_is_suspect() -> None:
    air = Steady(**AIR)
    bench = Bench("bme280", air)
    bench.sample(60_000)
    air.values["pressure"] = 80_000
    assert bench.sample(70_000)["pressure"].quality == wire.Q_SUSPECT
    assert bench.sample(80_000)["pressure"].quality == wire.Q_OK


def test_beyond_the_range_is_flagged() -> None:
    got = Bench("bme280", Steady(temperature=-60.0, humidity=50.0, pressure=112_000.0)).sample(1000)
    assert got["temperature"].quality == wire.Q_BELOW
    assert got["pressure"].quality == wire.Q_ABOVE
