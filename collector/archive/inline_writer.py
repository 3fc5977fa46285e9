"""A writer without threads, for virtual time and for tools."""

import sqlite3
from collections.abc import Callable

from collector.archive.writer import (
    Fatal,
    Open,
    Operation,
    T,
    WritingConnection,
    end_process,
    is_own_fault,
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
        self._connection = WritingConnection(open_connection, fatal, connection)
        self.counters = self._connection.counters
        self._after_commit = after_commit

    @property
    def connection(self) -> sqlite3.Connection:
        """The one connection, opened again after a failure."""
        return self._connection.get()

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
            raise self._connection.failed(error) from error
        self._connection.committed(frames)
        return result

    async def maintain(self, operation: Operation[T]) -> T:
        """See Writer."""
        try:
            return operation(self.connection)
        except sqlite3.Error as error:
            raise self._connection.failed(error) from error

    async def read(self, operation: Operation[T]) -> T:
        """See Writer."""
        return operation(self.connection)

    async def close(self) -> None:
        """See Writer."""
        self._connection.close()
