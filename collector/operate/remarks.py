"""What a command met in the archive that does not fit into its rows: counted, said, passed over."""

from collections import Counter
from collections.abc import Iterator

NODES_NAMED_MAX = 20


class Remarks:
    """Counts by node; `lines` puts them into words."""

    def __init__(self) -> None:
        self._undatable: Counter[int] = Counter()
        self._undecodable: Counter[int] = Counter()
        self._implausible: Counter[int] = Counter()

    def undatable(self, node: int, readings: int = 1) -> None:
        """Readings at an uptime that makes no date, though their boot is dated."""
        self._undatable[node] += readings

    def undecodable(self, node: int) -> None:
        """A stored frame that this version cannot read."""
        self._undecodable[node] += 1

    def implausible(self, node: int) -> None:
        """A value far outside what its quantity can have, and with which nothing is computed."""
        self._implausible[node] += 1

    def lines(self) -> Iterator[str]:
        """A line for each node and kind, the largest counts first."""
        yield from _named(self._undatable, "readings at no possible date, whose time is unknown")
        yield from _named(self._undecodable, "frames that this version cannot decode, left out")
        yield from _named(self._implausible, "values outside their quantity's range, left out")


def _named(counts: Counter[int], words: str) -> Iterator[str]:
    for node, count in counts.most_common(NODES_NAMED_MAX):
        yield f"node {node:08x}: {count} {words}"
    if len(counts) > NODES_NAMED_MAX:
        yield f"{len(counts) - NODES_NAMED_MAX} more nodes with {words}"
