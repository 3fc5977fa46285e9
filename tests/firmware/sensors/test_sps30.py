"""SPS30 on I2C and on its serial line against its models."""

import pytest

from firmware.sensors import sps30
from protocol import wire
from simulator.devices.base import Steady
from simulator.devices.bench import Bench, Sample

AIR = {"pm1": 6.5, "pm2_5": 9.2, "pm4": 11.0, "pm10": 13.3}
HOUR_MS = 3_600_000
DRIVERS = ("sps30", "sps30_uart")


def flags(got: dict[str, Sample]) -> set[int]:
    return {sample.quality for sample in got.values()}


def test_floats_become_integers() -> None:
    assert sps30.tenths([1.24, 1.25, 0.0, 999.96] + [3.0] * 5 + [0.555]) == [
        12, 13, 0, 10000, 30, 30, 30, 30, 30, 56,
    ]  # fmt: skip
    assert sps30.tenths([float("nan"), float("inf"), -1.0] + [0.0] * 7)[:3] == [-1, -1, -1]


def test_sums_that_fall_with_size_are_implausible() -> None:
    assert sps30.plausible([65, 92, 110, 133, 500, 600, 610, 612, 613, 55])
    assert not sps30.plausible([65, 92, 80, 133, 500, 600, 610, 612, 613, 55])
    assert not sps30.plausible([65, 92, 110, 133, 700, 600, 610, 612, 613, 55])


@pytest.mark.parametrize(("driver", "answer_ms"), [("sps30", 60), ("sps30_uart", 200)])
def test_a_reading(driver: str, answer_ms: int) -> None:
    bench = Bench(driver, Steady(**AIR))
    assert flags(bench.sample(20_000)) == {wire.Q_WARMING}
    got = bench.sample(60_000)
    for name, value in AIR.items():
        assert abs(got[name].value - value) <= 0.02 * value + 0.1
    assert got["particle_size"].value == 0.55
    assert flags(got) == {wire.Q_OK}
    assert bench.answered_after_ms <= answer_ms


@pytest.mark.parametrize("driver", DRIVERS)
def test_duty_cycle_sleeps_between_instants(driver: str) -> None:
    bench = Bench(driver, Steady(**AIR), options={"warm_up_s": 20})
    bench.advance(30_000)
    assert bench.device.asleep
    for minute in (5, 10, 15):
        assert flags(bench.sample(minute * 60_000)) == {wire.Q_OK}
        bench.advance(minute * 60_000 + 2000)
        assert bench.device.asleep


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("fault", ["fan", "laser"])
def test_its_own_status_is_a_fault(driver: str, fault: str) -> None:
    bench = Bench(driver, Steady(**AIR), faults=(fault,))
    assert flags(bench.sample(60_000)) == {wire.Q_FAULT}


@pytest.mark.parametrize(
    ("driver", "fault"),
    [
        *(("sps30", fault) for fault in ("silent", "bad_checksum")),
        *(("sps30_uart", fault) for fault in ("silent", "bad_checksum", "slow", "torn")),
    ],
)
def test_what_it_cannot_trust_is_missing_and_comes_back(driver: str, fault: str) -> None:
    bench = Bench(driver, Steady(**AIR))
    bench.sample(60_000)
    bench.device.break_down(fault)
    assert flags(bench.sample(120_000)) == {wire.Q_MISSING}
    bench.device.mend()
    bench.sample(240_000)
    assert flags(bench.sample(300_000)) == {wire.Q_OK}


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_sensor_that_lost_power_is_started_again(driver: str) -> None:
    bench = Bench(driver, Steady(**AIR))
    bench.sample(60_000)
    bench.device.power_cycle(90_000)
    assert flags(bench.sample(120_000)) == {wire.Q_MISSING}
    assert flags(bench.sample(180_000)) == {wire.Q_OK}


def test_the_fan_is_cleaned_once_a_week_and_that_is_flagged() -> None:
    bench = Bench("sps30", Steady(**AIR), options={"clean_hours": 2})
    bench.sample(2 * HOUR_MS - 60_000)
    assert bench.device.particles.cleanings == 0
    assert flags(bench.sample(2 * HOUR_MS + 60_000)) == {wire.Q_OK}
    assert bench.device.particles.cleanings == 1
    assert flags(bench.sample(2 * HOUR_MS + 65_000)) == {wire.Q_MAINTENANCE}
    assert flags(bench.sample(2 * HOUR_MS + 120_000)) == {wire.Q_OK}
    bench.sample(4 * HOUR_MS + 120_000)
    assert bench.device.particles.cleanings == 2


def test_nonsense_is_missing() -> None:
    bench = Bench("sps30", Steady(**AIR), faults=("nonsense",))
    assert flags(bench.sample(60_000)) == {wire.Q_MISSING}


def test_above_the_range_and_stuck() -> None:
    bench = Bench("sps30", Steady(pm1=600.0, pm2_5=900.0, pm4=1200.0, pm10=1500.0))
    got = bench.sample(60_000)
    assert got["pm10"].quality == wire.Q_ABOVE
    assert got["pm1"].quality == wire.Q_OK
    bench.device.break_down("stuck")
    seen = [bench.sample(m * 60_000)["pm1"].quality for m in range(2, 15)]
    assert seen[-1] == wire.Q_SUSPECT
