"""Ways in which a write can end, for whatever is written as parcels.

`Disk` opens databases whose COMMIT fails on demand, with the transaction on the disk or not, and
makes each kind of writer on them.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from collector.archive.inline_writer import InlineWriter
from collector.archive.thread_writer import ThreadWriter
from collector.archive.writer import Writer
from simulator.late_writer import LateWriter

KINDS = ("inline", "late", "thread")
Fate = Literal["kept", "failed", "unknown, kept", "unknown, gone"]
FATES: tuple[Fate, ...] = ("kept", "failed", "unknown, kept", "unknown, gone")
KEPT: tuple[Fate, ...] = ("kept", "unknown, kept")


class Disk:
    """A database file; `fate` says how its next transactions end."""

    def __init__(self, open_: Callable[..., sqlite3.Connection] = sqlite3.connect) -> None:
        self.fate: Fate = "kept"
        self.transactions = 0
        self._open = open_

    def open(self) -> sqlite3.Connection:
        """Opens it with a connection that ends transactions as `fate` says."""
        with self.under_all():
            return self._open()

    def under_all(self) -> AbstractContextManager[None]:
        """Has every database that is opened meanwhile end its transactions so."""
        disk = self

        class Doomed(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:  # type: ignore[override]
                if sql == "BEGIN IMMEDIATE":
                    disk.transactions += 1
                    if disk.fate == "failed":
                        raise _error()
                if sql == "COMMIT" and disk.fate.startswith("unknown"):
                    super().execute("COMMIT" if disk.fate == "unknown, kept" else "ROLLBACK")
                    raise _error()
                return super().execute(sql, *arguments)

        return _made_of(Doomed)

    def writer(self, kind: str) -> Writer:
        """A writer of this kind."""
        if kind == "inline":
            return InlineWriter(self.open)
        return made(kind)(self.open, self._open)


def made(kind: str) -> Callable[..., LateWriter | ThreadWriter]:
    """Makes a writer that commits later; one that waits for no second operation."""
    return partial(LateWriter if kind == "late" else ThreadWriter, interval_s=0.0)


def _error() -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    return error


@contextmanager
def _made_of(factory: type[sqlite3.Connection]) -> Iterator[None]:
    """Whoever connects gets connections of this type."""
    connect = sqlite3.connect

    def made(*arguments: Any, **options: Any) -> sqlite3.Connection:
        options["factory"] = factory
        connection: sqlite3.Connection = connect(*arguments, **options)
        return connection

    sqlite3.connect = made  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect = connect


async def cancelled_after(turns: int, story: Callable[[], Any], turn_s: float = 0.0) -> bool:
    """Runs a story and cancels it after so many turns of the loop; True when it was cut short."""
    task = asyncio.ensure_future(story())
    for _ in range(turns):
        if task.done():
            break
        await asyncio.sleep(turn_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return task.cancelled()


def plain(path: Path) -> Callable[[], sqlite3.Connection]:
    """Opens a database with a table of numbers."""

    def open_() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS number (value INTEGER)")
        return connection

    return open_
