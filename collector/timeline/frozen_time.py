"""Unix times as they were when a frame first left the house.

A better time mapping serves the archive at once. What was sent keeps its time, else a resend would
be another reading to the network. Kept as straight lines over a boot's uptime: a boot whose clock
runs evenly is one row, however many frames it has.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from collector.archive.parcels import Repeatable

TOLERANCE_MS = 5
BOOTS_MAX = 4096


class Stamped(Protocol):
    """A point of the timeline."""

    @property
    def unix_ms(self) -> int: ...


class Timeline(Protocol):
    """What dates an uptime today."""

    def time_of(self, node: int, boot: int, uptime_ms: int) -> Stamped | None: ...


class Line(NamedTuple):
    """unix = unix_ms + d + d * slope, d the uptime since the anchor."""

    anchor_ms: int
    unix_ms: int
    slope_ppb: int

    def at(self, uptime_ms: int) -> int:
        passed_ms = uptime_ms - self.anchor_ms
        return self.unix_ms + passed_ms + passed_ms * self.slope_ppb // 1_000_000_000


Row = tuple[int, int, int, int, int, int, int, int]
"""node, boot, number within the boot, first and last uptime, anchor, Unix ms, slope."""


@dataclass(slots=True)
class _Piece:
    first_ms: int
    last_ms: int
    line: Line


class FrozenTimes:
    """All lines of the boots in use; the rest stays in the table `frozen_time`."""

    def __init__(self, timeline: Timeline, boots_max: int = BOOTS_MAX) -> None:
        self._timeline = timeline
        self._max = boots_max
        self._boots: OrderedDict[tuple[int, int], list[_Piece]] = OrderedDict()
        self._dirty: dict[tuple[int, int, int], _Piece] = {}

    def unknown(self, boots: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Boots whose lines have to be read first."""
        return [boot for boot in set(boots) if boot not in self._boots]

    def learn(self, rows: Iterable[Row], boots: Iterable[tuple[int, int]]) -> None:
        """Takes what `read_lines` found for these boots."""
        fresh = {boot for boot in boots if boot not in self._boots}
        for boot in fresh:
            self._boots[boot] = []
        for node, number_boot, _, first, last, *line in rows:
            if (node, number_boot) in fresh:
                self._boots[node, number_boot].append(_Piece(first, last, Line(*line)))

    def line(self, node: int, boot: int, first_ms: int, last_ms: int) -> Line | None:
        """The line for a frame of these uptimes, frozen from now on; None when undated."""
        pieces = self._boots.setdefault((node, boot), [])
        self._boots.move_to_end((node, boot))
        for piece in reversed(pieces):
            if piece.first_ms <= first_ms and last_ms <= piece.last_ms:
                return piece.line
        start = self._timeline.time_of(node, boot, first_ms)
        end = self._timeline.time_of(node, boot, last_ms)
        if start is None or end is None:
            return None
        number = self._fitting(pieces, first_ms, last_ms, start.unix_ms, end.unix_ms)
        self._dirty[node, boot, number] = pieces[number]
        self._trim()
        return pieces[number].line

    def is_dated(self, node: int, boot: int) -> bool:
        """Whether frames of this boot have a time by now."""
        return self._timeline.time_of(node, boot, 0) is not None

    def take(self) -> FrozenLines:
        """What has to be written, as a parcel; what grows meanwhile stays to be written."""
        return FrozenLines(
            self._dirty,
            [
                (*key, piece.first_ms, piece.last_ms, *piece.line)
                for key, piece in self._dirty.items()
            ],
        )

    @staticmethod
    def _fitting(
        pieces: list[_Piece], first_ms: int, last_ms: int, start_ms: int, end_ms: int
    ) -> int:
        for number in range(len(pieces) - 1, -1, -1):
            piece = pieces[number]
            off_ms = max(
                abs(piece.line.at(first_ms) - start_ms), abs(piece.line.at(last_ms) - end_ms)
            )
            if off_ms <= TOLERANCE_MS:
                piece.first_ms = min(piece.first_ms, first_ms)
                piece.last_ms = max(piece.last_ms, last_ms)
                return number
        span_ms = last_ms - first_ms
        slope_ppb = (end_ms - start_ms - span_ms) * 1_000_000_000 // span_ms if span_ms else 0
        pieces.append(_Piece(first_ms, last_ms, Line(first_ms, start_ms, slope_ppb)))
        return len(pieces) - 1

    def _trim(self) -> None:
        if len(self._boots) <= self._max:
            return
        waiting = {(node, boot) for node, boot, _ in self._dirty}
        for boot in list(self._boots):
            if len(self._boots) <= self._max:
                return
            if boot not in waiting:
                del self._boots[boot]


class FrozenLines(Repeatable):
    """Lines on their way into their table; one that grew replaces its earlier row."""

    def __init__(self, dirty: dict[tuple[int, int, int], _Piece], rows: list[Row]) -> None:
        self._dirty = dirty
        self._rows = rows

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        connection.executemany(
            "INSERT OR REPLACE INTO frozen_time VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._rows
        )

    def committed(self) -> None:
        """See Parcel."""
        for node, boot, number, first, last, *_ in self._rows:
            piece = self._dirty.get((node, boot, number))
            if piece and (piece.first_ms, piece.last_ms) == (first, last):
                del self._dirty[node, boot, number]

    def failed(self) -> None:
        """See Parcel."""  # they have never left


def read_lines(connection: sqlite3.Connection, boots: Iterable[tuple[int, int]]) -> list[Row]:
    """The frozen lines of these boots, in the order they were frozen."""
    rows: list[Row] = []
    for boot in boots:
        rows += connection.execute(
            "SELECT * FROM frozen_time WHERE node = ? AND boot = ? ORDER BY number", boot
        ).fetchall()
    return rows
