"""One writer per database: what it promises, and what its failures mean.

A caller hands over a function of the connection and waits; it is resumed after the commit that
holds its work. A write that has begun cannot be called back, so its caller always learns what
became of it, also when it is cancelled meanwhile: see `outcome`.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]
Open = Callable[[], sqlite3.Connection]
Fatal = Callable[[BaseException], None]

EXIT_IO_ERROR = 74
CLOSED = "the writer is closed"
LAST_READERS_MS = 2_000
"""How long a database that closes waits for readers of other programs."""

_IOERR_FSYNC = 1034
_IOERR_DIR_FSYNC = 1290
_SYNC_ERRORS = (_IOERR_FSYNC, _IOERR_DIR_FSYNC)
_CONSTRAINT = 19
_MISUSE = 21
_ERROR = 1
_RANGE = 25
_TOOBIG = 18
_MISMATCH = 20
_OWN_FAULTS = (_ERROR, _TOOBIG, _CONSTRAINT, _MISMATCH, _MISUSE, _RANGE)


class WriteFailed(Exception):
    """Nothing of the group was kept: disk full, an input/output error, a lock held too long."""


class OutcomeUnknown(WriteFailed):
    """The commit itself failed: the disk has the whole group or nothing of it.

    Which of both, the next transaction sees, and its own commit makes that last: see
    `collector.archive.parcels`.
    """


class Writer(Protocol):
    """What storage offers to the rest of the collector."""

    counters: "WriterCounters"

    async def write(self, operation: Operation[T], *, frames: int = 0, urgent: bool = False) -> T:
        """Runs the operation in the next group; returns its result after the commit.

        Raises WriteFailed when the group could not be committed (OutcomeUnknown when that is not
        sure), or what the operation raised; in that case the operation alone is rolled back. A
        CancelledError means that nothing was written and nothing will be; a cancellation that comes
        later is raised at the caller's next await, after this has returned or raised.
        """

    async def read(self, operation: Operation[T]) -> T:
        """Runs a reading operation on a connection of its own; sees committed data only.

        Raises WriteFailed when the writer is closed.
        """

    async def maintain(self, operation: Operation[T]) -> T:
        """Runs an operation that must not be inside a transaction, between two groups.

        Fails alone, with WriteFailed or what the operation raised. Cancelled as `write` is.
        """

    async def close(self) -> None:
        """Commits what waits, moves the log into the database, and closes."""


def is_sync_failure(error: sqlite3.Error) -> bool:
    """True when fsync itself failed: what the disk holds is then unknown."""
    return getattr(error, "sqlite_errorcode", 0) in _SYNC_ERRORS


def is_own_fault(error: sqlite3.Error) -> bool:
    """True when the statement was wrong (a constraint, a type), not the storage."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or (code & 0xFF) in _OWN_FAULTS


def end_process(error: BaseException) -> None:
    """Ends the process at once; nothing may be acknowledged after a failed fsync."""
    os.write(2, f"fsync failed, the process ends here: {error}\n".encode())
    os._exit(EXIT_IO_ERROR)


@dataclass(slots=True)
class WriterCounters:
    """What the writer did since it started; `committed` feeds the watchdog."""

    commits: int = 0
    frames: int = 0
    failures: int = 0
    reopened: int = 0
    last_commit_ms: int = 0
    last_failure: str = ""


async def outcome(future: "asyncio.Future[T]") -> T:
    """Waits for what cannot be called back; a cancellation meanwhile is raised at the next await.

    So a caller is never left without knowing whether its work was done.
    """
    task = asyncio.current_task()
    cancellations = 0
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError:
            cancellations += 1
            if task is not None:
                task.uncancel()
    if task is not None:
        for _ in range(cancellations):
            task.cancel()
    return future.result()


@dataclass(slots=True)
class Job:
    """An operation, and what became of it; `alone`: outside a transaction."""

    operation: Operation[Any]
    frames: int = 0
    alone: bool = False
    result: Any = None
    error: BaseException | None = None


class WritingConnection:
    """The one connection that writes: given up when the storage fails, and then opened again.

    `after_commit` is called with the connection after each commit; what it raises is a failure of
    the storage, and takes nothing back of what is committed.
    """

    def __init__(
        self,
        open_connection: Open,
        fatal: Fatal,
        connection: sqlite3.Connection | None = None,
        after_commit: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self.counters = WriterCounters()
        self._open = open_connection
        self._fatal = fatal
        self._after_commit = after_commit
        self._connection: sqlite3.Connection | None = connection or open_connection()
        self._closed = False

    def get(self) -> sqlite3.Connection:
        """The connection; sqlite3.Error when it is closed, or cannot be opened again."""
        if self._closed:
            raise sqlite3.ProgrammingError(CLOSED)
        if self._connection is None:
            self._connection = self._open()
            self.counters.reopened += 1
        return self._connection

    def commit(self, jobs: Sequence[Job]) -> WriteFailed | None:
        """Runs jobs and commits them together; each job says then what became of it.

        WriteFailed is returned when nothing of the group was kept, OutcomeUnknown when that is not
        sure. Call `follow_up` next, once those who wait have been told.
        """
        group = [job for job in jobs if not job.alone]
        try:
            connection = self.get()
            _run_group(connection, group)
        except sqlite3.Error as error:
            return self._failed(error)
        except OSError as error:
            return self._failed(sqlite3.OperationalError(str(error)))
        try:
            if group:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            unknown = not connection.in_transaction
            failure = self._failed(error)
            return OutcomeUnknown(str(failure)) if unknown else failure
        for job in jobs:
            if job.alone:
                _run_alone(connection, job)
        self.counters.commits += 1
        self.counters.frames += sum(job.frames for job in jobs)
        self.counters.last_commit_ms = time.monotonic_ns() // 1_000_000
        return None

    def follow_up(self) -> None:
        """What is to be done after a commit that holds; never raises."""
        if self._after_commit is None:
            return
        try:
            self._after_commit(self.get())
        except sqlite3.Error as error:
            self._failed(error)
        except OSError as error:
            self._failed(sqlite3.OperationalError(str(error)))

    def _failed(self, error: sqlite3.Error) -> WriteFailed:
        """Gives up the connection, with whatever it still had in its transaction."""
        if is_sync_failure(error):
            self._fatal(error)
        self.counters.failures += 1
        self.counters.last_failure = str(error)
        connection, self._connection = self._connection, None
        if connection is not None:
            close_quietly(connection)
        return WriteFailed(str(error))

    def abandon(self) -> None:
        """Closes without another word, as the end of the process does."""
        connection, self._connection = self._connection, None
        self._closed = True
        if connection is not None:
            close_quietly(connection)

    def close(self) -> None:
        """Moves the log into the database, so that one file is left, and closes."""
        connection, self._connection = self._connection, None
        if self._closed:
            return
        self._closed = True
        try:
            if connection is None:  # given up after a failure; the storage may work by now
                connection = self._open()
        except (sqlite3.Error, OSError) as error:
            log.error("the log could not be moved into its database: %s", error)
            return
        try:
            connection.execute(f"PRAGMA busy_timeout = {LAST_READERS_MS}")
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                log.warning(
                    "%s is being read by another program: its -wal file belongs to it",
                    path_of(connection),
                )
        except sqlite3.Error as error:
            if is_sync_failure(error):
                self._fatal(error)
            log.error("the log could not be moved into its database: %s", error)
        close_quietly(connection)


def _run_group(connection: sqlite3.Connection, jobs: list[Job]) -> None:
    """Runs all jobs in one transaction, which stays open; sqlite3.Error when the storage failed."""
    if not jobs:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
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
    except sqlite3.Error:
        raise
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _run_alone(connection: sqlite3.Connection, job: Job) -> None:
    """Runs a job outside a transaction; its failure is its own, the group is committed."""
    try:
        job.result = job.operation(connection)
    except Exception as error:
        job.error = WriteFailed(str(error)) if isinstance(error, sqlite3.Error) else error


def close_quietly(connection: sqlite3.Connection) -> None:
    """Closes a connection whose storage may be failing."""
    with suppress(sqlite3.Error):
        connection.close()


def path_of(connection: sqlite3.Connection) -> Path | None:
    """File of the main database, None for one in memory."""
    for _, name, file in connection.execute("PRAGMA database_list"):
        if name == "main":
            return Path(file) if file else None
    return None
