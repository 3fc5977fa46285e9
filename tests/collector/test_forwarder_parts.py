"""The forwarder's pure parts: states, limits, selection's memory, frozen times, books."""

import random
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from collector.archive.parcels import commit_now
from collector.forward import book_tables
from collector.forward.book_tables import Count, DeadLetter, Entries
from collector.forward.limits import Gate, Limits, TokenBucket, Way
from collector.forward.states import TABLE, UNREADABLE, Cause, Event, Frames, Impossible, State
from collector.ranges import Ranges
from collector.sinks.base import Rate
from collector.timeline.frozen_time import FrozenTimes, read_lines


@pytest.fixture
def books() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    book_tables.create(connection)
    yield connection
    connection.close()


def frames_of(done: Ranges | None = None, newest: int = 100, live_from: int | None = 91) -> Frames:
    return Frames(done or Ranges(), (), newest, live_from)


def one(*frames: int) -> Ranges:
    return Ranges((frame, frame) for frame in frames)


def test_lanes_take_what_is_theirs_and_nothing_twice() -> None:
    frames = frames_of(Ranges([(1, 50)]))
    assert list(frames.take("live", 4, 0)) == [(91, 94)]
    assert list(frames.take("live", 100, 0)) == [(95, 100)]
    assert list(frames.take("backlog", 100, 0)) == [(51, 90)]
    assert not frames.take("backlog", 100, 0)
    assert not frames.take("live", 100, 0)


def test_nothing_is_taken_that_is_not_there_yet() -> None:
    frames = frames_of(newest=5, live_from=None)
    assert list(frames.take("backlog", 100, 0)) == [(1, 5)]
    frames.happened(Event.EMPTY, Ranges([(1, 5)]))
    assert frames.open_count() == 0
    assert not frames.take("backlog", 100, 0)
    frames.arrived(7)
    assert list(frames.take("backlog", 100, 0)) == [(6, 7)]


def test_waiting_held_and_put_off_frames_come_back() -> None:
    frames = frames_of(newest=96)
    assert frames.take("live", 10, 0).count() == 6
    frames.wait(91, 50.0)
    frames.hold(92, Cause(1, 2))
    frames.hold(93, UNREADABLE)
    frames.happened(Event.OLD, one(94))
    frames.happened(Event.EMPTY, Ranges([(95, 96)]))
    assert list(frames.take("backlog", 200, 0)) == [(1, 90)]
    assert list(frames.take("backlog", 200, 0)) == [(94, 94)]
    assert not frames.take("backlog", 200, 49)
    assert list(frames.take("backlog", 200, 50)) == [(91, 91)]
    frames.readable([Cause(1, 2)])
    assert list(frames.take("backlog", 200, 50)) == [(92, 92)]
    assert frames.count(State.HELD) == 1


def test_the_oldest_that_no_lane_has_are_found_wherever_they_are() -> None:
    frames = frames_of(newest=10, live_from=None)
    frames.take("backlog", 3, 0)
    frames.wait(2, 99.0)
    frames.hold(3, UNREADABLE)
    assert list(frames.oldest_expirable(3)) == [(2, 4)], "1 is under way"
    frames.happened(Event.EXPIRED, Ranges([(2, 4)]))
    assert frames.next_due_s() is None
    assert frames.causes == []


def test_live_that_is_behind_becomes_backlog() -> None:
    frames = frames_of(newest=100)
    frames.arrived(5000)
    assert frames.catch_up(2000)
    assert not frames.take("live", 10, 0)
    assert frames.take("backlog", 10, 0).first == 1


def put(state: State) -> Frames:
    """Frame 1 in this state, by the table's own ways; frames from 1 up are live's."""
    done, unknown = (Ranges([(1, 1)] if state is at else ()) for at in (State.DONE, State.UNKNOWN))
    frames = Frames(done, unknown, 1, 1)
    if state in (State.FREE, State.DONE, State.UNKNOWN):
        return frames
    frames.take("live", 1, 0)
    if state is State.PUT_OFF:
        frames.happened(Event.OLD, one(1))
    elif state is State.WAITING:
        frames.wait(1, 5.0)
    elif state is State.HELD:
        frames.hold(1, Cause(1, 2))
    elif state is State.CLAIMED:
        frames.happened(Event.CLAIM_COMMITTED, one(1))
    return frames


@pytest.mark.parametrize("event", [event for event in Event if event is not Event.RESTART])
@pytest.mark.parametrize("state", State)
def test_frames_move_as_the_table_says_and_never_else(state: State, event: Event) -> None:
    frames = put(state)
    assert frames.those((state,), one(1)) == one(1)
    follows = [move.follows for move in TABLE if (move.state, move.event) == (state, event)]
    if follows:
        frames.happened(event, one(1))
    else:
        with pytest.raises(Impossible, match=event.name):
            frames.happened(event, one(1))
    assert frames.those(follows or (state,), one(1)) == one(1)
    assert sum(frames.those((each,), one(1)).count() for each in State) == 1
    assert frames.open_count() == ((follows or [state])[0] is not State.DONE)


def test_a_row_stands_once() -> None:
    assert len({(move.state, move.event) for move in TABLE}) == len(TABLE)
    assert {move.state for move in TABLE if move.event is Event.RESTART} == set(State)


def test_what_the_table_does_not_have_moves_no_frame() -> None:
    frames = frames_of(Ranges([(1, 3)]), newest=8, live_from=None)
    frames.take("backlog", 2, 0)
    for event, ids in (
        (Event.SETTLED, one(4)),
        (Event.EMPTY, one(4, 5, 6)),
        (Event.REPLAYED, one(3, 4)),
        (Event.TAKEN, one(8, 9)),
    ):
        with pytest.raises(Impossible, match=event.name):
            frames.happened(event, ids)
    assert list(frames.those((State.TAKEN,), [(1, 9)])) == [(4, 5)]
    assert list(frames.those((State.FREE,), [(1, 9)])) == [(6, 8)]


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
        book_tables.enter_apart(books, "a", Entries(done=Ranges([(first, last)])))
    assert book_tables.load(books, "a").done == known
    rows = books.execute("SELECT count(*) FROM done").fetchone()
    assert rows == (len(known),)


def test_a_replay_opens_exactly_its_range(books: sqlite3.Connection) -> None:
    book_tables.enter_apart(books, "a", Entries(done=Ranges([(1, 100)])))
    book_tables.enter_apart(books, "b", Entries(done=Ranges([(1, 100)])))
    book_tables.replay(books, "a", 40, 60)
    assert list(book_tables.load(books, "a").done) == [(1, 39), (61, 100)]
    assert list(book_tables.load(books, "b").done) == [(1, 100)]
    assert book_tables.first_needed(books, ["a", "b"]) == 40
    assert book_tables.first_needed(books, ["a", "new"]) == 1
    assert book_tables.first_needed(books, []) is None


def test_partial_frames_and_claims_survive(books: sqlite3.Connection) -> None:
    book_tables.claim(books, "a", 7, Ranges([(3, 5), (9, 9)]), 1)
    book_tables.enter_apart(books, "a", Entries(partial={3: 1 << 200 | 1}))
    state = book_tables.load(books, "a")
    assert state.partial == {3: 1 << 200 | 1}
    assert list(state.claims[7]) == [(3, 5), (9, 9)]
    change = Entries(done=Ranges([(3, 9)]), released={7})
    book_tables.enter_apart(books, "a", change)
    state = book_tables.load(books, "a")
    assert (state.partial, state.claims) == ({}, {})


def test_dead_letters_have_a_limit(
    books: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_tables, "DEAD_LETTERS_MAX", 10)
    letters = [DeadLetter(frame, 0, "pm10", 0, "bad") for frame in range(25)]
    counts = Entries(dead_letters=letters)
    counts.counts[Count("rejected", "bad", 1)] = 25
    book_tables.enter_apart(books, "a", counts)
    assert len(list(book_tables.dead_letters(books, "a"))) == 10
    assert book_tables.counts(books, "a")["a"][Count("rejected", "bad", 1)] == 25


def test_entries_take_over_what_came_later() -> None:
    earlier = Entries(done=Ranges([(1, 3)]), partial={5: 1, 9: 2}, released={1})
    earlier.counts[Count("delivered", "", 1)] = 4
    later = Entries(done=Ranges([(5, 5)]), released={2}, partial={9: 6})
    later.counts[Count("delivered", "", 1)] = 6
    earlier.add(later)
    assert list(earlier.done) == [(1, 3), (5, 5)]
    assert earlier.partial == {9: 6}
    assert earlier.released == {1, 2}
    assert earlier.counts[Count("delivered", "", 1)] == 10


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
    frozen.take().failed()
    commit_now(books, [frozen.take()])
    assert len(read_lines(books, [(1, 1)])) == 1
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
