"""What each sink has done: ranges of frames, claims before sending, parts, dead letters, counts.

Every function takes a connection inside the writer's transaction. A frame that is in `done` has
all its readings settled: delivered, rejected, left out, or expired; `delivery_count` says how many
of each, by node and reason. A claim in `inflight` is committed before anything of it is sent.
Counts are of what was done, so they outlive frames: `replayed` says what was settled when frames
were opened again (`settled` None: all of them), `forgotten` what was settled of frames that
retention removed. With both the counts can be compared with the frames.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.ranges import Ranges

TABLES = (
    """CREATE TABLE IF NOT EXISTS done (
        sink TEXT NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
        PRIMARY KEY (sink, first_id)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS inflight (
        sink TEXT NOT NULL, batch INTEGER NOT NULL, first_id INTEGER NOT NULL,
        last_id INTEGER NOT NULL, sent_ms INTEGER NOT NULL,
        PRIMARY KEY (sink, batch, first_id)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS partial (
        sink TEXT NOT NULL, frame INTEGER NOT NULL, settled BLOB NOT NULL,
        PRIMARY KEY (sink, frame)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS rejected (
        sink TEXT NOT NULL, frame INTEGER NOT NULL, reading INTEGER NOT NULL,
        channel TEXT NOT NULL, time_ms INTEGER NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY (sink, frame, reading)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS delivery_count (
        sink TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, node INTEGER NOT NULL,
        readings INTEGER NOT NULL, PRIMARY KEY (sink, outcome, reason, node)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS replayed (
        sink TEXT NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
        settled INTEGER)""",
    """CREATE TABLE IF NOT EXISTS forgotten (
        sink TEXT NOT NULL, node INTEGER NOT NULL, readings INTEGER NOT NULL,
        PRIMARY KEY (sink, node)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS upstream_id (
        sink TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (sink, name)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS frozen_time (
        node INTEGER NOT NULL, boot INTEGER NOT NULL, number INTEGER NOT NULL,
        first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, anchor_ms INTEGER NOT NULL,
        unix_ms INTEGER NOT NULL, slope_ppb INTEGER NOT NULL,
        PRIMARY KEY (node, boot, number)) WITHOUT ROWID""",
)

DELIVERED = "delivered"
REJECTED = "rejected"
LEFT_OUT = "left_out"
EXPIRED = "expired"
POSSIBLE_DUPLICATE = "possible_duplicate"
SETTLING = (DELIVERED, REJECTED, LEFT_OUT, EXPIRED)

DEAD_LETTERS_MAX = 100_000


class Count(NamedTuple):
    """Key of a counter on the ledger."""

    outcome: str
    reason: str
    node: int


class DeadLetter(NamedTuple):
    """A reading that a network refused for ever."""

    frame: int
    reading: int
    channel: str
    time_ms: int
    reason: str


@dataclass(slots=True)
class Entries:
    """What has become of readings and frames, gathered and written in one transaction."""

    done: Ranges = field(default_factory=Ranges)
    released: set[int] = field(default_factory=set)
    partial: dict[int, int] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    counts: Counter[Count] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.done or self.released or self.partial or self.counts)

    def add(self, later: "Entries") -> None:
        """Takes over entries that were made after these."""
        self.done.update(later.done)
        self.released |= later.released
        self.partial |= later.partial
        self.partial = {f: mask for f, mask in self.partial.items() if f not in later.done}
        self.dead_letters += later.dead_letters
        self.counts.update(later.counts)


@dataclass(slots=True)
class SinkState:
    """What a sink's tables hold at start."""

    done: Ranges
    claims: dict[int, Ranges]
    partial: dict[int, int]
    chosen_ms: dict[int, int] = field(default_factory=dict)
    """When the readings of each claim were chosen."""
    replays: list[tuple[int, int, int | None]] = field(default_factory=list)

    def settled(self, frame: int, readings: int) -> int:
        """How many of a frame's readings are settled now."""
        if frame in self.done:
            return readings
        return self.partial.get(frame, 0).bit_count()

    def booked(self, frame: int, readings: int) -> int:
        """How many settled readings of a frame the counts hold, each round of replay counted."""
        before = sum(
            readings if settled is None else settled
            for first, last, settled in self.replays
            if first <= frame <= last
        )
        return self.settled(frame, readings) + before


def create(connection: sqlite3.Connection) -> None:
    """Makes the tables of this module where they are missing."""
    for statement in TABLES:
        connection.execute(statement)


def has_books(connection: sqlite3.Connection) -> bool:
    """Whether a collector has made the tables of this module."""
    return _is_there(connection, "done")


def _is_there(connection: sqlite3.Connection, table: str) -> bool:
    row = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return row is not None


def load(connection: sqlite3.Connection, sink: str) -> SinkState:
    """Reads the whole state of one sink."""
    done = Ranges(
        connection.execute("SELECT first_id, last_id FROM done WHERE sink = ? ORDER BY 2", (sink,))
    )
    claims: dict[int, Ranges] = {}
    chosen_ms: dict[int, int] = {}
    for batch, first, last, at_ms in connection.execute(
        "SELECT batch, first_id, last_id, sent_ms FROM inflight WHERE sink = ? ORDER BY 1, 2",
        (sink,),
    ):
        claims.setdefault(batch, Ranges()).add(first, last)
        chosen_ms[batch] = at_ms
    partial = {
        frame: int.from_bytes(settled, "little")
        for frame, settled in connection.execute(
            "SELECT frame, settled FROM partial WHERE sink = ?", (sink,)
        )
    }
    state = SinkState(done, claims, partial, chosen_ms)
    if _is_there(connection, "replayed"):  # not in an archive that only an older version has run
        state.replays += connection.execute(
            "SELECT first_id, last_id, settled FROM replayed WHERE sink = ?", (sink,)
        )
    return state


def claim(
    connection: sqlite3.Connection, sink: str, batch: int, frames: Ranges, chosen_ms: int
) -> None:
    """Notes that what was chosen of these frames then may be sent; commit before sending."""
    connection.executemany(
        "INSERT INTO inflight VALUES (?, ?, ?, ?, ?)",
        [(sink, batch, first, last, chosen_ms) for first, last in frames],
    )


def enter(connection: sqlite3.Connection, sink: str, entries: Entries) -> None:
    """Writes what became of frames, and lets go of claims; all but counts.

    Writing it twice changes nothing.
    """
    for first, last in entries.done:
        _add_range(connection, sink, first, last)
        connection.execute(
            "DELETE FROM partial WHERE sink = ? AND frame BETWEEN ? AND ?", (sink, first, last)
        )
    connection.executemany(
        "INSERT OR REPLACE INTO partial VALUES (?, ?, ?)",
        [
            (sink, frame, mask.to_bytes((mask.bit_length() + 7) // 8, "little"))
            for frame, mask in entries.partial.items()
        ],
    )
    connection.executemany(
        "DELETE FROM inflight WHERE sink = ? AND batch = ?",
        [(sink, batch) for batch in entries.released],
    )
    _bury(connection, sink, entries.dead_letters)


def put_totals(connection: sqlite3.Connection, sink: str, totals: Mapping[Count, int]) -> None:
    """Sets counters."""
    connection.executemany(
        "INSERT OR REPLACE INTO delivery_count VALUES (?, ?, ?, ?, ?)",
        [(sink, *key, readings) for key, readings in totals.items() if readings],
    )


def enter_apart(connection: sqlite3.Connection, sink: str, entries: Entries) -> None:
    """Writes entries and adds their counts, for a sink that is not running."""
    enter(connection, sink, entries)
    known = counts(connection, sink).get(sink, {})
    totals = {key: known.get(key, 0) + readings for key, readings in entries.counts.items()}
    put_totals(connection, sink, totals)


def counts(connection: sqlite3.Connection, sink: str | None = None) -> dict[str, dict[Count, int]]:
    """Readings by sink, outcome, reason and node."""
    found: dict[str, dict[Count, int]] = {}
    for name, outcome, reason, node, readings in connection.execute(
        "SELECT * FROM delivery_count WHERE ?1 IS NULL OR sink = ?1", (sink,)
    ):
        found.setdefault(name, {})[Count(outcome, reason, node)] = readings
    return found


def first_needed(connection: sqlite3.Connection, sinks: Iterable[str]) -> int | None:
    """Smallest frame id that one of these sinks has not settled, None without sinks.

    Retention keeps this frame and all after it.
    """
    needed: list[int] = []
    for sink in sinks:
        row = connection.execute(
            "SELECT first_id, last_id FROM done WHERE sink = ? ORDER BY first_id LIMIT 1", (sink,)
        ).fetchone()
        needed.append(row[1] + 1 if row and row[0] <= 1 else 1)
    return min(needed, default=None)


def forget_frames(
    connection: sqlite3.Connection, sink: str, frames: Iterable[tuple[int, int, int]]
) -> None:
    """Notes what was settled of (frame id, node, readings) that the archive is about to remove."""
    state = load(connection, sink)
    forgotten: Counter[int] = Counter()
    for frame, node, readings in frames:
        forgotten[node] += state.booked(frame, readings)
    connection.executemany(
        "INSERT INTO forgotten VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET readings = readings + excluded.readings",
        [(sink, node, readings) for node, readings in forgotten.items() if readings],
    )


def forgotten(connection: sqlite3.Connection, sink: str) -> dict[int, int]:
    """By node, settled readings on the counts whose frames were removed."""
    if not _is_there(connection, "forgotten"):
        return {}
    return dict(
        connection.execute(
            "SELECT node, readings FROM forgotten WHERE sink = ?", (sink,)
        ).fetchall()
    )


def sinks(connection: sqlite3.Connection) -> list[str]:
    """Every sink that has counted anything."""
    if not has_books(connection):
        return []
    return [row[0] for row in connection.execute("SELECT DISTINCT sink FROM delivery_count")]


def replays(connection: sqlite3.Connection, sink: str) -> int:
    """How many ranges and parts of frames were ever opened again; only rises."""
    row = connection.execute("SELECT count(*) FROM replayed WHERE sink = ?", (sink,)).fetchone()
    return int(row[0])


def replay(connection: sqlite3.Connection, sink: str, first_id: int, last_id: int) -> None:
    """Makes a sink send these frames again; its counters stay, for they count what was sent."""
    again: list[tuple[int, int, int | None]] = [
        (frame, frame, int.from_bytes(mask, "little").bit_count())
        for frame, mask in connection.execute(
            "SELECT frame, settled FROM partial WHERE sink = ? AND frame BETWEEN ? AND ?",
            (sink, first_id, last_id),
        )
    ]
    for first, last in connection.execute(
        "SELECT first_id, last_id FROM done WHERE sink = ? AND first_id <= ? AND last_id >= ?",
        (sink, last_id, first_id),
    ).fetchall():
        connection.execute("DELETE FROM done WHERE sink = ? AND first_id = ?", (sink, first))
        if first < first_id:
            _add_range(connection, sink, first, first_id - 1)
        if last > last_id:
            _add_range(connection, sink, last_id + 1, last)
        again.append((max(first, first_id), min(last, last_id), None))
    connection.executemany(
        "INSERT INTO replayed VALUES (?, ?, ?, ?)", [(sink, *round_) for round_ in again]
    )
    for table in ("partial", "rejected"):
        connection.execute(
            f"DELETE FROM {table} WHERE sink = ? AND frame BETWEEN ? AND ?",
            (sink, first_id, last_id),
        )


def dead_letters(
    connection: sqlite3.Connection, sink: str, limit: int = 1000
) -> Iterator[DeadLetter]:
    """Readings that the network refused for ever, oldest frame first."""
    for row in connection.execute(
        "SELECT frame, reading, channel, time_ms, reason FROM rejected WHERE sink = ?"
        " ORDER BY frame, reading LIMIT ?",
        (sink, limit),
    ):
        yield DeadLetter(*row)


def ids(connection: sqlite3.Connection, sink: str) -> dict[str, str]:
    """Ids that a network gave to our entities."""
    return dict(
        connection.execute("SELECT name, id FROM upstream_id WHERE sink = ?", (sink,)).fetchall()
    )


def keep_ids(connection: sqlite3.Connection, sink: str, found: Mapping[str, str]) -> None:
    """Keeps ids of entities."""
    connection.executemany(
        "INSERT OR REPLACE INTO upstream_id VALUES (?, ?, ?)",
        [(sink, name, id) for name, id in found.items()],
    )


def _add_range(connection: sqlite3.Connection, sink: str, first: int, last: int) -> None:
    """Adds a range; those it touches become one with it."""
    before = connection.execute(
        "SELECT first_id, last_id FROM done WHERE sink = ? AND first_id <= ?"
        " ORDER BY first_id DESC LIMIT 1",
        (sink, first),
    ).fetchone()
    if before and before[1] >= first - 1:
        first = before[0]
        last = max(last, before[1])
    after = connection.execute(
        "SELECT max(last_id) FROM done WHERE sink = ? AND first_id BETWEEN ? AND ?",
        (sink, first, last + 1),
    ).fetchone()
    last = max(last, after[0] or 0)
    connection.execute(
        "DELETE FROM done WHERE sink = ? AND first_id BETWEEN ? AND ?", (sink, first, last)
    )
    connection.execute("INSERT INTO done VALUES (?, ?, ?)", (sink, first, last))


def _bury(connection: sqlite3.Connection, sink: str, letters: Iterable[DeadLetter]) -> None:
    letters = list(letters)
    if not letters:
        return
    (kept,) = connection.execute("SELECT count(*) FROM rejected WHERE sink = ?", (sink,)).fetchone()
    connection.executemany(
        "INSERT OR REPLACE INTO rejected VALUES (?, ?, ?, ?, ?, ?)",
        [(sink, *letter) for letter in letters[: max(0, DEAD_LETTERS_MAX - kept)]],
    )
