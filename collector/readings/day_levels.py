"""Day, evening and night levels of a place, from its LAeq: Lday, Levening, Lnight, Lden.

Lden = 10 log10((h_d 10^(Lday/10) + h_e 10^((Levening+5)/10) + h_n 10^((Lnight+10)/10)) / h)
with the hours of each part of that very day (Directive 2002/49/EC, annex I, where they are 12, 4
and 8). A day is a calendar day of the place's time zone: 07-19 h day, 19-23 h evening, the rest
night, in wall-clock time. On the two days when clocks are changed the day has 23 or 25 hours; the
hour that is missing or doubled lies in the night, whose hours are then 7 or 9, and h is 23 or 25.
An hour that comes twice is counted twice: both happened. Coverage is the part of each time that
was heard; a level whose coverage is below COVERAGE_MIN is not given.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as wall_time
from zoneinfo import ZoneInfo

COVERAGE_MIN = 0.7
DAY_H = (7, 19)
EVENING_H = (19, 23)
EVENING_PENALTY_DB = 5.0
NIGHT_PENALTY_DB = 10.0
PARTS = ("day", "evening", "night")


@dataclass(frozen=True, slots=True)
class Interval:
    """An LAeq over [start, end) of Unix time in ms, of which valid_ms were heard."""

    start_ms: int
    end_ms: int
    level_db: float
    valid_ms: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a day: level in dB (None below COVERAGE_MIN), coverage 0..1, its length."""

    level_db: float | None
    coverage: float
    duration_ms: int


@dataclass(frozen=True, slots=True)
class DayLevels:
    """The levels of one calendar day; lden_db is None unless all three parts have a level."""

    day: date
    duration_ms: int
    lday: Part
    levening: Part
    lnight: Part
    lden_db: float | None


def parts_of(day: date, zone: ZoneInfo) -> list[tuple[str, int, int]]:
    """(part, from, to) in Unix ms, in the order of the day; their lengths add up to the day's."""
    hours = (0, DAY_H[0], DAY_H[1], EVENING_H[1])
    edges = [_moment_ms(day, hour, zone) for hour in hours]
    edges.append(day_edges(day, zone)[1])
    names = ("night", "day", "evening", "night")
    return [(name, edges[place], edges[place + 1]) for place, name in enumerate(names)]


def day_edges(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """First moment of a calendar day and of the next, in Unix ms."""
    return _moment_ms(day, 0, zone), _moment_ms(day + timedelta(days=1), 0, zone)


def _moment_ms(day: date, hour: int, zone: ZoneInfo) -> int:
    """The first moment at which the place's clocks show this hour of this day."""
    local = datetime.combine(day, wall_time(hour), tzinfo=zone)
    return round(local.timestamp()) * 1000


def day_levels(day: date, zone: ZoneInfo, intervals: Iterable[Interval]) -> DayLevels:
    """Levels of a day from intervals in any order; those of other days do not matter.

    An interval across an edge counts on either side by the time that lies there. Intervals must
    not overlap; where they do all the same, no more than the whole time counts as heard.
    Raises ValueError for an interval that ends before it starts or was heard longer than it is.
    """
    spans = parts_of(day, zone)
    energy = dict.fromkeys(PARTS, 0.0)
    heard_ms = dict.fromkeys(PARTS, 0.0)
    duration_ms = dict.fromkeys(PARTS, 0)
    for name, start_ms, end_ms in spans:
        duration_ms[name] += end_ms - start_ms
    for interval in intervals:
        _check(interval)
        for name, start_ms, end_ms in spans:
            inside_ms = min(end_ms, interval.end_ms) - max(start_ms, interval.start_ms)
            if inside_ms <= 0:
                continue
            valid_ms = interval.valid_ms * inside_ms / (interval.end_ms - interval.start_ms)
            heard_ms[name] += valid_ms
            energy[name] += valid_ms * 10 ** (interval.level_db / 10)
    found = {name: _part(energy[name], heard_ms[name], duration_ms[name]) for name in PARTS}
    return DayLevels(
        day,
        sum(duration_ms.values()),
        found["day"],
        found["evening"],
        found["night"],
        _lden(found),
    )


def _check(interval: Interval) -> None:
    length_ms = interval.end_ms - interval.start_ms
    if length_ms <= 0:
        raise ValueError(f"interval ends at {interval.end_ms} ms, before it starts")
    if not 0 <= interval.valid_ms <= length_ms:
        raise ValueError(f"{interval.valid_ms} ms heard of an interval of {length_ms} ms")


def _part(energy: float, heard_ms: float, duration_ms: int) -> Part:
    coverage = min(1.0, heard_ms / duration_ms)
    if coverage < COVERAGE_MIN or energy <= 0:
        return Part(None, coverage, duration_ms)
    return Part(10 * math.log10(energy / heard_ms), coverage, duration_ms)


def _lden(parts: dict[str, Part]) -> float | None:
    penalties = (0.0, EVENING_PENALTY_DB, NIGHT_PENALTY_DB)
    total = 0.0
    for name, penalty_db in zip(PARTS, penalties, strict=True):
        part = parts[name]
        if part.level_db is None:
            return None
        total += part.duration_ms * 10 ** ((part.level_db + penalty_db) / 10)
    return 10 * math.log10(total / sum(part.duration_ms for part in parts.values()))
