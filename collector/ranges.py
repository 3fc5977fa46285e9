"""Sets of integers kept as sorted, disjoint, inclusive ranges.

Sequence numbers that arrived, frames that a sink has: both are nearly whole, so a set of a million
numbers is usually one range. Kept as one flat, rising list of firsts and ends, end not included.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from protocol.varint import append_uvarint, read_uvarints


class Ranges:
    """A set of non-negative integers; `len` counts the ranges, `count` the numbers.

    The ranges handed out and taken in are inclusive.
    """

    __slots__ = ("_edges",)

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._edges: list[int] = []
        for first, last in pairs:
            self.add(first, last)

    def __contains__(self, value: int) -> bool:
        return bool(bisect_right(self._edges, value) & 1)

    def __len__(self) -> int:
        return len(self._edges) >> 1

    def __bool__(self) -> bool:
        return bool(self._edges)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        edges = self._edges
        return iter([(edges[i], edges[i + 1] - 1) for i in range(0, len(edges), 2)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self._edges == other._edges

    def __repr__(self) -> str:
        return f"Ranges({list(self)!r})"

    @property
    def first(self) -> int | None:
        """Smallest number, None when empty."""
        return self._edges[0] if self._edges else None

    @property
    def last(self) -> int | None:
        """Largest number, None when empty."""
        return self._edges[-1] - 1 if self._edges else None

    def count(self) -> int:
        """How many numbers are in the set."""
        edges = self._edges
        return sum(edges[1::2]) - sum(edges[0::2])

    def copy(self) -> "Ranges":
        """An independent copy."""
        other = Ranges()
        other._edges = self._edges.copy()
        return other

    def add(self, first: int, last: int | None = None) -> None:
        """Adds one number, or all from first to last; ranges that touch become one."""
        end = (first if last is None else last) + 1
        if end <= first or first < 0:
            raise ValueError(f"no range: {first} to {end - 1}")
        edges = self._edges
        if not edges or first > edges[-1]:
            edges += (first, end)
        elif first == edges[-1]:
            edges[-1] = end
        else:
            low = bisect_left(edges, first)
            high = bisect_right(edges, end)
            edges[low:high] = [first] * (not low & 1) + [end] * (not high & 1)

    def update(self, other: Iterable[tuple[int, int]]) -> None:
        """Adds every range of another set."""
        for first, last in other:
            self.add(first, last)

    def remove(self, first: int, last: int | None = None) -> None:
        """Takes one number, or all from first to last, out of the set."""
        end = (first if last is None else last) + 1
        if end <= first:
            raise ValueError(f"no range: {first} to {end - 1}")
        edges = self._edges
        low = bisect_left(edges, first)
        high = bisect_right(edges, end)
        edges[low:high] = [first] * (low & 1) + [end] * (high & 1)

    def missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The ranges within first..last that are not in the set."""
        position = first
        for start, end in self.overlap(first, last):
            if start > position:
                yield position, start - 1
            position = end + 1
        if position <= last:
            yield position, last

    def overlap(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The parts of the set within first..last."""
        edges = self._edges
        for i in range(bisect_right(edges, first) & ~1, len(edges), 2):
            if edges[i] > last:
                return
            yield max(first, edges[i]), min(last, edges[i + 1] - 1)

    def covered_up_to(self, start: int) -> int:
        """Largest n so that start..n are all in the set; start - 1 when start is not."""
        position = bisect_right(self._edges, start)
        return self._edges[position] - 1 if position & 1 else start - 1

    def encode(self) -> bytes:
        """Compact form: gap to the range before and length - 1, as uvarints."""
        out = bytearray()
        position = 0
        for first, last in self:
            append_uvarint(out, first - position)
            append_uvarint(out, last - first)
            position = last
        return bytes(out)

    @classmethod
    def decode(cls, raw: bytes) -> "Ranges":
        """Reads `encode`'s form; ValueError when it is damaged."""
        try:
            numbers = list(read_uvarints(raw))
        except ValueError as error:
            raise ValueError(f"ranges: {error}") from None
        if len(numbers) & 1:
            raise ValueError("ranges: half a range at the end")
        ranges = cls()
        position = 0
        for i in range(0, len(numbers), 2):
            first = position + numbers[i]
            if i and numbers[i] < 2:
                raise ValueError("ranges: not sorted and disjoint")
            position = first + numbers[i + 1]
            ranges._edges += (first, position + 1)
        return ranges
