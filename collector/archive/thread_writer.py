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
    Open,
    Operation,
    T,
    WriteFailed,
    WritingConnection,
    close_quietly,
    end_process,
    is_own_fault,
)

GROUP_INTERVAL_S = 1.0
GROUP_FRAMES_MAX = 500
WAITING_MAX = 1_000
READERS = 2


@dataclass(slots=True)
class _Job:
    operation: Operation[Any]
    frames: int
    urgent: bool
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop
    alone: bool = False
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Group:
    jobs: list[_Job] = field(default_factory=list)
    frames: int = 0
    urgent: bool = False

    def take(self, job: _Job) -> None:
        self.jobs.append(job)
        self.frames += job.frames
        self.urgent = self.urgent or job.urgent


def run_group(connection: sqlite3.Connection, jobs: list[_Job]) -> None:
    """Runs all jobs in one transaction and commits; sqlite3.Error when the storage failed."""
    if not jobs:
        return
    connection.execute("BEGIN IMMEDIATE")
    for job in jobs:
        connection.execute("SAVEPOINT job")
        try:
            job.result = job.operation(connection)
        except sqlite3.Error as error:
            if not is_own_fault(error) or not connection.in_transaction:
                raise
            job.error = error
        except Exception as error:
            job.error = error
        if job.error is not None:
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
    connection.execute("COMMIT")


def run_alone(connection: sqlite3.Connection, job: _Job) -> None:
    """Runs a job outside a transaction; its failure is its own, the group is committed."""
    try:
        job.result = job.operation(connection)
    except Exception as error:
        job.error = WriteFailed(str(error)) if isinstance(error, sqlite3.Error) else error


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
        self._connection = WritingConnection(open_connection, fatal)
        self.counters = self._connection.counters
        self._open_reader = open_reader
        self._interval_s = interval_s
        self._frames_max = frames_max
        self._after_commit = after_commit
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(WAITING_MAX)
        self._local = threading.local()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="archive-reader")
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="archive-writer", daemon=True)
        self._thread.start()

    async def write(self, operation: Operation[T], *, frames: int = 0, urgent: bool = False) -> T:
        """See Writer."""
        if self._closed:
            raise WriteFailed("the writer is closed")
        loop = asyncio.get_running_loop()
        async with self._room:
            future: asyncio.Future[T] = loop.create_future()
            self._queue.put(_Job(operation, frames, urgent, future, loop))
            return await asyncio.shield(future)

    async def maintain(self, operation: Operation[T]) -> T:
        """See Writer."""
        if self._closed:
            raise WriteFailed("the writer is closed")
        loop = asyncio.get_running_loop()
        async with self._room:
            future: asyncio.Future[T] = loop.create_future()
            self._queue.put(_Job(operation, 0, True, future, loop, alone=True))
            return await asyncio.shield(future)

    async def read(self, operation: Operation[T]) -> T:
        """See Writer."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, operation)

    async def close(self) -> None:
        """See Writer."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._readers.shutdown(wait=True)

    def _read(self, operation: Operation[T]) -> T:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open_reader()
        try:
            return operation(connection)
        except sqlite3.Error as error:
            if not is_own_fault(error):
                self._local.connection = None
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
        failure: BaseException | None = None
        try:
            connection = self._connection.get()
            run_group(connection, [job for job in group.jobs if not job.alone])
            for job in group.jobs:
                if job.alone:
                    run_alone(connection, job)
        except sqlite3.Error as error:
            failure = self._connection.failed(error)
        except OSError as error:
            failure = self._connection.failed(sqlite3.OperationalError(str(error)))
        else:
            self._connection.committed(group.frames)
        by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        for job in group.jobs:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, jobs in by_loop.items():
            try:
                loop.call_soon_threadsafe(_resolve, jobs, failure)
            except RuntimeError:
                continue  # that loop has ended; nobody waits there any more
        if failure is None and self._after_commit is not None:
            try:
                self._after_commit(self._connection.get())
            except sqlite3.Error as error:
                self._connection.failed(error)


def _resolve(jobs: list[_Job], failure: BaseException | None) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if failure is not None:
            job.future.set_exception(WriteFailed(str(failure)))
        elif job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
