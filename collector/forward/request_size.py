"""How many readings a request may hold: fewer after a time-out or a "too large", slowly more again.

Pure state.
"""

from __future__ import annotations

SUCCESSES_TO_GROW = 8
SMALLEST_SHARE = 64


class RequestSize:
    """`largest` is what the network takes at best; None as `limit` says that nothing is limited.

    Silence says less about size than a refusal for it does, so time-outs stop at a 64th.
    """

    def __init__(self, largest: int) -> None:
        self.limit: int | None = None
        self._largest = largest
        self._successes = 0

    def too_large(self, readings: int) -> None:
        """The network said that these were too many."""
        self._shrink(readings, 1)

    def timed_out(self, readings: int) -> None:
        """These got no answer in time."""
        self._shrink(readings, max(1, self._largest // SMALLEST_SHARE))

    def succeeded(self, readings: int) -> None:
        """A request of this many was answered."""
        if self.limit is None or readings < self.limit:
            return
        self._successes += 1
        if self._successes >= SUCCESSES_TO_GROW:
            self._successes = 0
            self.limit = self.limit * 2 if self.limit * 2 < self._largest else None

    def _shrink(self, readings: int, smallest: int) -> None:
        self._successes = 0
        half = max(smallest, readings // 2)
        if half < readings or self.limit is not None:
            self.limit = half if self.limit is None else min(self.limit, half)
