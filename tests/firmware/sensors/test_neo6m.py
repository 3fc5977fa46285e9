"""NEO-6M driver against its model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.sensors import neo6m
from firmware.sensors.common import unix_seconds
from protocol import wire
from simulator.devices.base import Steady
from simulator.devices.bench import Bench, Sample
from simulator.devices.neo6m import START_UNIX_MS

PLACE = {"latitude": 52.370216, "longitude": 4.895168, "altitude": -2.3}


def flags(got: dict[str, Sample]) -> set[int]:
    return {sample.quality for sample in got.values()}


def test_sentences_are_checked() -> None:
    line = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47"
    assert neo6m.checked(line)
    assert not neo6m.checked(line.replace(b"545", b"546"))
    assert not neo6m.checked(b"$*00")


@pytest.mark.parametrize(
    ("field", "hemisphere", "degrees_e5"),
    [
        (b"4807.038", b"N", 4811730),
        (b"01131.000", b"E", 1151667),
        (b"00000.00001", b"W", 0),
        (b"17959.99999", b"W", -18000000),
        (b"3351.12345", b"S", -3385206),
    ],
)
def test_coordinates(field: bytes, hemisphere: bytes, degrees_e5: int) -> None:
    assert neo6m.coordinate(field, hemisphere) == degrees_e5


@pytest.mark.parametrize(("field", "dm"), [(b"545.4", 5454), (b"-0.4", -4), (b"12", 120)])
def test_decimals(field: bytes, dm: int) -> None:
    assert neo6m.decimal(field, 1) == dm


def test_the_calendar() -> None:
    assert unix_seconds(1970, 1, 1, 0, 0, 0) == 0
    assert unix_seconds(2000, 2, 29, 12, 0, 0) == 951825600
    assert unix_seconds(2026, 12, 31, 23, 59, 59) == 1798761599
    assert neo6m.moment(b"235959.500", b"311226") == 1798761599500
    assert neo6m.moment(b"120000.00", b"010107") == 0


def test_a_fix() -> None:
    bench = Bench("neo6m", Steady(**PLACE))
    got = bench.sample(60_000)
    assert got["latitude"].raw == 5237022
    assert got["longitude"].raw == 489517
    assert got["altitude"].value == -2.3
    assert got["horizontal_accuracy"].value == 3.0
    assert flags(got) == {wire.Q_OK}
    assert -600 <= bench.answered_after_ms <= 700


def test_the_time_is_taken_once() -> None:
    bench = Bench("neo6m", Steady(**PLACE))
    bench.sample(60_000)
    unix_ms, uptime_ms, error_ms, source = bench.sensor.take_time()
    assert abs(unix_ms - (START_UNIX_MS + uptime_ms)) <= error_ms
    assert source == wire.CLOCK_GPS
    assert bench.sensor.take_time() is None


def test_a_rolled_over_week_gives_no_time_but_a_position() -> None:
    bench = Bench("neo6m", Steady(**PLACE), faults=("rollover",))
    assert flags(bench.sample(60_000)) == {wire.Q_OK}
    assert bench.sensor.take_time() is None


def test_no_fix_is_missing() -> None:
    place = Steady(**PLACE)
    bench = Bench("neo6m", place)
    assert flags(bench.sample(10_000)) == {wire.Q_MISSING}
    place.values = {}
    assert flags(bench.sample(60_000)) == {wire.Q_MISSING}
    assert bench.sensor.take_time() is None
    place.values = dict(PLACE)
    assert flags(bench.sample(120_000)) == {wire.Q_OK}


def test_a_poor_fix_is_suspect() -> None:
    got = Bench("neo6m", Steady(**PLACE), faults=("poor",)).sample(60_000)
    assert flags(got) == {wire.Q_SUSPECT}
    assert got["horizontal_accuracy"].value == 22.5


@pytest.mark.parametrize("fault", ["silent", "bad_checksum", "torn"])
def test_what_cannot_be_read_is_missing(fault: str) -> None:
    bench = Bench("neo6m", Steady(**PLACE), faults=(fault,))
    assert flags(bench.sample(60_000)) == {wire.Q_MISSING}
    bench.device.mend()
    assert flags(bench.sample(120_000)) == {wire.Q_OK}


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_noise_on_the_line_is_survived(noise: bytes) -> None:
    bench = Bench("neo6m", Steady(**PLACE))
    bench.advance(59_500)
    bench.device.say(noise, 59_600)
    bench.sample(60_200)
    assert flags(bench.sample(120_000)) == {wire.Q_OK}


@given(st.integers(-9000000, 9000000), st.integers(-18000000, 18000000))
@settings(max_examples=200, deadline=None)
def test_every_place_on_earth(latitude: int, longitude: int) -> None:
    place = Steady(latitude=latitude / 1e5, longitude=longitude / 1e5, altitude=0.0)
    got = Bench("neo6m", place).sample(60_000)
    assert abs(got["latitude"].raw - latitude) <= 1
    assert abs(got["longitude"].raw - longitude) <= 1
