"""What becomes of each frame of a window that was sent, or that could not be."""

from __future__ import annotations

import asyncio

from collector.clock import Clock
from collector.forward.account import Account, Task
from collector.forward.delivery import SinkState
from collector.forward.sending import Results
from collector.forward.window import Window
from collector.forward.worklist import Worklist
from collector.ranges import Ranges


class Closing:
    """Moves frames on in worklist and account; `unknown` are the frames of claims left open."""

    def __init__(self, work: Worklist, account: Account, clock: Clock) -> None:
        self.unknown: dict[int, Ranges] = {}
        self.chosen_ms: dict[int, int] = {}
        self.last_accepted_ms: int | None = None
        self._work = work
        self._account = account
        self._clock = clock
        self._open: dict[int, Window] = {}

    def restore(self, state: SinkState) -> None:
        """Takes over the claims of a run that ended while it was sending."""
        self.unknown.clear()
        self.chosen_ms = dict(state.chosen_ms)
        for batch, claimed in state.claims.items():
            open_ids = Ranges(
                gap for first, last in claimed for gap in state.done.missing(first, last)
            )
            self.unknown[batch] = open_ids
            self._work.occupy(open_ids)

    def opened(self, window: Window) -> None:
        """The claim of this window is committed."""
        self._open[window.batch] = window

    def close_rest(self) -> None:
        """Closes windows that were claimed and never handed to the sink, when a run ends."""
        for window in list(self._open.values()):
            self.close(window)

    def record(self, window: Window, results: Results) -> None:
        """Notes what became of the readings of a window, and closes it."""
        self._account.record(window.tasks, results, asyncio.get_running_loop().time())
        if results.accepted:
            self.last_accepted_ms = self._clock.unix_ms()
        self.close(window)

    def close(self, window: Window) -> None:
        """Says what happens with each frame of a window next, and lets go of its claim."""
        self._open.pop(window.batch, None)
        done, lost = Ranges(), Ranges()
        for frame, task in window.tasks.items():
            if self.settle(task):
                done.add(frame)
            elif task.lost:
                lost.add(frame)
            elif task.due_s is not None:
                self._work.wait(frame, task.due_s)
            else:
                self._work.give_back([(frame, frame)], window.lane)
        self.finish(done)
        if lost:
            self.unknown[window.batch] = lost
            self.chosen_ms[window.batch] = window.chosen_ms
        elif window.batch:
            self._account.release(window.batch)
        self._account.flush_soon()

    def settle(self, task: Task) -> bool:
        """Notes how far a frame has come; True when nothing of it is open."""
        if task.open:
            self._account.interrupt(task)
            return False
        self._account.complete(task)
        return True

    def finish(self, ids: Ranges) -> None:
        """These frames are done."""
        self._work.finish(ids)
        self._account.finish(ids)
