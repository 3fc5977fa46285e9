"""When frames were received, also while the time is not known.

Until it is, a receipt counts from the start of this run; once it is, the start gets its date.
"""

import sqlite3

from collector.archive.archive import date_start, undated_receipt
from collector.archive.parcels import Repeatable
from collector.clock import Clock


class Receipts:
    """`start` is the number of this run of the collector, 0 for a run without one."""

    def __init__(self, clock: Clock, start: int) -> None:
        self.start = start
        self.dated = not start
        """Whether the archive has the date of this run."""
        self._clock = clock

    def stamp(self) -> int:
        """The receipt of a frame that arrives now."""
        if self._clock.synchronised():
            return self._clock.unix_ms()
        return undated_receipt(self.start, self._clock.monotonic_ms())

    def take_date(self) -> "list[StartDate]":
        """When this run's monotonic 0 was, if it is known by now and not written yet."""
        if self.dated or not self._clock.synchronised():
            return []
        return [StartDate(self, self._clock.unix_ms() - self._clock.monotonic_ms())]


class StartDate(Repeatable):
    """The date of a start, on its way into the archive."""

    def __init__(self, receipts: Receipts, unix_at_zero_ms: int) -> None:
        self._receipts = receipts
        self._unix_at_zero_ms = unix_at_zero_ms

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        date_start(connection, self._receipts.start, self._unix_at_zero_ms)

    def committed(self) -> None:
        """See Parcel."""
        self._receipts.dated = True

    def failed(self) -> None:
        """See Parcel."""  # it is computed anew
