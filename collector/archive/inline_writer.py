"""A writer without threads, for virtual time and for tools."""

import sqlite3
import time
from collections.abc import Callable

from collector.archive.writer import (
    Fatal,
    Open,
    Operation,
    T,
    WriteFailed,
    WriterCounters,
    close_quietly,
    end_process,
    is_own_fault,
    is_sync_failure,
)


class InlineWriter:
    """A writer without threads, for virtual time: every operation is a commit of its own."""

    def __init__(
        self,
        open_connection: Open,
        *,
        connection: sqlite3.Connection | None = None,
        fatal: Fatal = end_process,
        after_commit: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self.counters = WriterCounters()
        self._open = open_connection
        self._fatal = fatal
        self._after_commit = after_commit
        self._connection: sqlite3.Connection | None = connection or open_connection()

    @property
    def connection(self) -> sqlite3.Connection:
        """The one connection, opened again after a failure."""
        if self._connection is None:
            self._connection = self._open()
            self.counters.reopened += 1
        return self._connection

    async def write(self, operation: Operation[T], *, frames: int = 0, urgent: bool = False) -> T:
        """See Writer."""
        return self.write_now(operation, frames=frames)

    def write_now(self, operation: Operation[T], *, frames: int = 0) -> T:
        """The same without awaiting."""
        try:
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = operation(connection)
            except BaseException as error:
                storage = isinstance(error, sqlite3.Error) and not is_own_fault(error)
                if not storage and connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            if self._after_commit is not None:
                self._after_commit(connection)
        except sqlite3.Error as error:
            if is_own_fault(error):
                raise
            raise self._failed(error) from error
        self.counters.commits += 1
        self.counters.frames += frames
        self.counters.last_commit_ms = time.monotonic_ns() // 1_000_000
        return result

    async def maintain(self, operation: Operation[T]) -> T:
        """See Writer."""
        try:
            return operation(self.connection)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    async def read(self, operation: Operation[T]) -> T:
        """See Writer."""
        return operation(self.connection)

    async def close(self) -> None:
        """See Writer."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _failed(self, error: sqlite3.Error) -> WriteFailed:
        if is_sync_failure(error):
            self._fatal(error)
        self.counters.failures += 1
        self.counters.last_failure = str(error)
        connection, self._connection = self._connection, None
        if connection is not None:
            close_quietly(connection)
        return WriteFailed(str(error))
