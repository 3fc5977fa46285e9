"""The system's clock, by which TLS judges certificates, on a board that nobody told the time."""

import pytest

from firmware.node import Node
from firmware.rtc import KEEP_EVERY_S, LEAST_S, STEP_S, SystemTime
from firmware.settings import Settings
from firmware.version import BUILT_S, LASTS_S
from protocol import compose, wire
from tests.firmware import boards
from tests.firmware.conversation import Collector

NOON_S = 1_800_000_000


def test_a_new_board_begins_with_the_year_of_its_firmware() -> None:
    hal = boards.MemoryHal()
    SystemTime(hal).start()
    assert hal.rtc_s == [BUILT_S]


def test_a_board_begins_with_the_latest_time_that_it_kept() -> None:
    hal = boards.MemoryHal()
    SystemTime(hal).known(NOON_S)
    SystemTime(hal).start()
    assert hal.rtc_s == [NOON_S, NOON_S]


def test_the_time_is_kept_once_a_day() -> None:
    hal = boards.MemoryHal()
    system_time = SystemTime(hal)
    system_time.known(NOON_S)
    system_time.known(NOON_S + KEEP_EVERY_S - 1)
    SystemTime(hal).start()
    assert hal.rtc_s[-1] == NOON_S
    system_time.known(NOON_S + KEEP_EVERY_S)
    SystemTime(hal).start()
    assert hal.rtc_s[-1] == NOON_S + KEEP_EVERY_S


def test_a_guess_moves_on_until_it_begins_anew() -> None:
    hal = boards.MemoryHal()
    system_time = SystemTime(hal)
    system_time.start()
    for _ in range(LASTS_S // STEP_S + 1):
        system_time.refused(late=False)
    assert hal.rtc_s[1] == BUILT_S + STEP_S
    assert max(hal.rtc_s) > BUILT_S + LASTS_S - STEP_S
    assert hal.rtc_s[-1] == BUILT_S


DAY_S = 86_400
YEAR_S = 365 * DAY_S


@pytest.mark.parametrize("valid_s", [6 * 3_600, 6 * DAY_S, 90 * DAY_S, YEAR_S])
@pytest.mark.parametrize("clock_s", [BUILT_S, NOON_S, BUILT_S + 3 * YEAR_S, BUILT_S + 14 * YEAR_S])
@pytest.mark.parametrize("starts_s", [BUILT_S - DAY_S, NOON_S - DAY_S, BUILT_S + 5 * YEAR_S + 7])
def test_whatever_the_clock_says_a_certificate_is_taken_in_the_end(
    starts_s: int, clock_s: int, valid_s: int
) -> None:
    if starts_s + valid_s < BUILT_S + LEAST_S:
        return
    hal = boards.MemoryHal()
    system_time = SystemTime(hal)
    system_time.known(clock_s, surely=False)
    for _ in range(260):
        now_s = hal.rtc_s[-1]
        if starts_s <= now_s < starts_s + valid_s:
            return
        system_time.refused(late=now_s >= starts_s)
    raise AssertionError("locked out")


def test_only_what_the_collector_told_is_kept() -> None:
    hal = boards.MemoryHal()
    SystemTime(hal).known(BUILT_S + 3 * YEAR_S, surely=False)
    SystemTime(hal).start()
    assert hal.rtc_s[-1] == BUILT_S


def test_a_kept_time_beyond_the_lifetime_of_the_build_is_not_begun_with() -> None:
    hal = boards.MemoryHal()
    hal.nvs.durable["time"] = (BUILT_S + LASTS_S + 1).to_bytes(4, "little")
    SystemTime(hal).start()
    assert hal.rtc_s == [BUILT_S]


def started(hal: boards.MemoryHal) -> Node:
    """A node without sensors whose link stands."""
    boards.provision(hal.nvs)
    node = Node(hal, {"board": "test"}, Settings())
    node.start()
    boards.run(node, 1_000)
    return node


def test_time_from_the_collector_sets_the_systems_clock() -> None:
    hal = boards.MemoryHal()
    node = started(hal)
    assert hal.rtc_s == [BUILT_S]
    collector = Collector(node)
    live = collector.heard(wire.T_LIVE)[-1]
    assert live.state is not None
    collector.say(
        compose.compose_time(
            boards.DOWN,
            boards.NODE,
            live.boot,
            collector.next_seq(),
            live.state.uptime_ms,
            live.seq,
            NOON_S * 1000,
            NOON_S * 1000,
        )
    )
    assert abs(hal.rtc_s[-1] - NOON_S) <= 3


class Untimely(boards.Link):
    """A broker whose certificate is not valid yet, as often as it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.accepts = False
        self.tries = 3

    def untimely(self) -> int:
        self.tries -= 1
        return int(self.tries >= 0)


def test_a_certificate_of_later_moves_the_guess_once_for_each_try() -> None:
    hal = boards.MemoryHal()
    hal.transport = Untimely()
    boards.run(started(hal), 10_000)
    assert hal.rtc_s == [BUILT_S + step * STEP_S for step in range(4)]
