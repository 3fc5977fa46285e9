"""PMS5003 and PMS7003 driver against its model."""

import pytest

from firmware.sensors import pms5003
from protocol import wire
from simulator.devices.base import Steady
from simulator.devices.bench import Bench, Sample

AIR = {"pm1": 6.0, "pm2_5": 9.0, "pm10": 14.0}
FRAME = bytes.fromhex("424d001c000500070009000500070009038a01040032000800030001910003b9")


def flags(got: dict[str, Sample]) -> set[int]:
    return {sample.quality for sample in got.values()}


def test_commands_are_those_of_the_data_manual() -> None:
    assert pms5003.PASSIVE.hex() == "424de100000170"
    assert pms5003.ASK.hex() == "424de200000171"
    assert pms5003.SLEEP.hex() == "424de400000173"
    assert pms5003.WAKE.hex() == "424de400010174"


def test_a_frame_is_read() -> None:
    frame = FRAME[:-2] + sum(FRAME[:-2]).to_bytes(2, "big")
    assert pms5003.frame_length(frame) == 32
    assert pms5003.checked(frame)
    assert pms5003.words(frame)[:6] == [5, 7, 9, 5, 7, 9]
    assert pms5003.words(frame)[6:12] == [906, 260, 50, 8, 3, 1]
    assert not pms5003.checked(frame[:-1] + b"\0")


@pytest.mark.parametrize(
    "data",
    [
        [7, 5, 9, 5, 7, 9, 906, 260, 50, 8, 3, 1],
        [5, 7, 9, 5, 9, 7, 906, 260, 50, 8, 3, 1],
        [5, 7, 9, 5, 7, 9, 906, 260, 50, 8, 251, 453],
        [5, 7, 9, 5, 7, 9, 0, 0, 0, 0, 0, 0],
    ],
)
def test_implausible(data: list[int]) -> None:
    assert not pms5003.plausible(data)


def test_clean_air_is_plausible() -> None:
    assert pms5003.plausible([0] * 12)


def test_it_answers_at_the_instant() -> None:
    bench = Bench("pms5003", Steady(**AIR))
    got = bench.sample(60_000)
    assert [got[name].value for name in ("pm1", "pm2_5", "pm10")] == [6, 9, 14]
    assert [got[f"{name}_cf1"].value for name in ("pm1", "pm2_5", "pm10")] == [6, 9, 14]
    assert got["count_0_3"].raw > got["count_1"].raw >= got["count_10"].raw
    assert flags(got) == {wire.Q_OK}
    assert bench.answered_after_ms <= 200


def test_both_conversions_are_kept() -> None:
    got = Bench("pms7003", Steady(pm1=90.0, pm2_5=120.0, pm10=200.0)).sample(60_000)
    assert got["pm2_5"].value == 120
    assert got["pm2_5_cf1"].value == 180


def test_warm_up_counts_from_power_not_from_values() -> None:
    bench = Bench("pms5003", Steady(**AIR))
    assert flags(bench.sample(20_000)) == {wire.Q_WARMING}
    assert flags(bench.sample(31_000)) == {wire.Q_OK}


def test_zeros_after_wake_are_warming_then_suspect() -> None:
    bench = Bench("pms5003", Steady(**AIR), options={"warm_up_s": 10}, faults=("zeros_after_wake",))
    assert flags(bench.sample(60_000)) == {wire.Q_SUSPECT}


def test_above_the_range() -> None:
    got = Bench("pms5003", Steady(pm1=500.0, pm2_5=900.0, pm10=1400.0)).sample(60_000)
    assert (got["pm10"].raw, got["pm10"].quality) == (1400, wire.Q_ABOVE)
    assert got["pm2_5"].quality == wire.Q_OK


def test_a_fan_that_stands_is_suspect() -> None:
    bench = Bench("pms5003", Steady(**AIR))
    for minute in range(1, 40):
        assert flags(bench.sample(minute * 60_000)) == {wire.Q_OK}
    bench.device.break_down("stuck")
    seen = [bench.sample(minute * 60_000)["pm2_5"].quality for minute in range(40, 55)]
    assert seen[-1] == wire.Q_SUSPECT


def test_its_own_error_is_a_fault() -> None:
    got = Bench("pms5003", Steady(**AIR), faults=("error",)).sample(60_000)
    assert flags(got) == {wire.Q_FAULT}


def test_another_variant_is_a_fault() -> None:
    got = Bench("pms5003", Steady(**AIR), faults=("wrong_variant",)).sample(60_000)
    assert flags(got) == {wire.Q_FAULT}


@pytest.mark.parametrize("fault", ["silent", "slow", "bad_checksum", "torn"])
def test_what_does_not_answer_is_missing_and_comes_back(fault: str) -> None:
    bench = Bench("pms5003", Steady(**AIR), faults=(fault,))
    assert flags(bench.sample(60_000)) == {wire.Q_MISSING}
    assert bench.answered_after_ms <= 3_100
    bench.device.mend()
    assert flags(bench.sample(120_000)) == {wire.Q_OK}


def test_a_sensor_that_vanished_for_an_hour_comes_back() -> None:
    air = Steady(**AIR)
    bench = Bench("pms5003", air)
    for minute in range(1, 61):
        air.values = {}
        assert flags(bench.sample(minute * 60_000)) == {wire.Q_MISSING}
    air.values = dict(AIR)
    assert flags(bench.sample(61 * 60_000)) == {wire.Q_OK}


def test_a_sensor_that_obeys_no_command_is_read_from_its_stream() -> None:
    bench = Bench("pms5003", Steady(**AIR), faults=("deaf",))
    for minute in range(1, 10):
        assert flags(bench.sample(minute * 60_000 + 137)) == {wire.Q_OK}


def test_duty_cycle_sleeps_between_instants() -> None:
    bench = Bench("pms5003", Steady(**AIR), options={"warm_up_s": 30})
    bench.advance(50_000)
    assert bench.device.asleep
    for minute in (5, 10, 15):
        assert flags(bench.sample(minute * 60_000)) == {wire.Q_OK}
        bench.advance(minute * 60_000 + 1000)
        assert bench.device.asleep


def test_the_set_pin_sleeps_a_sensor_that_ignores_the_command() -> None:
    options = {"warm_up_s": 30, "set_pin": 4}
    bench = Bench("pms5003", Steady(**AIR), options=options, faults=("deaf",))
    bench.advance(10_000)
    assert bench.device.asleep
    assert flags(bench.sample(120_000)) == {wire.Q_OK}
