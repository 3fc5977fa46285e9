"""A writer without threads, for virtual time and for tools."""

import sqlite3
from collections.abc import Callable

from collector.archive.writer import (
    Fatal,
    Job,
    Open,
    Operation,
    T,
    WriteFailed,
    WritingConnection,
    end_process,
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
        self._connection = WritingConnection(open_connection, fatal, connection, after_commit)
        self.counters = self._connection.counters

    @property
    def connection(self) -> sqlite3.Connection:
        """The one connection, opened again after a failure."""
        return self._connection.get()

    async def write(self, operation: Operation[T], *, frames: int = 0, urgent: bool = False) -> T:
        """See Writer."""
        return self.write_now(operation, frames=frames)

    def write_now(self, operation: Operation[T], *, frames: int = 0) -> T:
        """The same without awaiting."""
        return self._run(operation, frames=frames)

    async def maintain(self, operation: Operation[T]) -> T:
        """See Writer."""
        return self._run(operation, alone=True)

    async def read(self, operation: Operation[T]) -> T:
        """See Writer."""
        try:
            connection = self.connection
        except sqlite3.ProgrammingError as error:
            raise WriteFailed(str(error)) from error
        return operation(connection)

    async def close(self) -> None:
        """See Writer."""
        self._connection.close()

    def abandon(self) -> None:
        """Closes without another word, as the end of the process does."""
        self._connection.abandon()

    def _run(self, operation: Operation[T], *, frames: int = 0, alone: bool = False) -> T:
        job = Job(operation, frames, alone)
        failure = self._connection.commit([job])
        if failure is not None:
            raise failure
        self._connection.follow_up()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result
