"""Positions: only over links that nobody reads, never from home, rounded; and clocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.node import Node
from firmware.places import Zone, rounded
from protocol import quantity as q
from protocol import wire
from protocol.columns import Column
from tests.firmware import boards
from tests.firmware.conversation import Collector

HOME = (5_700_000, -210_000)


class Fix:
    """A GPS at a place that the test chooses."""

    CHANNELS = (
        (q.LATITUDE, None),
        (q.LONGITUDE, None),
        (q.ALTITUDE, None),
        (q.HORIZONTAL_ACCURACY, None),
    )
    LEAD_MS = 0
    bus_errors = checksum_errors = 0

    def __init__(self) -> None:
        self.place = HOME
        self.ready = False
        self.times: list[tuple[int, int, int, int]] = []

    def begin(self, now_ms: int) -> None:
        self.ready = True

    def poll(self, now_ms: int) -> int:
        return -1

    def read(self, row: object) -> None:
        for index, value in enumerate((*self.place, 250, 40)):
            row.put(index, value, 0)  # type: ignore[attr-defined]
        self.ready = False

    def take_time(self) -> tuple[int, int, int, int] | None:
        return self.times.pop() if self.times else None


def play(gps: Fix, secure: bool, **settings: int | str) -> tuple[Node, dict[int, Column]]:
    """A minute of a mobile node; the columns of its first DATA by quantity."""
    hal = boards.MemoryHal()
    hal.transport.secure = secure
    node = boards.make_node(
        hal, [gps, boards.Ramp()], sample_interval_s=10, report_interval_s=30, **settings
    )
    node.start()
    boards.run(node, 1_500)
    collector = Collector(node)
    collector.ack(0)
    boards.run(node, 60_000)
    collector.ack()
    boards.run(node, 60_000)
    (samples,) = collector.heard(wire.T_DATA)[0].samples
    return node, {column.quantity: column for column in samples.columns}


def test_a_position_goes_over_a_secure_link() -> None:
    _, columns = play(Fix(), True)
    assert set(columns[q.LATITUDE].values) == {HOME[0]}
    assert set(columns[q.LONGITUDE].values) == {HOME[1]}
    assert columns[q.LATITUDE].qualities is None


def test_without_tls_no_position_is_told_and_people_are() -> None:
    node, columns = play(Fix(), False)
    for name in (q.LATITUDE, q.LONGITUDE, q.ALTITUDE, q.HORIZONTAL_ACCURACY):
        assert set(columns[name].values) == {0}
        assert set(columns[name].qualities or ()) == {wire.Q_MISSING}
    assert columns[q.TEMPERATURE].qualities is None
    texts = [frame.text for frame in Collector(node).heard(wire.T_LOG)]
    assert any(text and "position refused" in text for text in texts)


def test_live_tells_no_position_either() -> None:
    node, _ = play(Fix(), False)
    for frame in Collector(node).heard(wire.T_LIVE):
        for samples in frame.samples:
            for column in samples.columns:
                if column.quantity == q.LATITUDE:
                    assert set(column.values) == {0}


def test_home_is_never_told() -> None:
    zones = {"home_zone_2": "57.0005 -2.1005 200"}
    _, columns = play(Fix(), True, **zones)
    assert set(columns[q.LATITUDE].values) == {0}
    away = Fix()
    away.place = (HOME[0] + 500, HOME[1])
    _, columns = play(away, True, **zones)
    assert set(columns[q.LATITUDE].values) == {HOME[0] + 500}


def test_a_home_that_cannot_be_read_keeps_every_position_back() -> None:
    node, columns = play(Fix(), True, home_zone_1="near the church")
    assert set(columns[q.LATITUDE].values) == {0}
    texts = [frame.text for frame in Collector(node).heard(wire.T_LOG)]
    assert any(text and "home_zone_1" in text for text in texts)


def test_positions_are_rounded_on_the_board() -> None:
    gps = Fix()
    gps.place = (5_712_345, -212_345)
    _, columns = play(gps, True, position_decimals=3)
    assert set(columns[q.LATITUDE].values) == {5_712_300}
    assert set(columns[q.LONGITUDE].values) == {-212_300}


@pytest.mark.parametrize(
    ("place", "inside"),
    [
        ((5_214_500, 502_000), True),
        ((5_214_500 + 400, 502_000), True),
        ((5_214_500 + 460, 502_000), False),
        ((5_214_500, 502_000 + 700), True),
        ((5_214_500, 502_000 + 740), False),
    ],
)
def test_a_zone_is_a_circle_in_metres(place: tuple[int, int], inside: bool) -> None:
    assert Zone("52.145, 5.02, 500").holds(*place) == inside


def test_a_zone_at_the_date_line_holds_both_sides() -> None:
    zone = Zone("0 179.9999 100")
    assert zone.holds(0, 17_999_990)
    assert zone.holds(0, -17_999_990)
    assert not zone.holds(0, 0)


@given(st.integers(-18_000_000, 18_000_000), st.integers(2, 5))
def test_rounding_moves_by_half_a_step_at_most(value: int, decimals: int) -> None:
    step = 10 ** (5 - decimals)
    assert rounded(value, decimals) % step == 0
    assert abs(rounded(value, decimals) - value) * 2 <= step


def test_the_clock_is_set_from_a_gps() -> None:
    gps = Fix()
    gps.times = [(1_800_000_000_000, 5_000, 500, wire.CLOCK_GPS)]
    node, _ = play(gps, True)
    assert node.clock.source == wire.CLOCK_GPS
    assert node.clock.unix_ms(5_000) == 1_800_000_000_000
