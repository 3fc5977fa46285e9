"""Where groups were cut that a network refused whole, kept while their parts wait.

Finding one bad reading among thousands takes a request for each halving. A busy answer or a lost
connection on the way must not begin the search anew, so the first reading of each part that is
still to go is remembered, and the next group that holds it is cut there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from collector.readings.observation import Observation
from collector.sinks.base import Group

CUTS_MAX = 10_000


class Key(NamedTuple):
    """A reading, wherever it is grouped."""

    frame: int
    reading: int


def key_of(group: Group) -> Key:
    """The first reading of a group."""
    return _key(group.observations[0])


def _key(observation: Observation) -> Key:
    return Key(observation.frame.id, observation.reading)


def halves(group: Group) -> list[Group]:
    """Both halves, the earlier one last, for it is taken from the end."""
    middle = len(group.observations) // 2
    return [
        Group(group.address, group.observations[middle:]),
        Group(group.address, group.observations[:middle]),
    ]


class Cuts:
    """First readings of parts, the oldest forgotten beyond a limit."""

    def __init__(self, limit: int = CUTS_MAX) -> None:
        self._limit = limit
        self._first: OrderedDict[Key, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._first)

    def remember(self, parts: Iterable[Group]) -> None:
        """These go out later, each for itself."""
        for part in parts:
            self._first[key_of(part)] = None
        while len(self._first) > self._limit:
            self._first.popitem(last=False)

    def forget(self, part: Group) -> None:
        """What begins here got through, or is cut anew."""
        self._first.pop(key_of(part), None)

    def parts(self, group: Group) -> list[Group]:
        """The group cut at the readings that are remembered, the earliest part last."""
        if not self._first:
            return [group]
        readings = group.observations
        starts = [0]
        starts += [i for i, o in enumerate(readings) if i and _key(o) in self._first]
        ends = [*starts[1:], len(readings)]
        found = [
            Group(group.address, readings[start:end])
            for start, end in zip(starts, ends, strict=True)
        ]
        return found[::-1]
