"""The daemon's writer: operations are gathered and committed together by a thread.

A commit comes when the oldest waiting operation is a second old, when 500 frames wait, or at once
when an urgent operation arrives.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from collector.archive.writer import (
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
READERS = 2


@dataclass(slots=True, kw_only=True)
class _WaitedFor(Job):
    """A job whose caller waits in an event loop."""

    urgent: bool
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


@dataclass(slots=True)
class _Group:
    jobs: list[_WaitedFor] = field(default_factory=list)
    frames: int = 0
    urgent: bool = False

    def take(self, job: _WaitedFor) -> None:
        self.jobs.append(job)
        self.frames += job.frames
        self.urgent = self.urgent or job.urgent


class ThreadWriter:
    """The daemon's writer: a thread owns the connection; readers have their own threads.

    `open_connection` opens and prepares the database, `open_reader` a second, read-only view.
    """

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
        self._queue: queue.SimpleQueue[_WaitedFor | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(WAITING_MAX)
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="archive-reader")
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="archive-writer", daemon=True)
        self._thread.start()

    async def write(self, operation: Operation[T], *, frames: int = 0, urgent: bool = False) -> T:
        """See Writer."""
        return await self._have_done(operation, frames=frames, urgent=urgent)

    async def maintain(self, operation: Operation[T]) -> T:
        """See Writer."""
        return await self._have_done(operation, urgent=True, alone=True)

    async def _have_done(
        self, operation: Operation[T], *, frames: int = 0, urgent: bool, alone: bool = False
    ) -> T:
        loop = asyncio.get_running_loop()
        async with self._room:
            if self._closed:
                raise WriteFailed("the writer is closed")
            future: asyncio.Future[T] = loop.create_future()
            self._queue.put(
                _WaitedFor(operation, frames, alone, urgent=urgent, future=future, loop=loop)
            )
            return await outcome(future)

    async def read(self, operation: Operation[T]) -> T:
        """See Writer."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, operation)

    async def close(self) -> None:
        """See Writer."""
        if self._closed:
            return
        self._closed = True
        await outcome(asyncio.ensure_future(asyncio.to_thread(self._end)))

    def _end(self) -> None:
        """Readers go first: the last to close a database can leave it as one file."""
        self._readers.shutdown(wait=True)
        for connection in self._reading:
            close_quietly(connection)
        self._queue.put(None)
        self._thread.join()

    def _read(self, operation: Operation[T]) -> T:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open_reader()
            self._reading.append(connection)
        try:
            return operation(connection)
        except sqlite3.Error as error:
            if not is_own_fault(error):
                self._local.connection = None
                self._reading.remove(connection)
                close_quietly(connection)
            raise

    def _run(self) -> None:
        ending = False
        while not ending:
            first = self._queue.get()
            group = _Group()
            if first is None:
                ending = True
            else:
                group.take(first)
                ending = self._gather(group)
            if group.jobs:
                self._commit(group)
        self._connection.close()

    def _gather(self, group: _Group) -> bool:
        """Adds what arrives until the group is due; True when the writer is to end."""
        due_s = time.monotonic() + self._interval_s
        while len(group.jobs) < WAITING_MAX:
            full = group.urgent or group.frames >= self._frames_max
            try:
                job = self._queue.get(timeout=0 if full else max(0.0, due_s - time.monotonic()))
            except queue.Empty:
                return False
            if job is None:
                return True
            group.take(job)
            if full and group.frames >= 2 * self._frames_max:
                return False
        return False

    def _commit(self, group: _Group) -> None:
        failure = self._connection.commit(group.jobs)
        by_loop: dict[asyncio.AbstractEventLoop, list[_WaitedFor]] = {}
        for job in group.jobs:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, jobs in by_loop.items():
            try:
                loop.call_soon_threadsafe(_resolve, jobs, failure)
            except RuntimeError:
                continue  # that loop has ended; nobody waits there any more
        if failure is None:
            self._connection.follow_up()


def _resolve(jobs: list[_WaitedFor], failure: WriteFailed | None) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if failure is not None:
            job.future.set_exception(WriteFailed(str(failure)))
        elif job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
