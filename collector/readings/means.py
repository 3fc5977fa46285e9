"""Hourly and daily means with the share of time that they cover.

An hour's mean is given when values cover at least that share of it, and a day's mean when at least
that share of its hours have one: 75 % in Directive 2008/50/EC, annex XI. How values become one is
the registry's to say: a mean, an energy mean for levels, a maximum, a sum. Days and hours are
those of the place's time zone; on two days of the year a day has 23 or 25 hours.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from collector.clock import HOUR_MS
from collector.storage.rollup import aggregate

COVERAGE_MIN = 0.75


class Point(NamedTuple):
    """A value and the time that it stands for, which ends at `unix_ms`."""

    unix_ms: int
    span_ms: int
    value: float


class Mean(NamedTuple):
    """The values of [start, end); `value` is None where coverage (0..1) is too small."""

    start_ms: int
    end_ms: int
    value: float | None
    low: float
    high: float
    readings: int
    coverage: float


def hourly_means(
    points: Iterable[Point], edges: tuple[int, int], how: str, coverage_min: float = COVERAGE_MIN
) -> list[Mean]:
    """Means of a day's hours that have any value, in order; points of other days do not matter."""
    start_ms, end_ms = edges
    hours: dict[int, list[Point]] = {}
    for point in points:
        if start_ms <= point.unix_ms < end_ms:
            hours.setdefault((point.unix_ms - start_ms) // HOUR_MS, []).append(point)
    return [
        _mean_of(hours[hour], start_ms + hour * HOUR_MS, how, coverage_min)
        for hour in sorted(hours)
    ]


def _mean_of(points: Sequence[Point], start_ms: int, how: str, coverage_min: float) -> Mean:
    values = [point.value for point in points]
    coverage = min(1.0, sum(point.span_ms for point in points) / HOUR_MS)
    value = aggregate(how, values) if coverage >= coverage_min else None
    return Mean(
        start_ms, start_ms + HOUR_MS, value, min(values), max(values), len(values), coverage
    )


def daily_mean(
    hours: Sequence[Mean], edges: tuple[int, int], how: str, coverage_min: float = COVERAGE_MIN
) -> Mean | None:
    """The day's mean of its hours' means; None for a day without any value."""
    if not hours:
        return None
    start_ms, end_ms = edges
    given = [hour.value for hour in hours if hour.value is not None]
    coverage = len(given) * HOUR_MS / (end_ms - start_ms)
    return Mean(
        start_ms,
        end_ms,
        aggregate(how, given) if coverage >= coverage_min else None,
        min(hour.low for hour in hours),
        max(hour.high for hour in hours),
        sum(hour.readings for hour in hours),
        coverage,
    )
