"""Frames that are not authentic, or of unknown nodes: kept as evidence, and for adoption.

They live in a file of their own, a ring within fixed bounds, written at most ten times a minute;
what does not fit is only counted. Boards keep what is not acknowledged, so nothing is lost here.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collector.archive.parcels import commit
from collector.archive.writer import WriteFailed, Writer
from collector.clock import Clock

BYTES_MAX = 16 * 1024 * 1024
FRAMES_PER_NODE = 64
NODES_MAX = 1_000
WRITES_PER_MINUTE = 10
FRAMES_PER_WRITE = 32
REASONS_MAX = 10_000
GATHER_S = 1.0
NUMBER_MAX = 0x7FFFFFFF
ROW_BYTES = 64
"""What a row costs beyond its frame, for the ring's bound."""

NO_NODE = -1
UNKNOWN_NODE = "unknown_node"

_TABLES = """
CREATE TABLE IF NOT EXISTS held (
    id INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL, reason TEXT NOT NULL,
    source TEXT NOT NULL, received_ms INTEGER NOT NULL, raw BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS counted (
    node INTEGER NOT NULL, reason TEXT NOT NULL, frames INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, PRIMARY KEY (node, reason)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A frame in quarantine; `node` is what it claims, -1 when it claims nothing readable."""

    id: int
    node: int
    reason: str
    source: str
    received_ms: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """How often a claimed node was refused for a reason."""

    node: int
    reason: str
    frames: int
    last_ms: int


def open_quarantine(path: Path | str) -> sqlite3.Connection:
    """Opens the quarantine's file, making it when it is not there."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 1048576")
    connection.executescript(_TABLES)
    return connection


class Quarantine:
    """Gathers refused frames; `flush` writes them when the write rate allows."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._waiting: dict[int, list[Held]] = {}
        self._frames = 0
        self._counts: Counter[tuple[int, str]] = Counter()
        self._leaving: _Refused | None = None
        self._next_write_ms = 0
        self.counted = 0
        self.only_counted = 0
        self.failures = 0
        self._offered = asyncio.Event()

    def offer(self, raw: bytes, node: int | None, reason: str, source: str) -> None:
        """Takes a refused frame; it is held when there is room, and counted in any case."""
        claimed = NO_NODE if node is None else node
        self.counted += 1
        self._offered.set()
        key = claimed, reason
        if key in self._counts or len(self._counts) < REASONS_MAX:
            self._counts[key] += 1
        held = self._waiting.get(claimed)
        if held is None:
            if len(self._waiting) >= FRAMES_PER_WRITE:
                self.only_counted += 1
                return
            held = self._waiting[claimed] = []
        elif self._frames >= FRAMES_PER_WRITE or any(raw == other.raw for other in held):
            self.only_counted += 1
            return
        held.append(Held(0, claimed, reason, source, self._clock.unix_ms(), raw))
        self._frames += 1

    @property
    def due_ms(self) -> int | None:
        """Monotonic time of the next write, None when nothing waits."""
        return self._next_write_ms if self._counts or self._leaving else None

    async def run(self) -> None:
        """Writes what was offered a second later, or when the rate allows it; for ever."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            while (due_ms := self.due_ms) is not None:
                rest_ms = due_ms - self._clock.monotonic_ms()
                await asyncio.sleep(max(GATHER_S, rest_ms / 1000))
                await self.flush()

    async def flush(self) -> bool:
        """Writes what waits, unless the last write was less than six seconds ago."""
        now_ms = self._clock.monotonic_ms()
        if self.due_ms is None or now_ms < self._next_write_ms:
            return False
        self._next_write_ms = now_ms + 60_000 // WRITES_PER_MINUTE
        if self._leaving is None:
            held = [frame for frames in self._waiting.values() for frame in frames]
            counts, self._counts = self._counts, Counter()
            self._waiting = {}
            self._frames = 0
            unix_ms = self._clock.unix_ms()
            self._leaving = _Refused(self, held[:FRAMES_PER_WRITE], counts, unix_ms)
        try:
            await commit(self._writer, [self._leaving], urgent=True)
        except WriteFailed:
            self.failures += 1
            return False
        return True

    def written(self) -> None:
        """What was on its way is on the disk; until then it is tried again."""
        self._leaving = None


class _Refused:
    """Frames and counts on their way: a parcel that is written once, however often it is tried.

    The file's number says which one was written last.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        held: list[Held],
        counts: Counter[tuple[int, str]],
        unix_ms: int,
    ) -> None:
        self._quarantine = quarantine
        self._held = held
        self._counts = counts
        self._unix_ms = unix_ms
        self._number: int | None = None

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        (last,) = connection.execute("PRAGMA user_version").fetchone()
        if last == self._number:
            return
        self._number = last % NUMBER_MAX + 1
        connection.execute(f"PRAGMA user_version = {self._number}")
        _write(connection, self._held, self._counts, self._unix_ms)

    def committed(self) -> None:
        """See Parcel."""
        self._quarantine.written()

    def failed(self) -> None:
        """See Parcel."""  # it stays the one that is written next

    def unknown(self) -> None:
        """See Parcel."""


def _write(
    connection: sqlite3.Connection, held: list[Held], counts: Counter[tuple[int, str]], unix_ms: int
) -> None:
    connection.executemany(
        "INSERT INTO held (node, reason, source, received_ms, raw) VALUES (?, ?, ?, ?, ?)",
        [(f.node, f.reason, f.source, f.received_ms, f.raw) for f in held],
    )
    for (node, reason), frames in counts.items():
        if _counter_has_room(connection, node, reason):
            connection.execute(
                "INSERT INTO counted VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET frames = frames + excluded.frames, last_ms = excluded.last_ms",
                (node, reason, frames, unix_ms),
            )
    for node in {frame.node for frame in held}:
        connection.execute(
            "DELETE FROM held WHERE node = ?1 AND id NOT IN"
            " (SELECT id FROM held WHERE node = ?1 ORDER BY id DESC LIMIT ?2)",
            (node, FRAMES_PER_NODE),
        )
    _keep_to_nodes(connection)
    _keep_to_ring(connection)


def _keep_to_nodes(connection: sqlite3.Connection) -> None:
    """Forgets the claimed nodes that were silent for longest when there are too many."""
    connection.execute(
        "DELETE FROM held WHERE node IN (SELECT node FROM held GROUP BY node"
        " ORDER BY max(id) DESC LIMIT -1 OFFSET ?)",
        (NODES_MAX,),
    )


def _counter_has_room(connection: sqlite3.Connection, node: int, reason: str) -> bool:
    key = (node, reason)
    known = connection.execute("SELECT 1 FROM counted WHERE node = ? AND reason = ?", key)
    if known.fetchone():
        return True
    (rows,) = connection.execute("SELECT count(*) FROM counted").fetchone()
    return bool(rows < REASONS_MAX)


def _keep_to_ring(connection: sqlite3.Connection) -> None:
    while True:
        (size,) = connection.execute(
            "SELECT coalesce(sum(length(raw) + ?), 0) FROM held", (ROW_BYTES,)
        ).fetchone()
        if size <= BYTES_MAX:
            return
        connection.execute(
            "DELETE FROM held WHERE id IN (SELECT id FROM held ORDER BY id LIMIT 64)"
        )


def held(
    connection: sqlite3.Connection, node: int | None = None, limit: int = 1_000
) -> Iterator[Held]:
    """Frames in quarantine, oldest first; of one claimed node, or of all."""
    for row in connection.execute(
        "SELECT id, node, reason, source, received_ms, raw FROM held"
        " WHERE ?1 IS NULL OR node = ?1 ORDER BY id LIMIT ?2",
        (node, limit),
    ):
        yield Held(*row)


def claimed(connection: sqlite3.Connection) -> list[Claimed]:
    """Refusals by claimed node and reason, the most recent first."""
    rows = connection.execute(
        "SELECT node, reason, frames, last_ms FROM counted ORDER BY last_ms DESC, node, reason"
    )
    return [Claimed(*row) for row in rows]


def release(connection: sqlite3.Connection, node: int) -> list[Held]:
    """Takes a node's frames out, to be given to intake again after a key or registry came."""
    found = list(held(connection, node, FRAMES_PER_NODE))
    connection.execute("DELETE FROM held WHERE node = ?", (node,))
    connection.execute("DELETE FROM counted WHERE node = ?", (node,))
    return found
