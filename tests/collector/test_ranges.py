"""Ranges behave like the set of integers that they stand for."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ranges import Ranges

PAIR = st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1]))
STEP = st.tuples(st.sampled_from(["add", "remove"]), PAIR)


def build(steps: list[tuple[str, tuple[int, int]]]) -> tuple[Ranges, set[int]]:
    ranges, model = Ranges(), set[int]()
    for what, (first, last) in steps:
        numbers = set(range(first, last + 1))
        if what == "add":
            ranges.add(first, last)
            model |= numbers
        else:
            ranges.remove(first, last)
            model -= numbers
    return ranges, model


def expand(pairs: object) -> set[int]:
    return {n for first, last in pairs for n in range(first, last + 1)}  # type: ignore[attr-defined]


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=25), PAIR)
def test_ranges_are_a_set_of_integers(
    steps: list[tuple[str, tuple[int, int]]], window: tuple[int, int]
) -> None:
    ranges, model = build(steps)
    first, last = window
    inside = set(range(first, last + 1))
    assert expand(ranges) == model
    assert ranges.count() == len(model)
    assert {n for n in range(80) if n in ranges} == model
    assert expand(ranges.missing(first, last)) == inside - model
    assert expand(ranges.overlap(first, last)) == inside & model
    assert (ranges.first, ranges.last) == ((min(model), max(model)) if model else (None, None))
    covered = first - 1
    while covered + 1 in model:
        covered += 1
    assert ranges.covered_up_to(first) == covered
    assert Ranges.decode(ranges.encode()) == ranges
    pairs = list(ranges)
    assert all(b[0] > a[1] + 1 for a, b in pairwise(pairs))


def test_ranges_that_touch_become_one() -> None:
    ranges = Ranges([(5, 6), (1, 2)])
    ranges.add(3, 4)
    assert list(ranges) == [(1, 6)]


def test_a_million_numbers_in_order_are_two_bytes_and_a_bit() -> None:
    ranges = Ranges()
    for number in range(1, 1_000_001):
        ranges.add(number)
    assert len(ranges) == 1
    assert len(ranges.encode()) <= 4


@pytest.mark.parametrize("raw", [b"\x80", b"\x01", b"\x01\x01\x01\x00", b"\xff" * 12])
def test_damaged_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="ranges"):
        Ranges.decode(raw)


def test_no_range_runs_backwards() -> None:
    with pytest.raises(ValueError, match="no range"):
        Ranges().add(3, 2)
    with pytest.raises(ValueError, match="no range"):
        Ranges([(1, 2)]).remove(3, 2)
