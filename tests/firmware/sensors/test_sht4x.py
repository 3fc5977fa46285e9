"""SHT4x driver against its model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.sensors import sht4x
from protocol import wire
from simulator.devices.base import Steady
from simulator.devices.bench import Bench, Sample

AIR = {"temperature": 21.5, "humidity": 43.21}


def flags(got: dict[str, Sample]) -> set[int]:
    return {sample.quality for sample in got.values()}


@pytest.mark.parametrize(
    ("raw", "centi"), [(0, 0), (3145, 0), (3146, 0), (55574, 10000), (65535, 10000), (32768, 5650)]
)
def test_humidity_is_cropped(raw: int, centi: int) -> None:
    assert sht4x.humidity(raw) == centi


@given(st.floats(-40, 125), st.floats(0, 100))
@settings(max_examples=100, deadline=None)
def test_all_air_comes_back(temperature: float, humidity: float) -> None:
    got = Bench("sht41", Steady(temperature=temperature, humidity=humidity)).sample(1000)
    assert abs(got["temperature"].value - temperature) <= 0.02
    assert abs(got["humidity"].value - humidity) <= 0.02


@pytest.mark.parametrize("driver", ["sht40", "sht41", "sht45"])
def test_a_reading(driver: str) -> None:
    bench = Bench(driver, Steady(**AIR), options={"address": 0x45})
    assert flags(bench.sample(60_000)) == {wire.Q_OK}
    assert bench.answered_after_ms <= 60


@pytest.mark.parametrize("fault", ["silent", "bad_checksum", "slow"])
def test_what_it_cannot_trust_is_missing_and_comes_back(fault: str) -> None:
    bench = Bench("sht41", Steady(**AIR), faults=(fault,))
    assert flags(bench.sample(60_000)) == {wire.Q_MISSING}
    bench.device.mend()
    assert flags(bench.sample(120_000)) == {wire.Q_OK}


def test_stuck_words_are_suspect() -> None:
    bench = Bench("sht41", Steady(**AIR))
    assert flags(bench.sample(60_000)) == {wire.Q_OK}
    bench.device.break_down("stuck")
    seen = [flags(bench.sample(m * 60_000)) for m in range(2, 40)]
    assert seen[-1] == {wire.Q_SUSPECT}
