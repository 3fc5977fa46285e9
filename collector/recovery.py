"""Taking frames of the archive into what memory knows: at start, and after a failed commit."""

import sqlite3
from collections.abc import Iterable, Iterator

from collector.archive import CONFLICT
from collector.hour_index import HourIndex
from collector.ledger import Ledger

Row = tuple[int, int, int, int, int, int, int, int, bytes]
"""(id, node, boot, seq, state, received, first_ms, last_ms, raw)."""


def frames_after(connection: sqlite3.Connection, frame_id: int) -> Iterator[Row]:
    """Frames stored after one, oldest first."""
    return connection.execute(
        "SELECT id, node, boot, seq, state, received, first_ms, last_ms, raw FROM frame"
        " WHERE id > ? ORDER BY id",
        (frame_id,),
    )


def take_back(ledger: Ledger, hours: HourIndex, rows: Iterable[Row]) -> int:
    """Puts stored frames on the ledger and into the hour index; returns how many."""
    frames = 0
    for frame_id, node, boot, seq, state, received, first_ms, last_ms, raw in rows:
        known = ledger.replay(frame_id, node, boot, seq, state == CONFLICT, last_ms, raw)
        if known.anchor_ms is None:
            known.anchor_ms = abs(received) - last_ms
            known.dirty = True
        hours.add(frame_id, node, boot, seq, known.anchor_ms, first_ms, last_ms)
        frames += 1
    return frames
