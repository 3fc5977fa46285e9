"""The system's clock, by which TLS judges certificates, on a board that nobody told the time."""

from firmware.node import Node
from firmware.rtc import EARLIEST_S, KEEP_EVERY_S, REACH_S, STEP_S, SystemTime
from firmware.settings import Settings
from protocol import compose, wire
from tests.firmware import boards
from tests.firmware.conversation import Collector

NOON_S = 1_800_000_000


def test_a_new_board_begins_with_the_year_of_its_firmware() -> None:
    hal = boards.MemoryHal()
    SystemTime(hal).start()
    assert hal.rtc_s == [EARLIEST_S]


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
    for _ in range(REACH_S // STEP_S + 1):
        system_time.move_on()
    assert hal.rtc_s[1] == EARLIEST_S + STEP_S
    assert max(hal.rtc_s) > EARLIEST_S + REACH_S - STEP_S
    assert hal.rtc_s[-1] == EARLIEST_S


def test_a_known_time_does_not_move_on() -> None:
    hal = boards.MemoryHal()
    system_time = SystemTime(hal)
    system_time.start()
    system_time.known(NOON_S)
    system_time.move_on()
    assert hal.rtc_s[-1] == NOON_S


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
    assert hal.rtc_s == [EARLIEST_S]
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

    def untimely(self) -> bool:
        self.tries -= 1
        return self.tries >= 0


def test_a_certificate_of_later_moves_the_guess_once_for_each_try() -> None:
    hal = boards.MemoryHal()
    hal.transport = Untimely()
    boards.run(started(hal), 10_000)
    assert hal.rtc_s == [EARLIEST_S + step * STEP_S for step in range(4)]
