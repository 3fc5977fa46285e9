"""Hourly means of every channel, for people and web services; written when an hour is over.

An hour that gets late frames, or whose times change, is dirty and computed again from its frames.
Only values of quality ok count. How values become one is the registry's to say: a mean, an energy
mean for levels, a maximum.
"""

import asyncio
import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from collector.archive import lookup
from collector.archive.archive import CONFLICT, StoredFrame
from collector.archive.decoding import decode_stored
from collector.archive.hour_index import HOURS_EACH_MAX, Key, hours_of
from collector.archive.writer import Writer
from collector.clock import DATABLE_UNIX_MS, Clock
from collector.timeline.timeline import Moved, Timeline
from collector.turns import Turns
from protocol.decoder import Samples
from protocol.frame_bounds import HOUR_MS
from protocol.registry import REGISTRY, scaled
from protocol.wire import FrameError

GRACE_MS = 600_000
HOURS_PER_PASS = 500
SAMPLE_MS_MAX = HOUR_MS
SLACK_MS = 400 * 24 * HOUR_MS
BOOTS_MAX = 200
READINGS_PER_TURN = 800

_INDEXED_ALL = (
    "SELECT hour, node, boot FROM hour WHERE hour BETWEEN ? AND ? AND node = ? AND boot = ?"
)
# Hour by hour where they are few, for between one and the next lie the rows of all other nodes.
_INDEXED_EACH = (
    "WITH RECURSIVE hours(number) AS"
    " (SELECT ? UNION ALL SELECT number + 1 FROM hours WHERE number < ?)"
    " SELECT hour, node, boot FROM hours CROSS JOIN hour"
    " ON hour = number AND node = ? AND boot = ?"
)

AnchorOf = Callable[[int, int], int | None]
HourlyRow = tuple[int, int, int, int, int, float | None, float | None, float | None, int]
"""(hour, node, quantity, instance, count, mean, low, high, valid_ms), as in the table `hourly`."""


@dataclass(slots=True)
class _Cell:
    """Values of one channel in one hour."""

    values: list[float] = field(default_factory=list)
    valid_ms: int = 0


def aggregate(how: str, values: Sequence[float]) -> float | None:
    """One value for several: mean, energy (10 lg of the mean power), max, min, sum, last."""
    if not values or how == "none":
        return None
    if how == "energy":
        top = max(values)
        power = sum(10 ** ((value - top) / 10) for value in values) / len(values)
        return top + 10 * math.log10(power)
    if how == "max":
        return max(values)
    if how == "min":
        return min(values)
    if how == "sum":
        return sum(values)
    if how == "last":
        return values[-1]
    return math.fsum(values) / len(values)


def open_hour(unix_ms: int) -> int:
    """The first hour whose means have to wait: the one that goes on, or may still get frames."""
    return (unix_ms - GRACE_MS) // HOUR_MS


def hours_touched(
    timeline: Timeline, key: Key, anchor_ms: int | None, shift_ms: int = 0
) -> set[int]:
    """Unix hours in which an index hour's frames lie; none while nothing dates them.

    `shift_ms` moves them to where they lay under an earlier time mapping.
    """
    hour, node, boot = key
    if anchor_ms is None:
        return set()
    first_ms = hour * HOUR_MS - anchor_ms
    start = timeline.time_of(node, boot, first_ms)
    end = timeline.time_of(node, boot, first_ms + HOUR_MS - 1)
    if start is None or end is None:
        return set()
    first_ms, last_ms = start.unix_ms + shift_ms, end.unix_ms + shift_ms
    if first_ms not in DATABLE_UNIX_MS or last_ms not in DATABLE_UNIX_MS:
        return set()
    return set(hours_of(0, first_ms, last_ms))


def dirty_hours(
    timeline: Timeline, anchor_of: AnchorOf, keys: Iterable[tuple[Key, int]]
) -> set[tuple[int, int]]:
    """(hour, node) that frames indexed under these keys make dirty, now and before their shift."""
    return {
        (hour, key[1])
        for key, shift_ms in keys
        for moved_ms in {0, shift_ms}
        for hour in hours_touched(timeline, key, anchor_of(key[1], key[2]), moved_ms)
    }


def mark(connection: sqlite3.Connection, hours: Iterable[tuple[int, int]], marked: int) -> None:
    """Marks hours as dirty; `marked` tells one marking from the next."""
    connection.executemany(
        "INSERT OR REPLACE INTO dirty VALUES (?, ?, ?)",
        [(hour, node, marked) for hour, node in sorted(hours)],
    )


def moved_keys(connection: sqlite3.Connection, moved: Iterable[Moved]) -> list[tuple[Key, int]]:
    """Index rows of boots whose times have changed, and by how much."""
    keys: list[tuple[Key, int]] = []
    for node, boot, first_hour, last_hour, shift_ms in moved:
        few = last_hour - first_hour < HOURS_EACH_MAX
        rows = connection.execute(
            _INDEXED_EACH if few else _INDEXED_ALL, (first_hour, last_hour, node, boot)
        )
        keys += [(row, shift_ms) for row in rows]
    return keys


class Rollup:
    """Computes closed dirty hours; `boots_of` lists the boots of a node with their anchors."""

    def __init__(self, writer: Writer, timeline: Timeline, clock: Clock) -> None:
        self._writer = writer
        self._timeline = timeline
        self._clock = clock
        self.hours = 0

    async def catch_up(self) -> None:
        """Computes all closed dirty hours."""
        more = True
        while more:
            more = await self.once() == HOURS_PER_PASS

    async def once(self) -> int:
        """Computes at most 500 (hour, node); returns how many there were."""
        open_from = open_hour(self._clock.unix_ms())
        todo: list[tuple[int, int, int]] = await self._writer.read(
            lambda connection: connection.execute(
                "SELECT hour, node, marked FROM dirty WHERE hour < ? ORDER BY hour, node LIMIT ?",
                (open_from, HOURS_PER_PASS),
            ).fetchall()
        )
        rows: list[HourlyRow] = []
        for hour, node, _ in todo:
            rows += await self._compute(hour, node)
        if todo:
            await self._writer.write(lambda connection: _store(connection, todo, rows))
        self.hours += len(todo)
        return len(todo)

    async def _compute(self, hour: int, node: int) -> list[HourlyRow]:
        start_ms = hour * HOUR_MS
        boots = await self._writer.read(lambda connection: boots_near(connection, node, start_ms))
        cells: dict[tuple[int, int], _Cell] = {}
        turns = Turns(READINGS_PER_TURN)
        for boot, anchor_ms, end_ms in boots:
            first_ms = self._timeline.uptime_at(node, boot, start_ms)
            last_ms = self._timeline.uptime_at(node, boot, start_ms + HOUR_MS)
            if first_ms is None or last_ms is None or last_ms < 0 or first_ms > end_ms:
                continue
            search = partial(
                _frames,
                node=node,
                boot=boot,
                anchor_ms=anchor_ms,
                first_ms=first_ms,
                last_ms=last_ms - 1,
            )
            frames = await self._writer.read(search)
            for frame in frames:
                if turns.over(1 + _add(cells, frame, first_ms, last_ms)):
                    await asyncio.sleep(0)
        rows = []
        for key, cell in sorted(cells.items()):
            rows.append(_row(hour, node, *key, cell))
            if turns.over(len(cell.values)):
                await asyncio.sleep(0)
        return rows


def _frames(
    connection: sqlite3.Connection,
    node: int,
    boot: int,
    anchor_ms: int,
    first_ms: int,
    last_ms: int,
) -> list[StoredFrame]:
    return list(lookup.by_uptime(connection, node, boot, anchor_ms, first_ms, last_ms))


def boots_near(
    connection: sqlite3.Connection, node: int, start_ms: int
) -> list[tuple[int, int, int]]:
    """(boot, anchor, last uptime) of a node's boots that may have samples in an hour.

    A boot that nothing dated at first is indexed by its receipt, which may be a year late.
    """
    return connection.execute(
        "SELECT boot, anchor_ms, max(last_ms, live_ms) FROM ledger WHERE node = ?"
        " AND anchor_ms - ? <= ? AND anchor_ms + max(last_ms, live_ms) + ? >= ?"
        " ORDER BY boot DESC LIMIT ?",
        (node, SLACK_MS, start_ms + HOUR_MS, SLACK_MS, start_ms, BOOTS_MAX),
    ).fetchall()


def _add(
    cells: dict[tuple[int, int], _Cell], frame: StoredFrame, first_ms: int, last_ms: int
) -> int:
    """Adds what a frame says of these uptimes; returns how many readings it holds in all."""
    if frame.state == CONFLICT:
        return 0
    try:
        decoded = decode_stored(frame)
    except FrameError:
        return 0
    for samples in decoded.samples:
        inside = [
            row for row, time_ms in enumerate(samples.times_ms) if first_ms <= time_ms < last_ms
        ]
        if inside:
            _add_columns(cells, samples, inside)
    return sum(len(column.values) for samples in decoded.samples for column in samples.columns)


def _add_columns(
    cells: dict[tuple[int, int], _Cell], samples: Samples, inside: Sequence[int]
) -> None:
    step_ms = min(samples.period_ms or _median_step(samples.times_ms), SAMPLE_MS_MAX)
    for column in samples.columns:
        quantity = REGISTRY.get(column.quantity)
        if column.bands or column.exponent is None or quantity is None:
            continue
        qualities = column.qualities
        good = [row for row in inside if qualities is None or qualities[row] == 0]
        if not good:
            continue
        cell = cells.setdefault((column.quantity, column.instance), _Cell())
        exponent, divisor = column.exponent, quantity.divisor
        cell.values += [scaled(column.values[row], exponent, divisor) for row in good]
        cell.valid_ms = min(cell.valid_ms + len(good) * step_ms, HOUR_MS)


def _median_step(times_ms: Sequence[int]) -> int:
    steps = sorted(later - earlier for earlier, later in pairwise(times_ms))
    return steps[len(steps) // 2] if steps else 0


def _row(hour: int, node: int, quantity: int, instance: int, cell: _Cell) -> HourlyRow:
    how = REGISTRY[quantity].aggregate
    values = cell.values
    mean = aggregate(how, values)
    return (
        hour,
        node,
        quantity,
        instance,
        len(values),
        mean,
        min(values),
        max(values),
        cell.valid_ms,
    )


def _store(
    connection: sqlite3.Connection, done: list[tuple[int, int, int]], rows: list[HourlyRow]
) -> None:
    connection.executemany(
        "DELETE FROM hourly WHERE hour = ? AND node = ?", [(hour, node) for hour, node, _ in done]
    )
    connection.executemany("INSERT INTO hourly VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.executemany("DELETE FROM dirty WHERE hour = ? AND node = ? AND marked = ?", done)
