"""Taking frames of the archive into what memory knows: at start, and after a failed commit."""

import sqlite3
from collections.abc import Container, Iterable, Iterator

from collector.archive.archive import CONFLICT, FAILED, OK
from collector.ledger.ledger import Ledger
from collector.storage.indexing import Indexing
from protocol.outline import RAISED, outline_of, undecoded

Row = tuple[int, int, int, int, int, int, int, int, int, bytes]
"""(id, node, boot, seq, type, state, received, first_ms, last_ms, raw)."""


def frames_after(connection: sqlite3.Connection, frame_id: int, limit: int = -1) -> Iterator[Row]:
    """Frames stored after one, oldest first; at most `limit`."""
    return connection.execute(
        "SELECT id, node, boot, seq, type, state, received, first_ms, last_ms, raw FROM frame"
        " WHERE id > ? ORDER BY id LIMIT ?",
        (frame_id, limit),
    )


def frames_of(connection: sqlite3.Connection, boots: Container[tuple[int, int]]) -> Iterator[Row]:
    """All frames of these (node, boot), oldest first; reads the whole table."""
    rows = connection.execute("SELECT id, node, boot FROM frame ORDER BY id")
    for frame_id, node, boot in rows:
        if (node, boot) in boots:
            yield connection.execute(
                "SELECT id, node, boot, seq, type, state, received, first_ms, last_ms, raw"
                " FROM frame WHERE id = ?",
                (frame_id,),
            ).fetchone()


def take_back(ledger: Ledger, indexing: Indexing, rows: Iterable[Row]) -> int:
    """Puts stored frames on the ledger, into hour index and timeline; returns how many.

    No frame stops this: one that raises an error is counted, and marked with a later commit.
    """
    frames = 0
    for frame_id, node, boot, seq, type, state, received, first_ms, last_ms, raw in rows:
        frames += 1
        try:
            if state == FAILED:
                seen = undecoded(RAISED)
            else:
                seen = outline_of(raw, type, (first_ms, last_ms) if state == OK else None)
            known = ledger.replay(frame_id, node, boot, seq, state == CONFLICT, seen.last_ms, raw)
            indexing.enter(frame_id, known, seq, received, seen)
        except sqlite3.Error:
            raise
        except Exception:
            indexing.failed(frame_id, f"frame {frame_id} of the archive")
    return frames
