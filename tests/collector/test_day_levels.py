"""Lden and its parts: formula, coverage, days of 23 and 25 hours."""

import math
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from collector.readings.day_levels import COVERAGE_MIN, DayLevels, Interval, day_levels, parts_of

MADRID = ZoneInfo("Europe/Madrid")
HOUR_MS = 3_600_000
COMMON = date(2026, 5, 12)
SPRING = date(2026, 3, 29)
AUTUMN = date(2026, 10, 25)


def hours(
    day: date, levels: dict[str, float], zone: ZoneInfo = MADRID, valid: float = 1.0
) -> list[Interval]:
    """An interval for each hour that passed, with the level of its part of the day."""
    found = []
    for name, start_ms, end_ms in parts_of(day, zone):
        for at_ms in range(start_ms, end_ms, HOUR_MS):
            found.append(Interval(at_ms, at_ms + HOUR_MS, levels[name], round(HOUR_MS * valid)))
    return found


LEVELS = {"day": 60.0, "evening": 57.0, "night": 50.0}


def by_hand(day_h: int, evening_h: int, night_h: int) -> float:
    terms = (day_h * 10**6.0, evening_h * 10**6.2, night_h * 10**6.0)
    return 10 * math.log10(sum(terms) / (day_h + evening_h + night_h))


@pytest.mark.parametrize(
    ("day", "night_h"), [(COMMON, 8), (SPRING, 7), (AUTUMN, 9)], ids=["24 h", "23 h", "25 h"]
)
def test_levels_and_hours_of_each_kind_of_day(day: date, night_h: int) -> None:
    found = day_levels(day, MADRID, hours(day, LEVELS))
    assert found.lday.level_db == pytest.approx(60.0)
    assert found.levening.level_db == pytest.approx(57.0)
    assert found.lnight.level_db == pytest.approx(50.0)
    assert found.lden_db == pytest.approx(by_hand(12, 4, night_h))
    assert found.duration_ms == (16 + night_h) * HOUR_MS
    assert found.lnight.duration_ms == night_h * HOUR_MS
    assert found.lnight.coverage == 1.0


def test_a_day_begins_at_the_places_midnight() -> None:
    (_, start_ms, _), *_ = parts_of(COMMON, MADRID)
    assert datetime.fromtimestamp(start_ms / 1000, UTC).hour == 22


def test_the_hour_that_comes_twice_counts_twice() -> None:
    loud = [
        Interval(i.start_ms, i.end_ms, 70.0 if k in (2, 3) else 40.0, HOUR_MS)
        for k, i in enumerate(hours(AUTUMN, LEVELS))
    ]
    found = day_levels(AUTUMN, MADRID, loud)
    wanted = 10 * math.log10((2 * 10**7 + 7 * 10**4) / 9)
    assert found.lnight.level_db == pytest.approx(wanted)


def test_neighbouring_days_do_not_count() -> None:
    both = hours(COMMON, LEVELS) + hours(date(2026, 5, 13), dict.fromkeys(LEVELS, 90.0))
    assert day_levels(COMMON, MADRID, both) == day_levels(COMMON, MADRID, hours(COMMON, LEVELS))


def test_an_interval_across_an_edge_counts_on_either_side() -> None:
    seven = parts_of(COMMON, MADRID)[1][1]
    found = day_levels(COMMON, MADRID, [Interval(seven - HOUR_MS, seven + HOUR_MS, 60.0, HOUR_MS)])
    assert found.lday.coverage == pytest.approx(0.5 / 12)
    assert found.lnight.coverage == pytest.approx(0.5 / 8)


@pytest.mark.parametrize(("valid", "given"), [(COVERAGE_MIN + 0.01, True), (0.69, False)])
def test_what_was_heard_too_little_has_no_level(valid: float, given: bool) -> None:
    found = day_levels(COMMON, MADRID, hours(COMMON, LEVELS, valid=valid))
    assert found.lday.coverage == pytest.approx(valid, abs=0.001)
    assert (found.lday.level_db is not None) == given
    assert (found.lden_db is not None) == given


def test_lden_needs_all_three_parts() -> None:
    found = day_levels(COMMON, MADRID, [i for i in hours(COMMON, LEVELS) if i.level_db != 57.0])
    assert (found.levening.level_db, found.lden_db) == (None, None)
    assert found.lday.level_db == pytest.approx(60.0)


def test_nothing_heard() -> None:
    found = day_levels(COMMON, MADRID, [])
    assert isinstance(found, DayLevels)
    assert (found.lday.coverage, found.lnight.level_db, found.lden_db) == (0.0, None, None)


@pytest.mark.parametrize(
    "interval", [Interval(5, 5, 60.0, 0), Interval(0, 10, 60.0, 11), Interval(0, 10, 60.0, -1)]
)
def test_impossible_intervals_are_refused(interval: Interval) -> None:
    with pytest.raises(ValueError, match="ms"):
        day_levels(COMMON, MADRID, [interval])
