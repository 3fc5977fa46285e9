"""Means and day levels out of an archive, day by day, from the frames themselves.

So a late frame, a better time and a better formula count for history too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise, repeat
from typing import Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from collector.archive.archive import CONFLICT
from collector.archive.decoding import decode_stored
from collector.clock import DATABLE_UNIX_MS, HOUR_MS
from collector.nodes import NodeRegistry
from collector.operate.remarks import Remarks
from collector.operate.row_files import RowShape, kinds_of
from collector.operate.times import show_time
from collector.readings.corrections import NodeCorrections
from collector.readings.day_levels import DayLevels, Interval, day_edges, day_levels
from collector.readings.means import COVERAGE_MIN, Mean, Point, daily_mean, hourly_means
from collector.storage.archive_view import ArchiveView, node_name
from protocol import wire
from protocol.columns import Column, Samples
from protocol.registry import REGISTRY, by_name
from protocol.wire import FrameError

Period: TypeAlias = Literal["hour", "day"]
Progress = Callable[[int, int], None]

LAEQ, VALID_TIME = by_name("laeq").id, by_name("valid_time").id
UNKNOWN = -1
LEVEL_DB_MAX = 300
"""No sound is louder; what a broken column claims beyond would overflow its energy."""


class MeanRow(NamedTuple):
    """One mean; `value` is None where too little of the period is covered."""

    node: str
    name: str
    start: str
    end: str
    quantity: str
    instance: int
    value: float | None
    low: float
    high: float
    unit: str
    readings: int
    coverage: float
    formula: str | None


class LevelRow(NamedTuple):
    """Levels of one day in dB; None where too little of their part of the day was heard."""

    node: str
    name: str
    day: str
    instance: int
    lday: float | None
    levening: float | None
    lnight: float | None
    lden: float | None
    coverage_day: float
    coverage_evening: float
    coverage_night: float


MEAN_SHAPE = RowShape("mean", kinds_of(MeanRow), "start")
LEVEL_SHAPE = RowShape("level", kinds_of(LevelRow), "day")


class Channel(NamedTuple):
    """What is averaged: never raw and corrected values in one."""

    quantity: int
    instance: int
    formula: str | None


@dataclass(frozen=True, slots=True)
class MeansChoice:
    """Which means; empty or None means all. Times are Unix ms and widened to whole days."""

    zone: ZoneInfo
    nodes: frozenset[int] = frozenset()
    quantities: frozenset[int] = frozenset()
    from_ms: int | None = None
    to_ms: int | None = None
    corrected: bool = False
    coverage_min: float = COVERAGE_MIN


class MeansExporter:
    """Turns an archive's frames into means."""

    def __init__(
        self,
        view: ArchiveView,
        registry: NodeRegistry,
        corrections: NodeCorrections,
        choice: MeansChoice,
    ) -> None:
        self._view = view
        self._registry = registry
        self._corrections = corrections
        self._choice = choice
        self.remarks = Remarks()

    def means(self, period: Period, progress: Progress | None = None) -> Iterator[MeanRow]:
        """Means of every chosen channel, node by node, day by day."""
        for node, day in self._days(progress):
            edges = day_edges(day, self._choice.zone)
            for channel, points in sorted(self._points(node, edges).items(), key=_order):
                yield from self._rows(node, channel, points, edges, period)

    def levels(self, progress: Progress | None = None) -> Iterator[LevelRow]:
        """Lday, Levening, Lnight and Lden of every node and day with an LAeq."""
        for node, day in self._days(progress):
            found = self._points(node, day_edges(day, self._choice.zone), LAEQ)
            for channel, points in sorted(found.items(), key=_order):
                intervals = []
                for unix_ms, span_ms, level_db in points:
                    if abs(level_db) > LEVEL_DB_MAX:
                        self.remarks.implausible(node)
                        continue
                    start_ms = unix_ms - max(span_ms, 1)
                    intervals.append(Interval(start_ms, unix_ms, level_db, span_ms))
                levels = day_levels(day, self._choice.zone, intervals)
                yield self._level_row(node, channel.instance, levels)

    def _days(self, progress: Progress | None) -> Iterator[tuple[int, date]]:
        nodes = [n for n in self._view.nodes() if not self._choice.nodes or n in self._choice.nodes]
        for place, node in enumerate(nodes):
            for day in self._days_of(node):
                yield node, day
            if progress is not None:
                progress(place + 1, len(nodes))

    def _days_of(self, node: int) -> Iterator[date]:
        """The days in which a node has frames, each once, within the chosen time."""
        choice, zone = self._choice, self._choice.zone
        first_ms = max(choice.from_ms or 0, 0)
        end_ms = DATABLE_UNIX_MS.stop if choice.to_ms is None else choice.to_ms
        last_ms = min(end_ms, DATABLE_UNIX_MS.stop) - 1
        if last_ms < first_ms:
            return
        days = {_day(ms, zone) for span_ms in self._view.hours_of(node) for ms in span_ms}
        first, last = _day(first_ms, zone), _day(last_ms, zone)
        yield from sorted(day for day in days if first <= day <= last)

    def _points(
        self, node: int, edges: tuple[int, int], only: int | None = None
    ) -> dict[Channel, list[Point]]:
        found: dict[Channel, list[Point]] = {}
        start_ms, end_ms = edges
        for frame in self._view.between(node, start_ms, end_ms):
            if frame.type != wire.T_DATA or frame.state == CONFLICT:
                continue
            try:
                decoded = decode_stored(frame)
            except FrameError:
                self.remarks.undecodable(node)
                continue
            for samples in decoded.samples:
                times_ms = [self._unix_ms(node, frame.boot, at) for at in samples.times_ms]
                self._add(found, node, samples, times_ms, only)
        return {channel: _with_spans(points) for channel, points in found.items()}

    def _unix_ms(self, node: int, boot: int, uptime_ms: int) -> int | None:
        stamp = self._view.timeline.time_of(node, boot, uptime_ms)
        return None if stamp is None else stamp.unix_ms

    def _add(
        self,
        found: dict[Channel, list[Point]],
        node: int,
        samples: Samples,
        times_ms: Sequence[int | None],
        only: int | None,
    ) -> None:
        choice = self._choice
        corrected = self._corrections.apply(node, samples) if choice.corrected else {}
        step_ms = _step_ms(samples)
        for index, column in enumerate(samples.columns):
            if not _wanted(column, only, choice.quantities):
                continue
            if choice.corrected and index not in corrected and only is None:
                continue
            formula, better = corrected.get(index, (None, ()))
            points = found.setdefault(Channel(column.quantity, column.instance, formula), [])
            spans_ms = _spans_ms(samples, column, step_ms)
            row = REGISTRY[column.quantity]
            for sample, unix_ms in enumerate(times_ms):
                if unix_ms is None or (column.qualities and column.qualities[sample]):
                    continue
                value = (
                    better[sample]
                    if formula is not None
                    else row.value(column.values[sample], column.exponent)
                )
                if value is not None:
                    points.append(Point(unix_ms, spans_ms[sample], value))

    def _rows(
        self,
        node: int,
        channel: Channel,
        points: Sequence[Point],
        edges: tuple[int, int],
        period: Period,
    ) -> Iterator[MeanRow]:
        row = REGISTRY[channel.quantity]
        means: Sequence[Mean] = hourly_means(
            points, edges, row.aggregate, self._choice.coverage_min
        )
        if period == "day":
            day = daily_mean(means, edges, row.aggregate, self._choice.coverage_min)
            means = [] if day is None else [day]
        for mean in means:
            yield MeanRow(
                f"{node:08x}",
                node_name(self._registry, node),
                show_time(mean.start_ms),
                show_time(mean.end_ms),
                row.name,
                channel.instance,
                None if mean.value is None else round(mean.value, 4),
                mean.low,
                mean.high,
                row.unit,
                mean.readings,
                round(mean.coverage, 4),
                channel.formula,
            )

    def _level_row(self, node: int, instance: int, levels: DayLevels) -> LevelRow:
        parts = (levels.lday, levels.levening, levels.lnight)
        day, evening, night = (_tenth(part.level_db) for part in parts)
        return LevelRow(
            f"{node:08x}",
            node_name(self._registry, node),
            levels.day.isoformat(),
            instance,
            day,
            evening,
            night,
            _tenth(levels.lden_db),
            *(round(part.coverage, 4) for part in parts),
        )


def _day(unix_ms: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(unix_ms / 1000, zone).date()


def _order(item: tuple[Channel, list[Point]]) -> tuple[int, int, str]:
    channel = item[0]
    return channel.quantity, channel.instance, channel.formula or ""


def _wanted(column: Column, only: int | None, quantities: frozenset[int]) -> bool:
    row = REGISTRY.get(column.quantity)
    if row is None or column.bands or column.exponent is None or row.aggregate == "none":
        return False
    if only is not None:
        return column.quantity == only
    return not quantities or column.quantity in quantities


def _step_ms(samples: Samples) -> int:
    """The distance of samples; UNKNOWN for a frame of one sample that names no period."""
    steps_ms = sorted(later - earlier for earlier, later in pairwise(samples.times_ms))
    step_ms = samples.period_ms or (steps_ms[len(steps_ms) // 2] if steps_ms else UNKNOWN)
    return min(step_ms, HOUR_MS)


def _spans_ms(samples: Samples, column: Column, step_ms: int) -> Sequence[int]:
    """The time that each sample stands for: what the meter heard, or the distance of samples.

    None of it where the meter does not know what it heard.
    """
    for other in samples.columns:
        if other.quantity == VALID_TIME and other.instance == column.instance:
            if REGISTRY[column.quantity].aggregate != "energy":
                break
            longest_ms = HOUR_MS if step_ms == UNKNOWN else step_ms
            heard = zip(other.values, other.qualities or repeat(0), strict=False)
            return [0 if bad else min(max(0, ms), longest_ms) for ms, bad in heard]
    return [step_ms] * len(samples.times_ms)


def _with_spans(points: list[Point]) -> list[Point]:
    """In order of time; a point of unknown span stands for the time since the one before it."""
    ordered = sorted(points)
    return [
        point
        if point.span_ms != UNKNOWN
        else point._replace(
            span_ms=min(HOUR_MS, point.unix_ms - ordered[place - 1].unix_ms) if place else 0
        )
        for place, point in enumerate(ordered)
    ]


def _tenth(level_db: float | None) -> float | None:
    return None if level_db is None else round(level_db, 1)
