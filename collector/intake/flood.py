"""Limits of what one node may send: a bucket of tokens each."""

from collections.abc import Callable

NODES_MAX = 20_000


class Flood:
    """Lets each node pass `rate_per_s` frames on average and `burst` at once."""

    def __init__(self, monotonic_ms: Callable[[], int], rate_per_s: int, burst: int) -> None:
        self._now_ms = monotonic_ms
        self._rate_per_s = rate_per_s
        self._burst_milli = burst * 1_000
        self._levels: dict[int, list[int]] = {}

    def passes(self, node: int, cost: int = 1) -> bool:
        """Takes tokens of the node, one for an ordinary frame; False when it has not so many."""
        now_ms = self._now_ms()
        level = self._levels.get(node)
        if level is None:
            if len(self._levels) >= NODES_MAX:
                self._levels.clear()
            level = self._levels[node] = [self._burst_milli, now_ms]
        elif now_ms != level[1]:
            level[0] = min(self._burst_milli, level[0] + (now_ms - level[1]) * self._rate_per_s)
            level[1] = now_ms
        if level[0] < 1_000 * cost:
            return False
        level[0] -= 1_000 * cost
        return True
