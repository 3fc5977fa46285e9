"""One writer per database: what it promises, and what its failures mean.

A caller hands over a function of the connection and waits; it is resumed after the commit that
holds its work.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]
Open = Callable[[], sqlite3.Connection]
Fatal = Callable[[BaseException], None]

EXIT_IO_ERROR = 74

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


class Writer(Protocol):
    """What storage offers to the rest of the collector."""

    counters: "WriterCounters"

    async def write(self, operation: Operation[T], *, frames: int = 0, urgent: bool = False) -> T:
        """Runs the operation in the next group; returns its result after the commit.

        Raises WriteFailed when the group could not be committed, or what the operation raised; in
        that case the operation alone is rolled back.
        """

    async def read(self, operation: Operation[T]) -> T:
        """Runs a reading operation on a connection of its own; sees committed data only."""

    async def maintain(self, operation: Operation[T]) -> T:
        """Runs an operation that must not be inside a transaction, between two groups."""

    async def close(self) -> None:
        """Commits what waits and closes."""


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


class WritingConnection:
    """The one connection that writes: given up when the storage fails, and then opened again."""

    def __init__(
        self, open_connection: Open, fatal: Fatal, connection: sqlite3.Connection | None = None
    ) -> None:
        self.counters = WriterCounters()
        self._open = open_connection
        self._fatal = fatal
        self._connection: sqlite3.Connection | None = connection or open_connection()

    def get(self) -> sqlite3.Connection:
        """The connection; sqlite3.Error when it cannot be opened again."""
        if self._connection is None:
            self._connection = self._open()
            self.counters.reopened += 1
        return self._connection

    def committed(self, frames: int) -> None:
        """Counts a commit."""
        self.counters.commits += 1
        self.counters.frames += frames
        self.counters.last_commit_ms = time.monotonic_ns() // 1_000_000

    def failed(self, error: sqlite3.Error) -> WriteFailed:
        """Gives up the connection, with whatever it still had in its transaction."""
        if is_sync_failure(error):
            self._fatal(error)
        self.counters.failures += 1
        self.counters.last_failure = str(error)
        connection, self._connection = self._connection, None
        if connection is not None:
            close_quietly(connection)
        return WriteFailed(str(error))

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


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
