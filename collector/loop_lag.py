"""How late the event loop runs: a part that does not yield holds up all others."""

import asyncio
import logging

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
WINDOW_S = 60.0
LONG_S = 5.0


class LoopLag:
    """`longest_s`: the longest that a due task has waited, of the last one or two minutes."""

    def __init__(self) -> None:
        self._longest_s = self._before_s = 0.0

    @property
    def longest_s(self) -> float:
        """Seconds; 0.0 for a loop that is always in time."""
        return max(self._longest_s, self._before_s)

    async def run(self) -> None:
        """Looks four times a second, for ever."""
        loop = asyncio.get_running_loop()
        window_ends_s = loop.time() + WINDOW_S
        while True:
            due_s = loop.time() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = loop.time()
            late_s = now_s - due_s
            if late_s > LONG_S:
                log.warning("all parts of the collector waited for one of them for %.1f s", late_s)
            if now_s >= window_ends_s:
                window_ends_s = now_s + WINDOW_S
                self._before_s, self._longest_s = self._longest_s, 0.0
            self._longest_s = max(self._longest_s, late_s)
