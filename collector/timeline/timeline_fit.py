"""The arithmetic of the timeline: from knots to a time and its error bound.

A knot says that at an uptime the offset (Unix time - uptime) lay between `low` and `high`. Offsets
drift by at most so many parts per million, so each knot bounds its neighbours too: the bounds are
the intersection of all these cones. Between knots the offset is interpolated, outside it stays.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

DRIFT_PPM = 50
SLEEPING_DRIFT_PPM = 20_000
DELAY_MAX_MS = 10_000
"""A LIVE longer on its way had a broken connection; TIME refuses such round trips too."""

LIVE = 0
TIME = 1
RTC = 2
GPS = 3
NTP = 4
MEASURED = (TIME, GPS, NTP)
"""Sources whose error was measured; an RTC may have been set wrong by nobody knows how much."""

SOURCES = {LIVE: "live", TIME: "time", RTC: "rtc", GPS: "gps", NTP: "ntp"}

_OUTLIERS_IN = 10
_PARTS = 1_000_000
_NOTHING = 1 << 53
"""Above every offset: the value of a knot that shall not count."""


class Knot(NamedTuple):
    """One observation; `error_ms` is one-sided for LIVE (it came late), two-sided for a clock."""

    uptime_ms: int
    offset_ms: int
    error_ms: int
    source: int

    @property
    def low_ms(self) -> int:
        """Smallest offset that this observation allows."""
        return self.offset_ms - self.error_ms

    @property
    def high_ms(self) -> int:
        """Largest offset that this observation allows."""
        return self.offset_ms if self.source == LIVE else self.offset_ms + self.error_ms


class Bound(NamedTuple):
    """What all knots together say of the offset at one uptime."""

    uptime_ms: int
    offset_ms: int
    error_ms: int
    source: int


class Fit(NamedTuple):
    """Bounds in the order of uptime, and the drift that they had to allow.

    A column for each field of a bound: a collector keeps thousands of these.
    """

    uptimes_ms: "array[int]"
    offsets_ms: "array[int]"
    errors_ms: "array[int]"
    sources: bytes
    drift_ppm: int

    def at(self, uptime_ms: int) -> Bound | None:
        """Offset and error at an uptime; None without any knot."""
        uptimes = self.uptimes_ms
        if not uptimes:
            return None
        right = bisect_right(uptimes, uptime_ms)
        if right == 0:
            return self._outside(0, uptimes[0] - uptime_ms, uptime_ms)
        left = right - 1
        past_ms = uptime_ms - uptimes[left]
        if right == len(uptimes):
            return self._outside(left, past_ms, uptime_ms)
        span_ms = uptimes[right] - uptimes[left]
        offset_ms, error_ms = self.offsets_ms[left], self.errors_ms[left]
        between_ms = 2 * past_ms * (span_ms - past_ms) // span_ms
        nearer = left if past_ms <= span_ms - past_ms else right
        return Bound(
            uptime_ms,
            offset_ms + (self.offsets_ms[right] - offset_ms) * past_ms // span_ms,
            error_ms
            - (error_ms - self.errors_ms[right]) * past_ms // span_ms
            + drift_ms(between_ms, self.drift_ppm),
            self.sources[nearer],
        )

    def _outside(self, index: int, distance_ms: int, uptime_ms: int) -> Bound:
        error_ms = self.errors_ms[index] + drift_ms(distance_ms, self.drift_ppm)
        return Bound(uptime_ms, self.offsets_ms[index], error_ms, self.sources[index])


def drift_ms(distance_ms: int, ppm: int) -> int:
    """How far a clock may have gone wrong over a distance, rounded up."""
    return -(-distance_ms * ppm // 1_000_000)


def fit(
    knots: Sequence[Knot], drift_ppm: int = DRIFT_PPM, within_ms: tuple[int, int] | None = None
) -> Fit:
    """Finds the bounds; allows a sleeping board's drift when the usual one cannot be.

    All knots count, but bounds are kept only for uptimes from within_ms[0] up to within_ms[1], and
    for the next ones beyond. None: for all.
    LIVE, received by a synchronised collector, counts more than what a board says of its clock: a
    clock knot that contradicts LIVE is left out, as are single LIVE that were far too late.
    """
    ordered = sorted(knots)
    live = [knot for knot in ordered if knot.source == LIVE]
    clocks = [knot for knot in ordered if knot.source != LIVE]
    live = _as_late_as_trips(live, clocks)
    ppm = drift_ppm
    kept, left_out = _consistent(live, ppm)
    if left_out * _OUTLIERS_IN > len(live):
        awake, still_out = _consistent(live, SLEEPING_DRIFT_PPM)
        if still_out < left_out:
            kept, ppm = awake, SLEEPING_DRIFT_PPM
    if not kept and clocks:
        kept, ppm = _believable(clocks, drift_ppm)
    else:
        kept = _with_clocks(kept, clocks, ppm)
    return _bounds(kept, ppm, within_ms)


def _with_clocks(live: list[Knot], clocks: list[Knot], ppm: int) -> list[Knot]:
    """LIVE and the clocks that agree with it.

    How late LIVE came is a guess from how it scatters. Where a board has told a time whose error it
    measured nothing needs to be guessed: LIVE then says only that it did not come early.
    """
    doubted = _with_doubt(live, DELAY_MAX_MS)
    agreeing = _agreeing(clocks, doubted, ppm)
    if any(knot.source in MEASURED for knot in agreeing):
        return sorted(doubted + agreeing)
    return sorted(live + _agreeing(clocks, live, ppm))


def _as_late_as_trips(live: list[Knot], clocks: list[Knot]) -> list[Knot]:
    """LIVE with the doubt that a slow network leaves: each may be as late as the shortest round
    trip that the board has told with its TIME."""
    trip_ms = min((knot.error_ms for knot in clocks if knot.source == TIME), default=0)
    return _with_doubt(live, min(trip_ms, DELAY_MAX_MS))


def _with_doubt(live: list[Knot], error_ms: int) -> list[Knot]:
    """LIVE with this error where their own is smaller."""
    return [
        knot if knot.error_ms >= error_ms else Knot(knot.uptime_ms, knot.offset_ms, error_ms, LIVE)
        for knot in live
    ]


def _consistent(live: list[Knot], ppm: int) -> tuple[list[Knot], int]:
    """LIVE knots without those that cannot be, and how many those are.

    When some contradict each other (a LIVE far too late, a collector whose clock was wrong for a
    while), those stay that agree with the one that most others agree with.
    """
    uptimes = [knot.uptime_ms for knot in live]
    highs = _propagated(uptimes, [knot.offset_ms for knot in live], ppm)
    if all(knot.offset_ms - DELAY_MAX_MS <= high for knot, high in zip(live, highs, strict=True)):
        return live, 0
    friends = [[other for other in live if _near(knot, other, ppm)] for knot in live]
    kept = max(reversed(friends), key=len)
    return kept, len(live) - len(kept)


def _near(first: Knot, second: Knot, ppm: int) -> bool:
    slack_ms = DELAY_MAX_MS + drift_ms(abs(first.uptime_ms - second.uptime_ms), ppm)
    return abs(first.offset_ms - second.offset_ms) <= slack_ms


def _believable(clocks: list[Knot], drift_ppm: int) -> tuple[list[Knot], int]:
    """Clock knots that fit together, the newest first: a clock is set again to mend it."""
    found = []
    for ppm in (drift_ppm, SLEEPING_DRIFT_PPM):
        kept = _fitting_together(clocks, ppm)
        found.append((len(kept), -ppm, kept))
    _, minus_ppm, kept = max(found)
    return sorted(kept), -minus_ppm


def _fitting_together(clocks: list[Knot], ppm: int) -> list[Knot]:
    """Each knot that agrees with all kept ones after it, the newest first.

    What these allow is one cone that widens on the way back, so each knot is looked at once.
    """
    kept: list[Knot] = []
    high = low = 0  # in millionths of a ms; no knot before the first
    uptime_ms = 0
    for knot in reversed(clocks):
        if kept:
            grown = (uptime_ms - knot.uptime_ms) * ppm
            high, low = high + grown, low - grown
            uptime_ms = knot.uptime_ms
            if knot.low_ms > -(-high // _PARTS) or knot.high_ms < low // _PARTS:
                continue
        uptime_ms = knot.uptime_ms
        highest, lowest = knot.high_ms * _PARTS, knot.low_ms * _PARTS
        high, low = (min(high, highest), max(low, lowest)) if kept else (highest, lowest)
        kept.append(knot)
    return kept


def _agreeing(clocks: list[Knot], live: list[Knot], ppm: int) -> list[Knot]:
    """The clocks that agree with every LIVE; both are ordered by uptime."""
    if not live:
        return clocks
    ordered = sorted(live + clocks)
    uptimes = [knot.uptime_ms for knot in ordered]
    highs = _propagated(
        uptimes, [knot.high_ms if knot.source == LIVE else _NOTHING for knot in ordered], ppm
    )
    lows = _propagated(
        uptimes, [-knot.low_ms if knot.source == LIVE else _NOTHING for knot in ordered], ppm
    )
    return [
        knot
        for knot, high, minus_low in zip(ordered, highs, lows, strict=True)
        if knot.source != LIVE and knot.low_ms <= high and knot.high_ms >= -minus_low
    ]


def _bounds(knots: list[Knot], ppm: int, within_ms: tuple[int, int] | None) -> Fit:
    uptimes = [knot.uptime_ms for knot in knots]
    highs = _propagated(uptimes, [knot.high_ms for knot in knots], ppm)
    lows = _propagated(uptimes, [-knot.low_ms for knot in knots], ppm)
    found: list[tuple[int, int, int, int]] = []
    for index in _around(uptimes, within_ms):
        uptime_ms, offset_ms, _, source = knots[index]
        high = highs[index]
        low = min(-lows[index], high)
        offset_ms = max(low, min(high, offset_ms))
        error_ms = max(high - offset_ms, offset_ms - low)
        if found and found[-1][0] == uptime_ms:
            if error_ms >= found[-1][2]:
                continue
            found.pop()
        found.append((uptime_ms, offset_ms, error_ms, source))
    return Fit(
        array("q", [uptime_ms for uptime_ms, _, _, _ in found]),
        array("q", [offset_ms for _, offset_ms, _, _ in found]),
        array("q", [error_ms for _, _, error_ms, _ in found]),
        bytes([source for _, _, _, source in found]),
        ppm,
    )


def _around(uptimes: list[int], within_ms: tuple[int, int] | None) -> range:
    """Where uptimes between two lie, and all that equal the next ones beyond."""
    if within_ms is None:
        return range(len(uptimes))
    first = bisect_left(uptimes, within_ms[0])
    end = bisect_left(uptimes, within_ms[1])
    if first > 0:
        first = bisect_left(uptimes, uptimes[first - 1])
    if end < len(uptimes):
        end = bisect_right(uptimes, uptimes[end])
    return range(first, end)


def _propagated(uptimes: list[int], values: list[int], ppm: int) -> list[int]:
    """For each uptime, in order: the smallest of all values, each grown by the drift to here."""
    if not uptimes:
        return []
    base = values[0]  # small numbers are quicker
    best, before = 0, uptimes[0]
    forward = []
    for uptime, value in zip(uptimes, values, strict=True):
        best += (uptime - before) * ppm
        before = uptime
        scaled = (value - base) * _PARTS
        if scaled < best:
            best = scaled
        forward.append(best)
    backward = []
    for uptime, value in zip(reversed(uptimes), reversed(forward), strict=True):
        best += (before - uptime) * ppm
        before = uptime
        if value < best:
            best = value
        backward.append(base - (-best // _PARTS))
    backward.reverse()
    return backward
