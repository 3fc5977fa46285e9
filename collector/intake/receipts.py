"""When frames were received, also while the time is not known.

Until it is, a receipt counts from the start of this run; once it is, the start gets its date.
"""

from collector.archive.archive import undated_receipt
from collector.clock import Clock


class Receipts:
    """`start` is the number of this run of the collector, 0 for a run without one."""

    def __init__(self, clock: Clock, start: int) -> None:
        self.start = start
        self._clock = clock
        self._dated = not start

    def stamp(self) -> int:
        """The receipt of a frame that arrives now."""
        if self._clock.synchronised():
            return self._clock.unix_ms()
        return undated_receipt(self.start, self._clock.monotonic_ms())

    def date_to_write(self) -> int | None:
        """When this run's monotonic 0 was, if it is known by now and not written yet."""
        if self._dated or not self._clock.synchronised():
            return None
        return self._clock.unix_ms() - self._clock.monotonic_ms()

    def date_written(self) -> None:
        """Says that the date is in the archive."""
        self._dated = True
