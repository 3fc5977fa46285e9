"""The clock: uptime over the wrap of ticks, TIME's rules, holdover bounds, steps."""

import random

import pytest

from firmware.clock import CRYSTAL_PPM, SOURCE_GPS, SOURCE_NTP, SOURCE_RTC, SOURCE_TIME, Clock
from firmware.version import BUILT_S, LASTS_S
from tests.firmware.boards import TICKS_PERIOD, MemoryHal

UNIX = 1_800_000_000_000
DAY_MS = 86_400_000


def make_clock() -> tuple[Clock, MemoryHal]:
    hal = MemoryHal()
    return Clock(hal), hal


def test_uptime_goes_on_over_the_wrap_of_ticks() -> None:
    clock, hal = make_clock()
    for _ in range(30):
        hal.now_ms += DAY_MS
        assert clock.uptime_ms() == hal.now_ms
    assert hal.now_ms > 2 * TICKS_PERIOD


def test_time_is_taken_with_half_the_round_trip() -> None:
    clock, hal = make_clock()
    hal.now_ms = 1_000
    clock.sent_beacon(1, clock.uptime_ms())
    hal.now_ms = 1_300
    assert clock.apply_time(1_000, 1, UNIX, UNIX + 100)
    assert clock.unix_ms(1_300) == UNIX + 200
    assert clock.error_ms(1_300) == 200


@pytest.mark.parametrize(
    ("echo_uptime", "echo_counter", "received", "sent", "at"),
    [
        (1_000, 7, UNIX, UNIX, 1_100),  # no such counter
        (999, 1, UNIX, UNIX, 1_100),  # another uptime
        (1_000, 1, UNIX, UNIX, 11_001),  # too slow
        (1_000, 1, UNIX, UNIX - 1, 1_100),  # sent before received
        (1_000, 1, UNIX, UNIX + 5_000, 1_100),  # held longer than the round trip
        (1_000, 1, 5_000, 5_000, 1_100),  # 1970
    ],
)
def test_time_that_breaks_a_rule_is_refused(
    echo_uptime: int, echo_counter: int, received: int, sent: int, at: int
) -> None:
    clock, hal = make_clock()
    hal.now_ms = 1_000
    clock.sent_beacon(1, clock.uptime_ms())
    hal.now_ms = at
    assert not clock.apply_time(echo_uptime, echo_counter, received, sent)
    assert not clock.synchronised


def test_only_the_last_two_beacons_count() -> None:
    clock, hal = make_clock()
    for counter in (1, 2, 3):
        clock.sent_beacon(counter, clock.uptime_ms())
        hal.now_ms += 10
    assert not clock.apply_time(0, 1, UNIX, UNIX)
    assert clock.apply_time(10, 2, UNIX, UNIX)


@pytest.mark.parametrize("drift_ppm", [-45, -10, 0, 10, 45])
def test_the_error_bound_holds_through_days_of_holdover(drift_ppm: int) -> None:
    clock, hal = make_clock()
    noise = random.Random(drift_ppm)

    def true_unix() -> int:
        return UNIX + hal.now_ms + hal.now_ms * drift_ppm // 1_000_000

    for step in range(60):
        counter = step + 1
        clock.sent_beacon(counter, clock.uptime_ms())
        sent_at = clock.uptime_ms()
        hal.now_ms += noise.randint(1, 80)
        at_collector = true_unix()
        hal.now_ms += noise.randint(1, 80)
        assert clock.apply_time(sent_at, counter, at_collector, at_collector)
        hal.now_ms += 60_000 if step < 30 else 3_600_000
        uptime = clock.uptime_ms()
        assert abs(clock.unix_ms(uptime) - true_unix()) <= clock.error_ms(uptime)
    for _ in range(14):
        hal.now_ms += DAY_MS
        uptime = clock.uptime_ms()
    assert abs(clock.unix_ms(uptime) - true_unix()) <= clock.error_ms(uptime)


def test_a_measured_drift_narrows_the_bound() -> None:
    clock, hal = make_clock()
    for counter in range(1, 20):
        clock.sent_beacon(counter, clock.uptime_ms())
        sent_at = clock.uptime_ms()
        hal.now_ms += 20
        clock.apply_time(sent_at, counter, UNIX + hal.now_ms, UNIX + hal.now_ms)
        hal.now_ms += 6 * 3_600_000
    start = clock.error_ms(clock.uptime_ms())
    hal.now_ms += DAY_MS
    grown = clock.error_ms(clock.uptime_ms()) - start
    assert grown < DAY_MS * CRYSTAL_PPM // 1_000_000 // 2


def test_a_step_backwards_is_taken_and_counted() -> None:
    clock, hal = make_clock()
    assert clock.set(UNIX + 3_600_000, 0, 50, SOURCE_TIME)
    hal.now_ms = 60_000
    assert clock.set(UNIX + 60_000, 60_000, 50, SOURCE_TIME)
    assert clock.steps == 1
    assert clock.unix_ms(60_000) == UNIX + 60_000
    assert clock.changed


def test_a_worse_source_does_not_replace_a_good_holdover() -> None:
    clock, _ = make_clock()
    assert clock.set(UNIX, 0, 20, SOURCE_GPS)
    assert not clock.set(UNIX + 700, 1_000, 2_000, SOURCE_RTC)
    assert clock.unix_ms(1_000) == UNIX + 1_000


def test_sleep_counts_with_the_rc_oscillators_error() -> None:
    clock, hal = make_clock()
    clock.set(UNIX, 0, 20, SOURCE_TIME)
    state = clock.state()
    woken = Clock(hal, 600_000)
    woken.restore(state)
    woken.slept(600_000)
    uptime = woken.uptime_ms()
    assert uptime == 1_200_000
    assert woken.error_ms(uptime) >= 20 + 600_000 * 2 // 100


@pytest.mark.parametrize("source", [SOURCE_TIME, SOURCE_RTC, SOURCE_GPS, SOURCE_NTP])
@pytest.mark.parametrize(
    ("unix_s", "believed"),
    [
        (946_684_800, False),  # 2000
        (BUILT_S - 1, False),
        (BUILT_S, True),
        (1_890_000_000, True),  # 2029
        (BUILT_S + LASTS_S + 1, False),
        (3_471_292_800, False),  # 2080
    ],
)
def test_no_date_is_believed_that_this_firmware_cannot_see(
    source: int, unix_s: int, believed: bool
) -> None:
    clock = Clock(MemoryHal())
    assert clock.set(unix_s * 1000, 0, 1000, source) is believed
    assert clock.synchronised is believed


def test_a_clock_chip_does_not_contradict_the_collector() -> None:
    clock = Clock(MemoryHal())
    assert clock.set(1_800_000_000_000, 0, 100, SOURCE_TIME)
    later_ms = 12 * 3_600_000
    assert not clock.set(1_890_000_000_000, later_ms, 1000, SOURCE_GPS)
    assert clock.set(1_800_000_000_000 + later_ms, later_ms, 1000, SOURCE_GPS)
