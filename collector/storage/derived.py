"""What memory has derived from frames, on its way into its tables: hours, clocks, means to compute.

It is taken in one go and written later, with a snapshot or, when memory holds as much as it may, in
the transaction of the next group of frames.
"""

import sqlite3
from collections.abc import Generator, Iterable

from collector.archive.hour_index import Key
from collector.archive.parcels import Repeatable
from collector.storage import rollup
from collector.storage.indexing import Indexing
from collector.timeline.timeline import Moved

KEYS_PER_STEP = 100


class Derived(Repeatable):
    """Rows of the tables `hour`, `knot` and `dirty`; `find_dirty` is to be called before `write`.

    `moved`: parts of boots whose times have changed, if it took those too.
    """

    def __init__(
        self, indexing: Indexing, *, closed_only: bool = True, with_moved: bool = False
    ) -> None:
        indexing.marked += 1
        self._marked = indexing.marked
        self._timeline = indexing.timeline
        self._hours = indexing.hours.take()
        self._knots = self._timeline.take(closed_only=closed_only)
        self._dirty: set[tuple[int, int]] = set()
        self.moved: set[Moved] = self._timeline.take_moved() if with_moved else set()

    def find_dirty(self, moved: Iterable[tuple[Key, int]] = ()) -> Generator[None, None, None]:
        """Finds the hours whose means have to be computed again; pauses after every few of them.

        `moved`: index rows beside its own, and by how much their times have changed.
        """
        timeline = self._timeline
        keys = [(key, 0) for key in self._hours.rows] + list(moved)
        for first in range(0, len(keys), KEYS_PER_STEP):
            part = keys[first : first + KEYS_PER_STEP]
            self._dirty |= rollup.dirty_hours(timeline, timeline.anchor_ms, part)
            yield

    def leave_moved(self) -> None:
        """Has somebody else look for what has moved."""
        self._timeline.moved |= self.moved
        self.moved = set()

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        self._hours.write(connection)
        self._knots.write(connection)
        rollup.mark(connection, self._dirty, self._marked)

    def committed(self) -> None:
        """See Parcel."""
        self._hours.committed()
        self._knots.committed()

    def failed(self) -> None:
        """See Parcel."""
        self._hours.failed()
        self._knots.failed()
        self.leave_moved()
