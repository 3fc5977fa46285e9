"""DS3231 driver against its model."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.clock import Clock, hear_clocks
from firmware.sensors import ds3231
from firmware.sensors.ds3231 import bcd
from firmware.sensors.neo6m import moment
from protocol import wire
from simulator.devices.base import Steady
from simulator.devices.bench import Bench
from simulator.devices.ds3231 import START_UNIX_MS


@given(st.integers(1_704_067_200, 4_102_444_799))
def test_dates_go_there_and_back(second: int) -> None:
    registers = ds3231.date_registers(second)
    assert ds3231.unix_s(registers) == second
    when = datetime.fromtimestamp(second, UTC)
    assert registers[3] == when.isoweekday()
    assert registers[6] == int(str(when.year % 100), 16)


def test_twelve_hours() -> None:
    assert ds3231.unix_s(bytes.fromhex("000072 01 01 01 26")) == 1_767_225_600 + 12 * 3600
    assert ds3231.unix_s(bytes.fromhex("000052 01 01 01 26")) == 1_767_225_600


@pytest.mark.parametrize("registers", ["00000001010120", "0000240101 0126", "75000001010126"])
def test_a_date_that_cannot_be(registers: str) -> None:
    assert ds3231.unix_s(bytes.fromhex(registers)) == 0


@pytest.mark.parametrize("twelve_hours", [False, True])
def test_it_has_the_time_at_once(twelve_hours: bool) -> None:
    bench = Bench("ds3231", Steady(), options={"twelve_hours": twelve_hours})
    bench.advance(3_000)
    unix_ms, uptime_ms, error_ms, source = bench.sensor.take_time()
    assert abs(unix_ms - (START_UNIX_MS + uptime_ms)) <= error_ms
    assert source == wire.CLOCK_RTC
    assert bench.sensor.take_time() is None


def test_temperature() -> None:
    air = Steady(chip_temperature=-10.25)
    bench = Bench("ds3231", air)
    got = bench.sample(60_000)["chip_temperature"]
    assert got.value in (-10.2, -10.3)
    assert got.quality == wire.Q_OK
    air.values["chip_temperature"] = 90.0
    assert bench.sample(120_000)["chip_temperature"].quality == wire.Q_ABOVE


def test_a_clock_that_stood_still_gives_no_time_until_it_is_set() -> None:
    bench = Bench("ds3231", Steady(), faults=("stopped",))
    bench.sample(60_000)
    assert bench.sensor.take_time() is None
    right_ms = 1_790_000_000_250
    bench.sensor.set_time(right_ms, 60_000 + bench.answered_after_ms)
    bench.advance(62_000)
    shown_ms = bench.device.unix_ms(bench.now_ms)
    assert abs(shown_ms - (right_ms + bench.now_ms - 60_000 - bench.answered_after_ms)) <= 5
    bench.sample(120_000)
    unix_ms, uptime_ms, error_ms, _ = bench.sensor.take_time()
    assert abs(unix_ms - (right_ms + uptime_ms - 60_000)) <= error_ms


def test_without_it_the_temperature_is_missing_and_comes_back() -> None:
    bench = Bench("ds3231", Steady(), faults=("silent",))
    assert bench.sample(60_000)["chip_temperature"].quality == wire.Q_MISSING
    assert bench.sensor.take_time() is None
    bench.device.mend()
    assert bench.sample(120_000)["chip_temperature"].quality == wire.Q_OK
    assert bench.sensor.take_time() is not None


class Ticks:
    """What a clock asks of the hardware."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def ticks_ms(self) -> int:
        return self._bench.now_ms

    def ticks_diff(self, a: int, b: int) -> int:
        return a - b


def test_it_sets_the_nodes_clock_and_is_set_by_the_collectors_time() -> None:
    bench = Bench("ds3231", Steady(), options={"drift_ppm": 0})
    clock = Clock(Ticks(bench))
    bench.advance(3_000)
    hear_clocks([bench.sensor], clock, bench.now_ms)
    assert clock.source == wire.CLOCK_RTC
    assert abs(clock.unix_ms(3_000) - (START_UNIX_MS + 3_000)) <= 1_000

    right_ms = START_UNIX_MS + 7_200_250
    clock.set(right_ms, 3_000, 20, wire.CLOCK_TIME)
    for _ in range(3):
        hear_clocks([bench.sensor], clock, bench.now_ms)
        bench.advance(bench.now_ms + 2_000)
    assert abs(bench.device.unix_ms(bench.now_ms) - clock.unix_ms(bench.now_ms)) <= 5
    assert not bench.sensor.wants_time(bench.now_ms)
    assert bench.sensor.wants_time(bench.now_ms + 86_400_000)


@pytest.mark.parametrize(
    ("day", "month", "year", "is_date"),
    [
        (31, 2, 2027, False),
        (29, 2, 2027, False),
        (29, 2, 2028, True),
        (31, 4, 2027, False),
        (31, 12, 2027, True),
        (0, 1, 2027, False),
        (1, 13, 2027, False),
    ],
)
def test_what_no_calendar_has_is_no_time(day: int, month: int, year: int, is_date: bool) -> None:
    registers = bytes((0, 0, 0, 1, bcd(day), bcd(month), bcd(year - 2000)))
    assert bool(ds3231.unix_s(registers)) is is_date
    assert bool(moment(b"120000.00", b"%02d%02d%02d" % (day, month, year - 2000))) is is_date
