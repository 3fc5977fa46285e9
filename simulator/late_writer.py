"""The daemon's writer in virtual time: what a thread would do happens later, in one loop.

Gathering, committing and answering are the daemon's own code. How long reading, committing and the
way back to the caller take is drawn, so that everything else may happen meanwhile: also a stop, or
the death of the process.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from collector.archive.group_writer import Group, GroupWriter, Reader, WaitedFor, resolve
from collector.archive.writer import Open, Operation, T, WriteFailed

READ_S = 0.01
COMMIT_S = 0.02
ANSWER_S = 0.01


class Killed(BaseException):
    """The process that waits for this is dead. Not an Exception, so that nothing goes on by it."""


class LateWriter(GroupWriter):
    """See Writer; for a VirtualLoop.

    Without `chance` everything takes its usual time; with it up to three times as long.
    `on_commit` is called when a commit begins that will be known to its callers later. While
    `refuses` says so, the disk takes no commit.
    """

    def __init__(
        self,
        open_connection: Open,
        open_reader: Open,
        *,
        chance: Random | None = None,
        on_commit: Callable[[], None] = lambda: None,
        refuses: Callable[[], bool] = lambda: False,
        **options: Any,
    ) -> None:
        super().__init__(open_connection, open_reader, **options)
        self.dead = False
        self._chance = chance
        self._on_commit = on_commit
        self._refuses = refuses
        self._arrived: deque[WaitedFor] = deque()
        self._gathered: Group | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._committing = False
        self._unanswered: dict[asyncio.Future[Any], None] = {}
        self._reader = Reader(open_reader)
        self._reads = 0
        self._idle = asyncio.Event()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection that writes, opened again after a failure."""
        return self._connection.get()

    def abandon(self) -> None:
        """End as by SIGKILL: what is not committed is gone, and nobody learns what was."""
        self.dead = self._closed = True
        self._arrived.clear()
        self._gathered = None
        self._reader.close()
        self._connection.abandon()
        for future in self._unanswered:
            if not future.done():
                future.set_exception(Killed())

    async def write(self, operation: Operation[T], *, frames: int = 0, urgent: bool = False) -> T:
        """See Writer."""
        self._live()
        return await super().write(operation, frames=frames, urgent=urgent)

    def _live(self) -> None:
        if self.dead:
            raise Killed

    async def _have_read(self, operation: Operation[T]) -> T:
        self._reads += 1
        try:
            await asyncio.sleep(self._drawn(READ_S))
            self._live()
            return self._reader.run(operation)
        finally:
            self._reads -= 1
            self._look()

    def _hand_over(self, job: WaitedFor) -> None:
        self._live()
        self._unanswered[job.future] = None
        job.future.add_done_callback(lambda future: self._unanswered.pop(future, None))
        self._arrived.append(job)
        self._look()

    async def _end(self) -> None:
        self._look()
        await self._idle.wait()
        self._reader.close()
        self._connection.close()

    def _look(self) -> None:
        """Gathers what has arrived, and has the group committed when it is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._committing or self.dead:
            return
        loop = asyncio.get_running_loop()
        while self._gathered is None or (wait_s := self._gathered.wait_s(loop.time())) is not None:
            if not self._arrived:
                break
            job = self._arrived.popleft()
            if self._gathered is None:
                self._gathered = self._group(job, loop.time())
            else:
                self._gathered.take(job)
        else:
            wait_s = 0.0
        if self._gathered is None:
            if self._closed and not self._reads:
                self._idle.set()
        elif wait_s and not self._closed:
            self._timer = loop.call_later(wait_s, self._look)
        else:
            group, self._gathered = self._gathered, None
            self._committing = True
            loop.call_later(self._drawn(COMMIT_S), self._commit_now, group)

    def _commit_now(self, group: Group) -> None:
        if self.dead:
            return
        self._on_commit()
        if self._refuses():
            group.jobs.append(self._refusal(group.jobs[-1]))
        self._commit(group)
        self._committing = False
        self._look()

    def _refusal(self, beside: WaitedFor) -> WaitedFor:
        """What makes the storage fail once all else of a group is done."""
        future = beside.loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return WaitedFor(_fail, urgent=False, future=future, loop=beside.loop)

    def _answer(
        self, loop: asyncio.AbstractEventLoop, jobs: list[WaitedFor], failure: WriteFailed | None
    ) -> None:
        loop.call_later(self._drawn(ANSWER_S), self._resolve, jobs, failure)

    def _resolve(self, jobs: list[WaitedFor], failure: WriteFailed | None) -> None:
        if not self.dead:
            resolve(jobs, failure)

    def _drawn(self, usual_s: float) -> float:
        return usual_s if self._chance is None else usual_s * self._chance.uniform(0.0, 3.0)


def _fail(connection: sqlite3.Connection) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    raise error
