"""The forwarder's pure parts: worklist, limits, selection's memory, frozen times, books."""

import random
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from collector.forward import delivery
from collector.forward.delivery import Count, DeadLetter, Settlement
from collector.forward.limits import Gate, Limits, TokenBucket, Way
from collector.forward.worklist import UNREADABLE, Cause, Worklist
from collector.ranges import Ranges
from collector.sinks.base import Rate
from collector.timeline.frozen_time import FrozenTimes, read_lines, write_lines


@pytest.fixture
def books() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    delivery.create(connection)
    yield connection
    connection.close()


def worklist(done: Ranges | None = None, newest: int = 100, live_from: int | None = 91) -> Worklist:
    work = Worklist()
    work.restore(done or Ranges(), newest, live_from)
    return work


def test_lanes_take_what_is_theirs_and_nothing_twice() -> None:
    work = worklist(Ranges([(1, 50)]))
    assert list(work.take("live", 4, 0)) == [(91, 94)]
    assert list(work.take("live", 100, 0)) == [(95, 100)]
    assert list(work.take("backlog", 100, 0)) == [(51, 90)]
    assert not work.take("backlog", 100, 0)
    assert not work.take("live", 100, 0)


def test_nothing_is_taken_that_is_not_there_yet() -> None:
    work = worklist(newest=5, live_from=None)
    assert list(work.take("backlog", 100, 0)) == [(1, 5)]
    work.finish([(1, 5)])
    assert work.open_count() == 0
    assert not work.take("backlog", 100, 0)
    work.arrived(7)
    assert list(work.take("backlog", 100, 0)) == [(6, 7)]


def test_waiting_held_and_deferred_frames_come_back() -> None:
    work = worklist(newest=96)
    ids = work.take("live", 10, 0)
    assert ids.count() == 6
    work.wait(91, 50.0)
    work.hold(92, Cause(1, 2))
    work.hold(93, UNREADABLE)
    work.defer(94)
    work.finish([(95, 96)])
    assert list(work.take("backlog", 200, 0)) == [(1, 90)]
    assert list(work.take("backlog", 200, 0)) == [(94, 94)]
    assert not work.take("backlog", 200, 49)
    assert list(work.take("backlog", 200, 50)) == [(91, 91)]
    work.let_go([Cause(1, 2)])
    assert list(work.take("backlog", 200, 50)) == [(92, 92)]
    assert work.held_count == 1


def test_the_oldest_are_found_wherever_they_are() -> None:
    work = worklist(newest=10, live_from=None)
    work.take("backlog", 3, 0)
    work.wait(2, 99.0)
    work.hold(3, UNREADABLE)
    assert list(work.take_oldest(3)) == [(2, 4)], "1 is under way"


def test_live_that_is_behind_becomes_backlog() -> None:
    work = worklist(newest=100)
    work.arrived(5000)
    assert work.catch_up(2000)
    assert not work.take("live", 10, 0)
    assert work.take("backlog", 10, 0).first == 1


def test_a_bucket_holds_its_rate() -> None:
    bucket = TokenBucket(Rate(per_s=0.5, burst=2))
    now_s, taken = 0.0, []
    for _ in range(10):
        now_s += bucket.wait_s(now_s)
        bucket.take(now_s)
        taken.append(round(now_s, 6))
    assert taken == [0, 0, 2, 4, 6, 8, 10, 12, 14, 16]
    with pytest.raises(ValueError, match="burst"):
        TokenBucket(Rate(per_s=1, burst=0))


def test_a_gate_waits_longer_each_time_and_opens_at_once() -> None:
    gate = Gate(random.Random(1))
    waits = [gate.failed(1000.0 * n, "away") for n in range(12)]
    assert waits[0] < 3
    assert all(wait <= 375 for wait in waits)
    assert waits[-1] > 200
    assert gate.failed(20_000.0, "busy", after_s=4000) == 4000
    assert gate.failed(40_000.0, "mad", after_s=1e12) <= 6 * 3600
    gate.succeeded()
    assert gate.wait_s(40_001.0) == 0


def test_addresses_are_forgotten_before_memory_grows() -> None:
    limits = Limits(None, Rate(per_s=1), random.Random(1), addresses_max=10)
    for number in range(1000):
        limits.take(f"a{number}", 0.0)
        limits.way_gate(Way(f"a{number}", "live")).failed(0.0, "no")
    assert len(limits.closed_addresses(0.5)) <= 10


def test_ranges_on_disk_grow_together(books: sqlite3.Connection) -> None:
    chance = random.Random(3)
    known = Ranges()
    for _ in range(300):
        first = chance.randint(1, 400)
        last = first + chance.randint(0, 9)
        known.add(first, last)
        delivery.settle(books, "a", Settlement(done=Ranges([(first, last)])))
    assert delivery.load(books, "a").done == known
    rows = books.execute("SELECT count(*) FROM done").fetchone()
    assert rows == (len(known),)


def test_a_replay_opens_exactly_its_range(books: sqlite3.Connection) -> None:
    delivery.settle(books, "a", Settlement(done=Ranges([(1, 100)])))
    delivery.settle(books, "b", Settlement(done=Ranges([(1, 100)])))
    delivery.replay(books, "a", 40, 60)
    assert list(delivery.load(books, "a").done) == [(1, 39), (61, 100)]
    assert list(delivery.load(books, "b").done) == [(1, 100)]
    assert delivery.first_needed(books, ["a", "b"]) == 40
    assert delivery.first_needed(books, ["a", "new"]) == 1
    assert delivery.first_needed(books, []) is None


def test_partial_frames_and_claims_survive(books: sqlite3.Connection) -> None:
    delivery.claim(books, "a", 7, Ranges([(3, 5), (9, 9)]), 1)
    delivery.settle(books, "a", Settlement(partial={3: 1 << 200 | 1}))
    state = delivery.load(books, "a")
    assert state.partial == {3: 1 << 200 | 1}
    assert list(state.claims[7]) == [(3, 5), (9, 9)]
    change = Settlement(done=Ranges([(3, 9)]), released={7})
    delivery.settle(books, "a", change)
    state = delivery.load(books, "a")
    assert (state.partial, state.claims) == ({}, {})


def test_dead_letters_have_a_limit(
    books: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "DEAD_LETTERS_MAX", 10)
    letters = [DeadLetter(frame, 0, "pm10", 0, "bad") for frame in range(25)]
    counts = Settlement(dead_letters=letters)
    counts.counts[Count("rejected", "bad", 1)] = 25
    delivery.settle(books, "a", counts)
    assert len(list(delivery.dead_letters(books, "a"))) == 10
    assert delivery.counts(books, "a")["a"][Count("rejected", "bad", 1)] == 25


def test_a_change_that_could_not_be_written_is_taken_over() -> None:
    earlier = Settlement(done=Ranges([(1, 3)]), partial={5: 1, 9: 2}, released={1})
    earlier.counts[Count("delivered", "", 1)] = 4
    later = Settlement(done=Ranges([(5, 5)]), released={2})
    later.counts[Count("delivered", "", 1)] = 6
    later.absorb(earlier)
    assert list(later.done) == [(1, 3), (5, 5)]
    assert later.partial == {9: 2}
    assert later.released == {1, 2}
    assert later.counts[Count("delivered", "", 1)] == 10


class Moment(NamedTuple):
    unix_ms: int


class Drifting:
    """A timeline that can be changed."""

    def __init__(self, offset_ms: int = 1000, ppm: int = 0) -> None:
        self.offset_ms = offset_ms
        self.ppm = ppm

    def time_of(self, node: int, boot: int, uptime_ms: int) -> Moment:
        return Moment(uptime_ms + self.offset_ms + uptime_ms * self.ppm // 1_000_000)


def test_an_even_clock_is_one_line_and_what_left_keeps_its_time(books: sqlite3.Connection) -> None:
    timeline = Drifting(ppm=40)
    frozen = FrozenTimes(timeline)
    frozen.learn([], [(1, 1)])
    for hour in range(100):
        line = frozen.line(1, 1, hour * 3_600_000, (hour + 1) * 3_600_000)
        assert line is not None
    rows = frozen.rows()
    assert len(rows) == 1
    write_lines(books, rows)
    frozen.written(rows)
    assert not frozen.rows()
    before = line.at(99 * 3_600_000)
    timeline.offset_ms += 5000
    again = FrozenTimes(timeline)
    assert again.unknown([(1, 1)]) == [(1, 1)]
    again.learn(read_lines(books, [(1, 1)]), [(1, 1)])
    kept = again.line(1, 1, 99 * 3_600_000, 100 * 3_600_000)
    assert kept is not None
    assert kept.at(99 * 3_600_000) == before
    fresh = again.line(1, 1, 200 * 3_600_000, 201 * 3_600_000)
    assert fresh is not None
    assert fresh.at(200 * 3_600_000) == timeline.time_of(1, 1, 200 * 3_600_000).unix_ms
