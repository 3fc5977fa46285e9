"""The archive: a log of frames in SQLite, appended only.

Functions take a connection inside the writer's transaction, or a reader's. Times of a frame are
`received_ms`, by the collector, and `first_ms`, `last_ms`, uptimes by the node's own clock.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from collector.archive import schema
from collector.archive.identity import new_collector
from collector.ranges import Ranges

OK = 0
UNDECODED = 1
CONFLICT = 2
FAILED = 3
STATES = {OK: "ok", UNDECODED: "undecoded", CONFLICT: "conflict", FAILED: "failed"}
"""FAILED is undecoded too: processing the frame raised an error, so nobody tries again."""

SNAPSHOT_KEY = "snapshot_id"
REMOVED_KEY = "removed_frames"
"""How many frames retention and leaving nodes took out, for whoever compares ledger and frames."""

PAGE_BYTES = 4096
BUSY_TIMEOUT_MS = 10_000
CACHE_KIB = 2_048
CHECKPOINT_PAGES = 1_000
STARTS_MAX = 10_000
JOURNAL_BYTES_MAX = 8 * 1024 * 1024

_START_SHIFT = 42
_COLUMNS = "id, node, boot, seq, type, state, received, first_ms, last_ms, raw"
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_CHUNKS = (64, 16, 4, 1)
_INSERTS = {
    rows: f"INSERT INTO frame ({_COLUMNS}) VALUES " + ", ".join([_ROW] * rows) for rows in _CHUNKS
}
_RESERVED_IDS = 4_096


class StoredFrame(NamedTuple):
    """One row of the archive; id 0 means: not stored yet."""

    id: int
    node: int
    boot: int
    seq: int
    type: int
    state: int
    received_ms: int
    first_ms: int
    last_ms: int
    raw: bytes


def open_archive(path: Path | str, *, durable: bool = True) -> sqlite3.Connection:
    """Opens the archive for writing, making it when it is not there yet.

    `durable` False, for simulations, leaves out what makes a commit survive a power cut. Raises
    SchemaError for a file that is not an archive, or of another version.
    """
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000
    )
    try:
        if schema.is_empty(connection):
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES_MAX}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if schema.is_empty(connection):
            schema.create(connection, new_collector())
        schema.require_current(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path | str) -> sqlite3.Connection:
    """A second connection that cannot write; sees what is committed.

    A log that is there is never touched, for a damaged one is evidence. Where there is none SQLite
    makes an empty one to read, and only a connection that might write takes it away again. Who may
    make no file there reads the database as one that nobody changes.
    """
    path = Path(path).resolve()
    if path.with_name(f"{path.name}-wal").exists():
        how = "mode=ro"
    elif all(os.access(place, os.W_OK, effective_ids=True) for place in (path, path.parent)):
        how = "mode=rw"
    else:
        how = "mode=ro&immutable=1"
    connection = sqlite3.connect(
        f"{path.as_uri()}?{how}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_MS / 1000,
    )
    connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


class Checkpoint:
    """Moves the log into the database once it has grown; called after each commit.

    SQLite's own automatic checkpoint hides a failing fsync, so it is off. Readers are not waited
    for: while one holds an old view, the log grows on until a later commit.
    """

    def __init__(self, pages: int = CHECKPOINT_PAGES) -> None:
        self._bytes = pages * PAGE_BYTES
        self._log = ""
        self._due_bytes = self._bytes

    def __call__(self, connection: sqlite3.Connection) -> bool:
        """True when it was time to; sqlite3.Error when that failed, and nothing is lost then."""
        if not self._log:
            main = connection.execute("PRAGMA database_list").fetchone()[2]
            self._log = f"{main}-wal"
        size_bytes = self._size_bytes()
        if size_bytes < self._due_bytes:
            return False
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        self._due_bytes = self._size_bytes() + self._bytes
        return True

    def _size_bytes(self) -> int:
        try:
            return os.stat(self._log).st_size  # noqa: PTH116 - Path costs a commit twice as much
        except OSError:
            return 0


def append(connection: sqlite3.Connection, frame: StoredFrame) -> int:
    """Stores one frame; returns its id."""
    return append_many(connection, [frame])


def append_many(connection: sqlite3.Connection, frames: Sequence[StoredFrame]) -> int:
    """Stores frames in their order; the ids are consecutive, the last one is returned.

    Many rows go in one statement: each statement lets other threads run, and a busy event loop
    then keeps the lock for milliseconds.
    """
    position = 0
    last_id = newest_id(connection)
    _reserve(connection, last_id + len(frames))
    for rows in _CHUNKS:
        while len(frames) - position >= rows:
            values: list[int | bytes] = []
            for frame in frames[position : position + rows]:
                last_id += 1
                values.append(last_id)
                values += frame[1:]
            connection.execute(_INSERTS[rows], values)
            position += rows
    return last_id


def _reserve(connection: sqlite3.Connection, last_id: int) -> None:
    """Moves AUTOINCREMENT's counter ahead of ids that are given explicitly.

    Left to itself SQLite writes that counter, a page of its own, with every commit.
    """
    if _sequence(connection) >= last_id:
        return
    ahead = last_id + _RESERVED_IDS
    changed = connection.execute(
        "UPDATE sqlite_sequence SET seq = ? WHERE name = 'frame'", (ahead,)
    ).rowcount
    if not changed:
        connection.execute("INSERT INTO sqlite_sequence VALUES ('frame', ?)", (ahead,))


def _sequence(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'frame'").fetchone()
    return int(row[0]) if row else 0


def newest_id(connection: sqlite3.Connection) -> int:
    """Largest id ever given, 0 in a new archive; never falls when frames are erased."""
    (newest,) = connection.execute(
        "SELECT max(coalesce((SELECT max(id) FROM frame), 0),"
        " coalesce((SELECT value FROM meta WHERE key = ?), 0))",
        (schema.ID_FLOOR_KEY,),
    ).fetchone()
    return int(newest)


def raise_ids_above(connection: sqlite3.Connection, last_id: int) -> None:
    """Lets the next frame's id be larger than last_id, whatever was erased or restored."""
    if newest_id(connection) < last_id:
        put_meta(connection, schema.ID_FLOOR_KEY, last_id)


def frames(
    connection: sqlite3.Connection,
    first_id: int,
    last_id: int,
    limit: int,
    node: int | None = None,
) -> Iterator[StoredFrame]:
    """At most `limit` frames with first_id <= id <= last_id, in the order they were stored."""
    clock = ReceiptClock(connection)
    if node is None:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM frame WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (first_id, last_id, limit),
        )
    else:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM frame WHERE id BETWEEN ? AND ? AND node = ?"
            " ORDER BY id LIMIT ?",
            (first_id, last_id, node, limit),
        )
    return map(clock.stored, rows)


def frames_by_id(
    connection: sqlite3.Connection, ids: Ranges, node: int | None = None
) -> Iterator[StoredFrame]:
    """The frames of these ids, in order; those of other nodes are left out when node is given."""
    clock = ReceiptClock(connection)
    for first, last in ids:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM frame WHERE id BETWEEN ? AND ? ORDER BY id", (first, last)
        )
        for row in rows:
            if node is None or row[1] == node:
                yield clock.stored(row)


def frame_by_id(connection: sqlite3.Connection, frame_id: int) -> StoredFrame | None:
    """One frame, None when it was never stored or is gone."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM frame WHERE id = ?", (frame_id,)).fetchone()
    return None if row is None else ReceiptClock(connection).stored(row)


def set_state(connection: sqlite3.Connection, frame_id: int, state: int) -> None:
    """Changes what is known of a frame: decodable or not."""
    connection.execute("UPDATE frame SET state = ? WHERE id = ?", (state, frame_id))


def get_meta(connection: sqlite3.Connection, key: str) -> int | str | None:
    """A value that the archive keeps about itself."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def put_meta(connection: sqlite3.Connection, key: str, value: int | str) -> None:
    """Keeps a value about the archive itself."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def begin_start(connection: sqlite3.Connection, monotonic_ms: int) -> int:
    """Notes a start of the collector; returns its number, for receipts without a wall clock."""
    cursor = connection.execute("INSERT INTO start (began_ms) VALUES (?)", (monotonic_ms,))
    return cursor.lastrowid or 0


def is_unused(connection: sqlite3.Connection) -> bool:
    """True for an archive with which no collector has started yet."""
    return connection.execute("SELECT 1 FROM start LIMIT 1").fetchone() is None


def date_start(connection: sqlite3.Connection, number: int, unix_at_zero_ms: int) -> None:
    """Says what Unix time it was when the monotonic clock of a start stood at zero."""
    connection.execute(
        "UPDATE start SET unix_at_zero_ms = ? WHERE number = ?", (unix_at_zero_ms, number)
    )


def forget_starts(connection: sqlite3.Connection, keep: int = STARTS_MAX) -> None:
    """Keeps the newest starts only: a collector that crashes in a loop must not fill the disk."""
    connection.execute(
        "DELETE FROM start WHERE unix_at_zero_ms IS NULL AND number <"
        " (SELECT max(number) FROM start) - ?",
        (keep,),
    )


def undated_receipt(start: int, monotonic_ms: int) -> int:
    """Receipt stamp of a collector whose clock is not synchronised: negative, so never mistaken."""
    return -(start << _START_SHIFT | monotonic_ms)


class ReceiptClock:
    """Turns stored receipt stamps into Unix ms; what cannot be dated stays negative."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._starts: dict[int, int | None] = {}

    def unix_ms(self, received: int) -> int:
        """Unix ms of a receipt stamp, or the stamp itself while its start is not dated."""
        if received >= 0:
            return received
        number = -received >> _START_SHIFT
        if number not in self._starts:
            row = self._connection.execute(
                "SELECT unix_at_zero_ms FROM start WHERE number = ?", (number,)
            ).fetchone()
            self._starts[number] = row[0] if row else None
        zero_ms = self._starts[number]
        return received if zero_ms is None else zero_ms + (-received & ((1 << _START_SHIFT) - 1))

    def stored(self, row: tuple[int, int, int, int, int, int, int, int, int, bytes]) -> StoredFrame:
        """A row of `frame` with its receipt dated."""
        if row[6] >= 0:
            return StoredFrame(*row)
        return StoredFrame(*row[:6], self.unix_ms(row[6]), *row[7:])
