"""SHT31 driver against its model."""

import pytest

from firmware.sensors import sht31
from firmware.sensors.crc8 import command, crc8, word
from protocol import wire
from simulator.devices.base import Steady
from simulator.devices.bench import Bench, Sample

AIR = {"temperature": -12.34, "humidity": 56.78}


def flags(got: dict[str, Sample]) -> set[int]:
    return {sample.quality for sample in got.values()}


def test_crc_of_the_data_sheet() -> None:
    assert crc8(b"\xbe\xef") == 0x92
    assert crc8(b"\x00\x00") == 0x81
    assert command(0x0010, 0x0300) == b"\x00\x10\x03\x00\xac"
    assert word(b"\xbe\xef\x92", 0) == 0xBEEF
    assert word(b"\xbe\xef\x93", 0) is None


@pytest.mark.parametrize(("raw", "centi"), [(0, -4500), (65535, 13000), (26214, 2500)])
def test_temperature(raw: int, centi: int) -> None:
    assert sht31.temperature(raw) == centi


@pytest.mark.parametrize(("raw", "centi"), [(0, 0), (65535, 10000), (32768, 5000)])
def test_humidity(raw: int, centi: int) -> None:
    assert sht31.humidity(raw) == centi


@pytest.mark.parametrize("address", [0x44, 0x45])
def test_a_reading(address: int) -> None:
    bench = Bench("sht31", Steady(**AIR), options={"address": address})
    got = bench.sample(60_000)
    assert abs(got["temperature"].value - -12.34) <= 0.02
    assert abs(got["humidity"].value - 56.78) <= 0.02
    assert flags(got) == {wire.Q_OK}
    assert bench.answered_after_ms <= 60


@pytest.mark.parametrize("fault", ["silent", "bad_checksum", "slow"])
def test_what_it_cannot_trust_is_missing_and_comes_back(fault: str) -> None:
    bench = Bench("sht31", Steady(**AIR), faults=(fault,))
    assert flags(bench.sample(60_000)) == {wire.Q_MISSING}
    assert bench.sensor.bus_errors > 0
    bench.device.mend()
    assert flags(bench.sample(120_000)) == {wire.Q_OK}


def test_a_rare_wrong_crc_costs_nothing() -> None:
    bench = Bench("sht31", Steady(**AIR))
    bench.device.break_down("bad_checksum", probability=0.05)
    seen = [flags(bench.sample(minute * 60_000)) for minute in range(1, 100)]
    assert seen.count({wire.Q_OK}) >= 95
    assert bench.sensor.checksum_errors >= 3


def test_stuck_words_are_suspect() -> None:
    bench = Bench("sht31", Steady(**AIR))
    assert all(flags(bench.sample(m * 60_000)) == {wire.Q_OK} for m in range(1, 60))
    bench.device.break_down("stuck")
    seen = [flags(bench.sample(m * 60_000)) for m in range(60, 100)]
    assert seen[-1] == {wire.Q_SUSPECT}


def test_with_its_heater_on_it_is_in_maintenance() -> None:
    bench = Bench("sht31", Steady(**AIR), faults=("heater",))
    assert flags(bench.sample(60_000)) == {wire.Q_MAINTENANCE}


def test_it_comes_back_after_hours_without_it() -> None:
    air = Steady()
    bench = Bench("sht31", air)
    assert all(flags(bench.sample(m * 60_000)) == {wire.Q_MISSING} for m in range(1, 120))
    air.values = dict(AIR)
    assert flags(bench.sample(120 * 60_000)) == {wire.Q_OK}
