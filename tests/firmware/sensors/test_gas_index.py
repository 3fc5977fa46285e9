"""The gas index against values of Sensirion's published algorithm (sensirion-gas-index-algorithm
3.2.2 from PyPI), for the signal below."""

import random
from collections.abc import Iterator

import pytest

from firmware.sensors.gas_index import BLACKOUT_S, NOX, VOC, GasIndex, Kind, fading

PUBLISHED_VOC = {
    1000: 100, 3000: 100, 6000: 101, 11999: 100, 12060: 451, 12300: 471, 12599: 471, 12700: 103,
    13500: 100, 20000: 100, 30060: 452, 30300: 100, 39999: 100,
}  # fmt: skip
PUBLISHED_NOX = {
    1000: 1, 3000: 1, 6000: 1, 11999: 1, 12060: 71, 12300: 39, 12599: 26, 12700: 1, 13500: 1,
    20000: 1, 30060: 80, 30300: 4, 39999: 1,
}  # fmt: skip


def signal(base: int, step: int) -> Iterator[int]:
    """A signal that wanders about its base, with an event of ten minutes and one of two."""
    randomness = random.Random(7)
    wander = 0
    for second in range(40_000):
        wander += randomness.randint(-3, 3) - (wander > 0) + (wander < 0)
        event = step if 12_000 <= second < 12_600 or 30_000 <= second < 30_120 else 0
        yield base + wander + event


@pytest.mark.parametrize(
    ("kind", "base", "step", "published"),
    [(VOC, 30_000, -700, PUBLISHED_VOC), (NOX, 16_000, 4_000, PUBLISHED_NOX)],
    ids=["voc", "nox"],
)
def test_it_agrees_with_what_is_published(
    kind: Kind, base: int, step: int, published: dict[int, int]
) -> None:
    gas = GasIndex(kind)
    for second, raw in enumerate(signal(base, step)):
        index = gas.update(raw)
        if second in published:
            assert abs(index - published[second]) <= max(1, published[second] // 100)
    assert gas.learned


def test_it_says_nothing_at_first_and_then_what_is_usual() -> None:
    for kind, usual in ((VOC, 100), (NOX, 1)):
        gas = GasIndex(kind)
        assert [gas.update(25_000) for _ in range(BLACKOUT_S)] == [0] * BLACKOUT_S
        assert gas.update(25_000) == usual
        assert not gas.learned


def test_any_raw_signal_gives_an_index_within_its_scale() -> None:
    randomness = random.Random(3)
    for kind in (VOC, NOX):
        gas = GasIndex(kind)
        seen = [gas.update(randomness.choice((0, 65_535, 30_000))) for _ in range(5_000)]
        assert min(seen[BLACKOUT_S:]) >= 1
        assert max(seen) <= 500


@pytest.mark.parametrize(("x", "wanted"), [(-1e9, 1.0), (0.0, 0.5), (1e9, 0.0)])
def test_fading_has_no_overflow(x: float, wanted: float) -> None:
    assert fading(x, 0.0, 0.5) == wanted
