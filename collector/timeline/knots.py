"""What is known of a boot's clock: an observation of each source in each hour.

The recent ones are kept in memory, all of them in the table `knot`.
"""

import sqlite3

from collector.clock import HOUR_MS
from collector.timeline.timeline_fit import DELAY_MAX_MS, LIVE, Fit, Knot
from protocol.identity import BootId

RECENT_HOURS = 72
"""Knots further away cannot move a time: a delay of 10 s is worth 56 h of drift at 50 ppm."""

LIVE_ERROR_MS = 1_000
"""What a good network may add to the earliest LIVE of an hour, unnoticed."""

_ENOUGH_LIVE = 8

HOURS_EACH_MAX = 500

_FIELDS = "uptime_ms, offset_ms, error_ms, source"
# Hour by hour where they are few, for between one and the next lie the rows of all other nodes.
_EACH_HOUR = (
    "WITH RECURSIVE hours(number) AS"
    " (SELECT ? UNION ALL SELECT number + 1 FROM hours WHERE number < ?)"
    f" SELECT {_FIELDS} FROM hours CROSS JOIN knot ON hour = number AND node = ? AND boot = ?"
)
_ALL_HOURS = f"SELECT {_FIELDS} FROM knot WHERE hour BETWEEN ? AND ? AND node = ? AND boot = ?"

Change = tuple[int, Knot | None]
"""The uptime of an hour's new clock knot, and the knot that it has replaced."""


class LiveHour:
    """LIVE of one hour: the earliest, and enough to tell how late the others were."""

    __slots__ = ("count", "hour", "offset_ms", "sum_ms", "uptime_ms")

    def __init__(self, hour: int, uptime_ms: int, offset_ms: int) -> None:
        self.hour = hour
        self.uptime_ms = uptime_ms
        self.offset_ms = offset_ms
        self.count = 1
        self.sum_ms = 0

    def add(self, uptime_ms: int, offset_ms: int) -> None:
        """Takes another LIVE of this hour in."""
        if offset_ms < self.offset_ms:
            self.sum_ms += (self.offset_ms - offset_ms) * self.count
            self.offset_ms = offset_ms
            self.uptime_ms = uptime_ms
        else:
            self.sum_ms += offset_ms - self.offset_ms
        self.count += 1

    def knot(self) -> Knot:
        """The error: few LIVE, or ones that came at odds, leave more doubt."""
        if self.count < _ENOUGH_LIVE:
            error_ms = DELAY_MAX_MS
        else:
            error_ms = min(DELAY_MAX_MS, LIVE_ERROR_MS + 2 * self.sum_ms // self.count)
        return Knot(self.uptime_ms, self.offset_ms, error_ms, LIVE)


class BootKnots:
    """Recent knots of one boot, by (hour, source); hours are Unix hours as the anchor gives them.

    hour: what LIVE has said in the present one. unwritten: knots that the archive does not hold;
    writing: how many parcels of others are on their way.
    complete_from: the hour from which on no knot is in the archive alone; None while that is not
    known. blocks: those of which there is a fit. stale: hours whose knot is newer than the fits,
    and whether they had none before. changed: what clocks have replaced since moves were last
    looked for. formers: by block, the first and the last fit that was given up since then.
    """

    __slots__ = (
        "anchor_ms",
        "blocks",
        "changed",
        "complete_from",
        "formers",
        "hour",
        "id",
        "knots",
        "stale",
        "unwritten",
        "writing",
    )

    def __init__(self, boot: BootId, anchor_ms: int, complete_from: int | None = None) -> None:
        self.id = boot
        self.anchor_ms = anchor_ms
        self.complete_from = complete_from
        self.blocks: set[int] = set()
        self.stale: dict[int, bool] = {}
        self.changed: dict[tuple[int, int], Change] = {}
        self.formers: dict[int, tuple[Fit, Fit]] = {}
        self.knots: dict[tuple[int, int], Knot] = {}
        self.unwritten: set[tuple[int, int]] = set()
        self.writing = 0
        self.hour: LiveHour | None = None

    def hour_of(self, uptime_ms: int) -> int:
        """The hour of an uptime."""
        return (self.anchor_ms + uptime_ms) // HOUR_MS

    def block_of(self, uptime_ms: int) -> int:
        """The block of hours of an uptime: what one fit is for."""
        return self.hour_of(uptime_ms) // RECENT_HOURS

    def put(self, hour: int, knot: Knot) -> None:
        """Keeps a knot; a better one of an hour replaces the other."""
        key = hour, knot.source
        self.stale[hour] = self.stale.get(hour, False) or key not in self.knots
        self.knots[key] = knot
        self.unwritten.add(key)

    def take_stale_blocks(self) -> set[int]:
        """Blocks whose fits rest on knots that have changed: up to the neighbours on both sides."""
        if not self.stale:
            return set()
        stale, self.stale = self.stale, {}
        near = {hour // RECENT_HOURS + side for hour in stale for side in (-1, 0, 1)}
        touched = near & self.blocks
        fresh = [hour for hour, new in stale.items() if new]
        if fresh:
            first = min(fresh)
            earlier = max((hour for hour, _ in self.knots if hour < first), default=None)
            oldest = None if earlier is None else earlier // RECENT_HOURS - 1
            touched |= {block for block in self.blocks if oldest is None or block >= oldest}
        return touched

    def give_up(self, block: int, fitted: Fit) -> None:
        """Remembers a fit that somebody has asked, until moves are looked for."""
        if self.changed:
            first, _ = self.formers.get(block, (fitted, fitted))
            self.formers[block] = first, fitted

    def take_unwritten(self, *, closed_only: bool) -> list[tuple[int, Knot]]:
        """Knots that are to be written now, with their hours; the present hour may stay open."""
        present = self.hour.hour if self.hour is not None else None
        taken = []
        for key in sorted(self.unwritten):
            if not closed_only or key != (present, LIVE):
                taken.append((key[0], self.knots[key]))
                self.unwritten.discard(key)
        return taken

    def trim(self) -> None:
        """Forgets old knots that the archive holds."""
        if self.writing:
            return
        oldest = max((hour for hour, _ in self.knots), default=0) - RECENT_HOURS
        for key in [key for key in self.knots if key[0] < oldest]:
            if key not in self.unwritten:
                del self.knots[key]
                if self.complete_from is not None and self.complete_from < oldest:
                    self.complete_from = oldest


def load(
    connection: sqlite3.Connection, node: int, boot: int, first_hour: int, last_hour: int
) -> list[Knot]:
    """Stored knots of a boot between two hours, both included."""
    few = last_hour - first_hour < HOURS_EACH_MAX
    rows = connection.execute(
        _EACH_HOUR if few else _ALL_HOURS, (first_hour, last_hour, node, boot)
    )
    return [Knot(*row) for row in rows]


def write(connection: sqlite3.Connection, rows: "list[tuple[BootId, int, Knot]]") -> None:
    """Writes (boot, hour, knot); a better one of an hour replaces the other."""
    connection.executemany(
        "INSERT OR REPLACE INTO knot VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(hour, *boot, knot.source, *knot[:3]) for boot, hour, knot in rows],
    )
