"""What one frame may claim of time, and so what it may cost whoever indexes it.

Every bound is beyond what a board can send, with the reason beside it; docs/protocol.md states them
for senders. Who holds a node's key can still send what no board would: these bounds keep what that
costs in proportion to its bytes. All of them are asked when a frame comes and when it is replayed.
"""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS

SPAN_MAX_MS = 0x1FFF_FFFF
"""From a frame's first sample to its last: six days. A board's batch takes no row further from its
first (`protocol/rows.py`), whatever it sleeps between two samples, and a frame holds one batch."""

HOURS_MAX = SPAN_MAX_MS // HOUR_MS + 2
"""Hours that such a frame touches, wherever its first sample lies in an hour."""

CLOCKS_MAX = 4
"""CLOCK sections in a frame: a board sends one, after its clock was set and every six hours; four
leave room for one of each source."""

UPTIME_MAX_MS = 30 * YEAR_MS
"""No boot lasts longer than a board lives."""

CLOCK_ERROR_MAX_MS = 7 * DAY_MS
"""A board that has slept for a year by its RC oscillator (2 %) is wrong by that."""

UNIX_MAX_MS = 4_102_444_800_000
"""2100-01-01: no board lasts until then, nor is a date beyond it one of this format."""

DISPLACED_MAX_MS = 400 * DAY_MS
"""How far a clock may put a boot from where it is indexed: a board without network is dated by its
receipt first, which is a year late at most, for no spool holds more."""

ORDINARY_HOURS = 2
ORDINARY_CLOCKS = 1


def beyond(first_ms: int, last_ms: int) -> str:
    """Which bound samples from one uptime to another break; "" when a board can send them."""
    if first_ms < 0 or last_ms > UPTIME_MAX_MS:
        return "uptime"
    return "span" if last_ms - first_ms > SPAN_MAX_MS else ""


def extra_cost(first_ms: int, last_ms: int, clocks: int) -> int:
    """Rows of hours and clocks that a frame adds beyond an ordinary one, which adds two and one."""
    hours = (last_ms - first_ms) // HOUR_MS + 1
    return max(0, hours - ORDINARY_HOURS) + max(0, clocks - ORDINARY_CLOCKS)
