"""Operations gathered and committed together, for callers that wait in an event loop.

A commit comes when the oldest waiting operation is a second old, when 500 frames wait, or at once
when an urgent operation arrives. Who runs that, and when, is said by a subclass: a thread in the
daemon, virtual time in simulations.
"""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from collector.archive.writer import (
    CLOSED,
    Fatal,
    Job,
    Open,
    Operation,
    T,
    WriteFailed,
    WritingConnection,
    close_quietly,
    end_process,
    is_own_fault,
    outcome,
)

GROUP_INTERVAL_S = 1.0
GROUP_FRAMES_MAX = 500
WAITING_MAX = 1_000


@dataclass(slots=True, kw_only=True)
class WaitedFor(Job):
    """A job whose caller waits in an event loop."""

    urgent: bool
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


@dataclass(slots=True)
class Group:
    """Jobs of one commit; `due_s` is when it comes at the latest."""

    due_s: float
    frames_max: int
    jobs: list[WaitedFor] = field(default_factory=list)
    frames: int = 0
    urgent: bool = False

    def take(self, job: WaitedFor) -> None:
        """Adds a job."""
        self.jobs.append(job)
        self.frames += job.frames
        self.urgent = self.urgent or job.urgent

    def wait_s(self, now_s: float) -> float | None:
        """How long to wait for a further job; None when no other is to join."""
        if len(self.jobs) >= WAITING_MAX or self.frames >= 2 * self.frames_max:
            return None
        if self.urgent or self.frames >= self.frames_max:
            return 0.0
        return max(0.0, self.due_s - now_s)


class Reader:
    """A connection that reads, opened when it is needed and again after the storage failed."""

    def __init__(self, open_reader: Open) -> None:
        self._open = open_reader
        self._connection: sqlite3.Connection | None = None

    def run(self, operation: Operation[T]) -> T:
        """What the operation returns or raises."""
        if self._connection is None:
            self._connection = self._open()
        try:
            return operation(self._connection)
        except sqlite3.Error as error:
            if not is_own_fault(error):
                self.close()
            raise

    def close(self) -> None:
        """Closes the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            close_quietly(connection)


class GroupWriter(ABC):
    """See Writer. `open_connection` opens and prepares the database, `open_reader` a view of it."""

    def __init__(
        self,
        open_connection: Open,
        open_reader: Open,
        *,
        interval_s: float = GROUP_INTERVAL_S,
        frames_max: int = GROUP_FRAMES_MAX,
        fatal: Fatal = end_process,
        after_commit: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self._connection = WritingConnection(open_connection, fatal, after_commit=after_commit)
        self.counters = self._connection.counters
        self._open_reader = open_reader
        self._interval_s = interval_s
        self._frames_max = frames_max
        self._room = asyncio.Semaphore(WAITING_MAX)
        self._closed = False

    async def write(self, operation: Operation[T], *, frames: int = 0, urgent: bool = False) -> T:
        """See Writer."""
        return await self._have_done(operation, frames=frames, urgent=urgent)

    async def maintain(self, operation: Operation[T]) -> T:
        """See Writer."""
        return await self._have_done(operation, urgent=True, alone=True)

    async def read(self, operation: Operation[T]) -> T:
        """See Writer."""
        if self._closed:
            raise WriteFailed(CLOSED)
        return await self._have_read(operation)

    async def close(self) -> None:
        """See Writer."""
        if self._closed:
            return
        self._closed = True
        await outcome(asyncio.ensure_future(self._end()))

    async def _have_done(
        self, operation: Operation[T], *, frames: int = 0, urgent: bool, alone: bool = False
    ) -> T:
        loop = asyncio.get_running_loop()
        async with self._room:
            if self._closed:
                raise WriteFailed(CLOSED)
            future: asyncio.Future[T] = loop.create_future()
            self._hand_over(
                WaitedFor(operation, frames, alone, urgent=urgent, future=future, loop=loop)
            )
            return await outcome(future)

    @abstractmethod
    def _hand_over(self, job: WaitedFor) -> None:
        """Has the job gathered; returns at once."""

    @abstractmethod
    async def _have_read(self, operation: Operation[T]) -> T:
        """Has it run on a reader's connection."""

    @abstractmethod
    async def _end(self) -> None:
        """Ends reading, commits what waits, closes the connections: the writing one last.

        Who is the last to close a database can leave it as one file.
        """

    def _group(self, first: WaitedFor, now_s: float) -> Group:
        """A group that begins with this job."""
        group = Group(now_s + self._interval_s, self._frames_max)
        group.take(first)
        return group

    def _commit(self, group: Group) -> None:
        """Commits a group, answers those who wait, and does what follows a commit."""
        failure = self._connection.commit(group.jobs)
        by_loop: dict[asyncio.AbstractEventLoop, list[WaitedFor]] = {}
        for job in group.jobs:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, jobs in by_loop.items():
            self._answer(loop, jobs, failure)
        if failure is None:
            self._connection.follow_up()

    def _answer(
        self, loop: asyncio.AbstractEventLoop, jobs: list[WaitedFor], failure: WriteFailed | None
    ) -> None:
        """Has the loop tell its callers what became of their jobs."""
        try:
            loop.call_soon_threadsafe(resolve, jobs, failure)
        except RuntimeError:
            return  # that loop has ended; nobody waits there any more


def resolve(jobs: list[WaitedFor], failure: WriteFailed | None) -> None:
    """Tells who waits what became of each job."""
    for job in jobs:
        if job.future.done():
            continue
        if failure is not None:
            job.future.set_exception(type(failure)(str(failure)))
        elif job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
