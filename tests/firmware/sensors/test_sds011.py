"""SDS011 driver against its model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.sensors import sds011
from protocol import wire
from simulator.devices.base import Steady
from simulator.devices.bench import Bench

AIR = {"pm10": 12.34, "pm2_5": 5.07}


def test_commands_are_those_of_the_protocol_paper() -> None:
    assert sds011.ASK.hex() == "aab404" + "00" * 12 + "ffff02ab"
    assert sds011.QUERY_MODE.hex() == "aab4020101" + "00" * 10 + "ffff02ab"
    assert sds011.SLEEP.hex() == "aab4060100" + "00" * 10 + "ffff05ab"
    assert sds011.WORK.hex() == "aab4060101" + "00" * 10 + "ffff06ab"
    assert sds011.NO_PERIOD.hex() == "aab4080100" + "00" * 10 + "ffff07ab"


def test_a_reply_is_read() -> None:
    frame = bytes.fromhex("aac0d4043a0aa1601dab")
    assert sds011.checked(frame)
    assert sds011.values(frame) == (1236, 2618)
    assert not sds011.checked(frame[:8] + b"\x1e\xab")


def test_it_answers_at_the_instant() -> None:
    bench = Bench("sds011", Steady(**AIR))
    got = bench.sample(60_000)
    assert got["pm10"].raw == 123
    assert got["pm2_5"].raw == 51
    assert {sample.quality for sample in got.values()} == {wire.Q_OK}
    assert bench.sensor.LEAD_MS == 0
    assert bench.answered_after_ms <= 100


def test_the_first_seconds_are_warming_up() -> None:
    bench = Bench("sds011", Steady(**AIR))
    assert bench.sample(5_000)["pm10"].quality == wire.Q_WARMING
    assert bench.sample(16_000)["pm10"].quality == wire.Q_OK


def test_beyond_its_range_the_value_is_kept_and_flagged() -> None:
    bench = Bench("sds011", Steady(pm10=1999.9, pm2_5=999.9))
    got = bench.sample(60_000)
    assert (got["pm10"].raw, got["pm10"].quality) == (19999, wire.Q_ABOVE)
    assert (got["pm2_5"].raw, got["pm2_5"].quality) == (9999, wire.Q_OK)


def test_a_silent_sensor_is_missing_well_within_a_second_and_comes_back() -> None:
    air = Steady(**AIR)
    bench = Bench("sds011", air)
    bench.sample(60_000)
    for minute in range(2, 40):
        air.values = {}
        got = bench.sample(minute * 60_000)
        assert {sample.quality for sample in got.values()} == {wire.Q_MISSING}
        assert bench.answered_after_ms <= 700
    air.values = dict(AIR)
    assert bench.sample(40 * 60_000)["pm10"].quality == wire.Q_OK


def test_one_value_alone_may_be_missing() -> None:
    bench = Bench("sds011", Steady(pm10=20.0))
    got = bench.sample(60_000)
    assert (got["pm10"].raw, got["pm10"].quality) == (200, wire.Q_OK)
    assert got["pm2_5"].quality == wire.Q_MISSING


def test_fine_above_coarse_is_suspect() -> None:
    got = Bench("sds011", Steady(pm10=3.0, pm2_5=4.0)).sample(60_000)
    assert got["pm10"].quality == got["pm2_5"].quality == wire.Q_SUSPECT


def test_a_stuck_sensor_becomes_suspect_but_clean_air_does_not() -> None:
    def flags(air: dict[str, float]) -> list[int]:
        bench = Bench("sds011", Steady(**air))
        return [bench.sample(minute * 60_000)["pm10"].quality for minute in range(1, 70)]

    stuck = flags({"pm10": 20.0, "pm2_5": 12.0})
    assert stuck[58] == wire.Q_OK
    assert stuck[59] == wire.Q_SUSPECT
    assert set(flags({"pm10": 2.0, "pm2_5": 1.2})) == {wire.Q_OK}


@pytest.mark.parametrize("fault", ["slow", "wrong_variant", "bad_checksum", "torn"])
def test_what_it_cannot_trust_is_missing(fault: str) -> None:
    bench = Bench("sds011", Steady(**AIR), faults=(fault,))
    got = bench.sample(60_000)
    assert {sample.quality for sample in got.values()} == {wire.Q_MISSING}
    assert bench.sensor.bus_errors > 0
    if fault == "bad_checksum":
        assert bench.sensor.checksum_errors > 0
    bench.device.mend()
    assert bench.sample(120_000)["pm10"].quality == wire.Q_OK


def test_an_occasional_bad_checksum_costs_no_reading() -> None:
    bench = Bench("sds011", Steady(**AIR), seed=3)
    bench.device.break_down("bad_checksum", probability=0.2)
    flags = [bench.sample(minute * 60_000)["pm10"].quality for minute in range(1, 50)]
    assert flags.count(wire.Q_OK) >= 47
    assert bench.sensor.checksum_errors >= 5


def test_a_sensor_that_obeys_no_command_is_read_from_its_stream() -> None:
    bench = Bench("sds011", Steady(**AIR), faults=("deaf",))
    flags = [bench.sample(60_000 * n + 500 * (n % 2))["pm10"].quality for n in range(1, 20)]
    assert wire.Q_OK in flags
    assert set(flags) <= {wire.Q_OK, wire.Q_MISSING}


def test_duty_cycle_sleeps_between_instants() -> None:
    bench = Bench("sds011", Steady(**AIR), options={"warm_up_s": 30})
    assert bench.sensor.LEAD_MS == 30_000
    device = bench.device
    bench.advance(60_000)
    assert device.asleep
    for minute in (5, 10):
        got = bench.sample(minute * 60_000)
        assert got["pm10"].raw == 123
        assert got["pm10"].quality == wire.Q_OK
        bench.advance(minute * 60_000 + 1000)
        assert device.asleep


@given(st.floats(0, 1999.9), st.floats(0, 1999.9))
@settings(max_examples=200, deadline=None)
def test_every_recorded_value_comes_back(one: float, other: float) -> None:
    coarse, fine = max(one, other), min(one, other)
    got = Bench("sds011", Steady(pm10=round(coarse, 2), pm2_5=round(fine, 2))).sample(60_000)
    assert abs(got["pm10"].value - coarse) <= 0.1
    assert abs(got["pm2_5"].value - fine) <= 0.1
