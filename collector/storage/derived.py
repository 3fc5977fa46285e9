"""What memory has derived from frames, on its way into its tables: hours, clocks, means to compute.

It is taken in one go and written later, with a snapshot or, when memory holds as much as it may, in
the transaction of the next group of frames. Writing it twice changes nothing.
"""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from collector.archive import hour_index
from collector.archive.hour_index import HourFrames, Key
from collector.storage import rollup
from collector.storage.indexing import Indexing
from collector.timeline import knot_table
from collector.timeline.knot_table import KnotRow

KEYS_PER_STEP = 100


class Derived(NamedTuple):
    """Rows of the tables `hour`, `knot` and `dirty`."""

    rows: dict[Key, HourFrames]
    knots: list[KnotRow]
    dirty: set[tuple[int, int]]
    marked: int


def take(indexing: Indexing, *, closed_only: bool = True) -> Derived:
    """All that waits; `dirty` is still empty, see `find_dirty`."""
    indexing.marked += 1
    rows = indexing.hours.take()
    return Derived(
        rows, indexing.timeline.take_rows(closed_only=closed_only), set(), indexing.marked
    )


def find_dirty(
    indexing: Indexing, derived: Derived, moved: list[tuple[Key, int]] | None = None
) -> Iterator[None]:
    """Adds the hours whose means have to be computed again; pauses after every few of them.

    `moved`: further index rows, and by how much their times have changed.
    """
    timeline = indexing.timeline
    keys = [(key, 0) for key in derived.rows] + (moved or [])
    for first in range(0, len(keys), KEYS_PER_STEP):
        part = keys[first : first + KEYS_PER_STEP]
        derived.dirty.update(rollup.dirty_hours(timeline, timeline.anchor_ms, part))
        yield


def write(connection: sqlite3.Connection, derived: Derived) -> None:
    """Writes it inside the writer's transaction."""
    hour_index.write(connection, derived.rows)
    knot_table.write(connection, derived.knots)
    rollup.mark(connection, derived.dirty, derived.marked)


def give_back(indexing: Indexing, derived: Derived) -> None:
    """It could not be written: it is to be taken again."""
    indexing.hours.give_back(derived.rows)
    indexing.timeline.give_back(derived.knots)
