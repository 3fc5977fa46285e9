"""Waiting times between attempts: doubling, bounded, spread by chance."""

import random
from collections.abc import Iterator


def delays_s(
    first_s: float, longest_s: float, chance: random.Random | None = None
) -> Iterator[float]:
    """Yields endless delays, each twice the last up to `longest_s`, times 0.75 to 1.25."""
    source = chance or random.Random()
    delay_s = first_s
    while True:
        yield delay_s * source.uniform(0.75, 1.25)
        delay_s = min(delay_s * 2, longest_s)
