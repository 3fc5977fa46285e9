"""Long work on the event loop in short turns: what else waits gets its own between them."""

import asyncio
from collections.abc import Generator
from contextlib import closing

STEPS_PER_TURN = 200


class Turns:
    """Counts steps, not time, so that a simulation runs the same twice."""

    def __init__(self, steps_per_turn: int = STEPS_PER_TURN) -> None:
        self._steps_per_turn = steps_per_turn
        self._steps = 0

    def over(self, steps: int = 1) -> bool:
        """Whether this turn is over after so many steps more."""
        self._steps += steps
        if self._steps < self._steps_per_turn:
            return False
        self._steps = 0
        return True


async def in_turns(parts: Generator[None, None, None]) -> None:
    """Goes through work that pauses by itself, a part each turn; ended there if cancelled."""
    with closing(parts):
        for _ in parts:
            await asyncio.sleep(0)
