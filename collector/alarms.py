"""Alarms of the last time, for `status` and the log: one node's leave room for the others'."""

import logging
from collections import Counter

from collector.clock import Clock
from collector.ledger.ledger import Alarm

NODE_ALARMS_MAX = 10
ALARMS_MAX = 1_000
LINE_EVERY_MS = 60_000

log = logging.getLogger(__name__)


class Alarms:
    """The newest ten of each node, a thousand in all; of each kind and node a line a minute."""

    def __init__(self, clock: Clock) -> None:
        self.latest: list[Alarm] = []
        self._clock = clock
        self._of_node = Counter[int]()
        self._lines: dict[tuple[int, str], int] = {}
        self._unsaid = Counter[tuple[int, str]]()

    def add(self, alarm: Alarm) -> None:
        """Keeps it, and logs it or counts it for the next line of its kind and node."""
        self.keep(alarm)
        self._say(alarm)

    def keep(self, alarm: Alarm) -> None:
        """Keeps one that is in the log already."""
        if self._of_node[alarm.node] >= NODE_ALARMS_MAX:
            self._drop(next(at for at, old in enumerate(self.latest) if old.node == alarm.node))
        elif len(self.latest) >= ALARMS_MAX:
            self._drop(0)
        self.latest.append(alarm)
        self._of_node[alarm.node] += 1

    def _drop(self, position: int) -> None:
        old = self.latest.pop(position)
        self._of_node[old.node] -= 1

    def _say(self, alarm: Alarm) -> None:
        now_ms, about = self._clock.monotonic_ms(), (alarm.node, alarm.kind)
        if now_ms - self._lines.get(about, now_ms - LINE_EVERY_MS) < LINE_EVERY_MS:
            self._unsaid[about] += 1
            return
        self._lines[about] = now_ms
        unsaid = self._unsaid.pop(about, 0)
        more = f" ({unsaid} more like it before)" if unsaid else ""
        log.warning("%s%s", alarm, more)
