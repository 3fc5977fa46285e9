"""Finding stored frames: by their number, or by node and uptime."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from collector.archive import archive, hour_index
from collector.archive.archive import StoredFrame
from collector.ranges import Ranges
from protocol.wire import TAG_BYTES

SLOW_SEARCHES = 4
_OF_NUMBER = (
    "SELECT id, raw FROM frame WHERE id BETWEEN ? AND ? AND node = ? AND boot = ? AND seq = ?"
)


class Wanted(NamedTuple):
    """A frame's number, and the hours in which it would be indexed."""

    node: int
    boot: int
    seq: int
    hours: tuple[int, int] | None


def trailers(connection: sqlite3.Connection, wanted: Sequence[Wanted]) -> list[list[bytes] | None]:
    """For each number the trailers of all stored frames that have it.

    An empty list: there is none (any more). None: finding it takes the whole index, and too many
    such searches were asked for at once.
    """
    slow = 0
    found: list[list[bytes] | None] = []
    for one in wanted:
        ids = Ranges()
        if one.hours is not None:
            ids = hour_index.ids_between(connection, one.node, one.boot, *one.hours)
        frames = _among(connection, ids, one.node, one.boot, one.seq) if ids else []
        if frames:
            found.append([raw[-TAG_BYTES:] for _, raw in frames])
        elif slow < SLOW_SEARCHES:
            slow += 1
            frames = by_number(connection, one.node, one.boot, one.seq)
            found.append([raw[-TAG_BYTES:] for _, raw in frames])
        else:
            found.append(None)
    return found


def by_number(
    connection: sqlite3.Connection, node: int, boot: int, seq: int
) -> list[tuple[int, bytes]]:
    """(id, raw) of the frames with this number; more than one is a conflict."""
    newest_id = archive.newest_id(connection)
    ids = hour_index.ids_of_seq(connection, node, boot, seq)
    snapshot_id = int(archive.get_meta(connection, archive.SNAPSHOT_KEY) or 0)
    if newest_id > snapshot_id:
        ids.add(snapshot_id + 1, newest_id)
    return _among(connection, ids, node, boot, seq)


def _among(
    connection: sqlite3.Connection, ids: Ranges, node: int, boot: int, seq: int
) -> list[tuple[int, bytes]]:
    return [
        row
        for first, last in ids
        for row in connection.execute(_OF_NUMBER, (first, last, node, boot, seq))
    ]


def by_uptime(
    connection: sqlite3.Connection,
    node: int,
    boot: int,
    anchor_ms: int,
    first_ms: int,
    last_ms: int,
) -> Iterator[StoredFrame]:
    """Frames of a boot with samples between two uptimes, in the order they were stored."""
    hours = hour_index.hours_of(anchor_ms, first_ms, last_ms)
    ids = hour_index.ids_between(connection, node, boot, hours[0], hours[-1])
    snapshot_id = int(archive.get_meta(connection, archive.SNAPSHOT_KEY) or 0)
    for frame in archive.frames_by_id(connection, _up_to(ids, snapshot_id)):
        if frame.last_ms >= first_ms and frame.first_ms <= last_ms:
            yield frame
    clock = archive.ReceiptClock(connection)
    for row in connection.execute(
        "SELECT * FROM frame WHERE id > ? AND node = ? AND boot = ?"
        " AND last_ms >= ? AND first_ms <= ? ORDER BY id",
        (snapshot_id, node, boot, first_ms, last_ms),
    ):
        yield clock.stored(row)


def _up_to(ids: Ranges, last_id: int) -> Ranges:
    return Ranges(ids.overlap(0, last_id))
