"""Which frames of a node fall into which hour: what makes reading a day quick.

A frame's hour is that of its uptime, moved by a fixed amount per boot (`anchor_ms`, the node's Unix
time at uptime 0 as it looked when the boot was first seen). So a better time mapping never moves
a row, and rows of the same hour lie side by side in the file. Frames newer than the last snapshot
are not indexed yet; readers scan those.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from collector.archive.parcels import Repeatable
from collector.clock import HOUR_MS
from collector.ranges import Ranges

HOURS_EACH_MAX = 336
"""Up to so many hours are looked up one by one."""
ROWS_MAX = 10_000
"""Rows in memory: beyond them they are written before more frames are taken in."""

Key = tuple[int, int, int]
"""(hour, node, boot)."""


@dataclass(slots=True)
class HourFrames:
    """Frames of one boot in one hour."""

    first_seq: int
    last_seq: int
    ids: Ranges = field(default_factory=Ranges)

    def add(self, first_seq: int, last_seq: int, ids: Ranges) -> None:
        """Adds frames of these numbers."""
        self.first_seq = min(self.first_seq, first_seq)
        self.last_seq = max(self.last_seq, last_seq)
        self.ids.update(ids)


def hours_of(anchor_ms: int, first_ms: int, last_ms: int) -> range:
    """Hours that a frame of these uptimes touches; `frame_bounds` says how many they may be."""
    first = (anchor_ms + first_ms) // HOUR_MS
    last = (anchor_ms + max(first_ms, last_ms)) // HOUR_MS
    return range(first, last + 1)


class HourIndex:
    """Rows gathered since the last snapshot."""

    def __init__(self) -> None:
        self._rows: dict[Key, HourFrames] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def full(self) -> bool:
        """Whether it holds as many rows as it may before a group of frames is entered."""
        return len(self._rows) >= ROWS_MAX

    def add(
        self,
        frame_id: int,
        node: int,
        boot: int,
        seq: int,
        anchor_ms: int,
        first_ms: int,
        last_ms: int,
    ) -> None:
        """Adds one stored frame."""
        for hour in hours_of(anchor_ms, first_ms, last_ms):
            row = self._rows.get((hour, node, boot))
            if row is None:
                row = self._rows[hour, node, boot] = HourFrames(seq, seq)
            elif seq < row.first_seq:
                row.first_seq = seq
            elif seq > row.last_seq:
                row.last_seq = seq
            row.ids.add(frame_id)

    def keys(self) -> Iterable[Key]:
        """Keys of all rows."""
        return self._rows.keys()

    def take(self) -> "HourRows":
        """All rows; the index is empty afterwards."""
        rows, self._rows = self._rows, {}
        return HourRows(self, rows)

    def put_back(self, rows: dict[Key, HourFrames]) -> None:
        """Rows that were taken are there again, with what came meanwhile."""
        newer, self._rows = self._rows, rows
        for key, row in newer.items():
            known = self._rows.setdefault(key, row)
            if known is not row:
                known.add(row.first_seq, row.last_seq, row.ids)


class HourRows(Repeatable):
    """Rows of the index on their way into its table, where they join what it has."""

    def __init__(self, index: HourIndex, rows: dict[Key, HourFrames]) -> None:
        self.rows = rows
        self._index = index

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        for key in sorted(self.rows):
            row = self.rows[key]
            stored = connection.execute(
                "SELECT first_seq, last_seq, ids FROM hour"
                " WHERE hour = ? AND node = ? AND boot = ?",
                key,
            ).fetchone()
            if stored is not None:
                ids = _ids(connection, key[1], key[2], stored[2])
                merged = HourFrames(stored[0], stored[1], ids)
                merged.add(row.first_seq, row.last_seq, row.ids)
                row = merged
            connection.execute(
                "INSERT OR REPLACE INTO hour VALUES (?, ?, ?, ?, ?, ?)",
                (*key, row.first_seq, row.last_seq, row.ids.encode()),
            )

    def failed(self) -> None:
        """See Parcel."""
        self._index.put_back(self.rows)


def ids_between(
    connection: sqlite3.Connection, node: int, boot: int, first_hour: int, last_hour: int
) -> Ranges:
    """Ids of a boot's indexed frames in these hours, both included."""
    found = Ranges()
    if last_hour - first_hour <= HOURS_EACH_MAX:
        for hour in range(first_hour, last_hour + 1):
            row = connection.execute(
                "SELECT ids FROM hour WHERE hour = ? AND node = ? AND boot = ?",
                (hour, node, boot),
            ).fetchone()
            if row is not None:
                found.update(_ids(connection, node, boot, row[0]))
        return found
    for (ids,) in connection.execute(
        "SELECT ids FROM hour WHERE hour BETWEEN ? AND ? AND node = ? AND boot = ?",
        (first_hour, last_hour, node, boot),
    ):
        found.update(_ids(connection, node, boot, ids))
    return found


def ids_of_seq(connection: sqlite3.Connection, node: int, boot: int, seq: int) -> Ranges:
    """Ids among which a numbered frame is; reads the whole table, so not for a hot path."""
    found = Ranges()
    for (ids,) in connection.execute(
        "SELECT ids FROM hour WHERE node = ? AND boot = ? AND ? BETWEEN first_seq AND last_seq",
        (node, boot, seq),
    ):
        found.update(_ids(connection, node, boot, ids))
    return found


def _ids(connection: sqlite3.Connection, node: int, boot: int, ids: bytes) -> Ranges:
    """A row's frames; of a damaged row all of its boot, for readers look at each frame's times."""
    try:
        return Ranges.decode(ids)
    except (ValueError, TypeError):
        rows = connection.execute("SELECT id FROM frame WHERE node = ? AND boot = ?", (node, boot))
        return Ranges((frame_id, frame_id) for (frame_id,) in rows)
