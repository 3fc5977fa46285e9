"""Which boards do not hear us: they send one frame again and again although it was acknowledged.

A broker that does not let us publish says nothing at QoS 0, and neither does a radio that works in
one direction only; what comes back is all that shows it.
"""

from collections.abc import Callable
from dataclasses import dataclass

RESENDS_MIN = 3
SPAN_MIN_MS = 30_000
SLACK_MS = 60_000


@dataclass(slots=True)
class _Resent:
    """The oldest frame that a node repeats, and when it came."""

    boot: int
    seq: int
    first_ms: int
    last_ms: int
    gap_ms: int = 0
    resends: int = 1

    def silent(self, now_ms: int) -> bool:
        """Whether it should have come again by now; boards double their waits."""
        return now_ms - self.last_ms > 2 * self.gap_ms + SLACK_MS


class Hearing:
    """Counts resends of acknowledged frames; a row for each node that made one."""

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self._now_ms = monotonic_ms
        self._resent: dict[int, _Resent] = {}

    def resent(self, node: int, boot: int, seq: int) -> None:
        """Takes note of a frame that came again after it was acknowledged."""
        now_ms = self._now_ms()
        known = self._resent.get(node)
        if known is not None and (known.boot, known.seq) == (boot, seq):
            known.gap_ms = now_ms - known.last_ms
            known.last_ms = now_ms
            known.resends += 1
        elif known is None or (boot, seq) < (known.boot, known.seq) or known.silent(now_ms):
            self._resent[node] = _Resent(boot, seq, now_ms, now_ms)

    def deaf(self, node: int) -> bool:
        """Whether this node repeats itself as if nobody answered."""
        known = self._resent.get(node)
        return (
            known is not None
            and known.resends >= RESENDS_MIN
            and known.last_ms - known.first_ms >= SPAN_MIN_MS
            and not known.silent(self._now_ms())
        )
