"""What is not yet written: taken out of memory as a parcel, and told what became of it.

A parcel is taken, written in the writer's transaction, and then told exactly one of three things
before anybody else runs: it is `committed`; it `failed`, so that nothing of it is on the disk; or
that is `unknown`, because COMMIT itself failed after it may have reached the disk. What is unknown
is decided by the owner's next transaction, which sees what the disk has: a parcel that may be
written twice is taken again as if it had failed; one that may not carries a number, written in
the same transaction, by which the next one tells whether it is there.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Protocol

from collector.archive.writer import OutcomeUnknown, Writer


class Parcel(Protocol):
    """Something of memory on its way to the disk, out of its owner's hands until it is told."""

    def write(self, connection: sqlite3.Connection) -> None:
        """Writes it; in the writer's thread, inside its transaction. Changes nothing in memory."""

    def committed(self) -> None:
        """It is on the disk."""

    def failed(self) -> None:
        """Nothing of it is on the disk: its owner has it again, unless something newer won."""

    def unknown(self) -> None:
        """It is on the disk as a whole, or not at all; its owner's next transaction sees which."""


class Repeatable(ABC):
    """A parcel that may be written twice: what is unknown is written again."""

    @abstractmethod
    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""

    def committed(self) -> None:  # noqa: B027 - most owners need not know
        """See Parcel."""

    @abstractmethod
    def failed(self) -> None:
        """See Parcel."""

    def unknown(self) -> None:
        """See Parcel."""
        self.failed()


async def commit(
    writer: Writer,
    parcels: Sequence[Parcel],
    *,
    first: Awaitable[object] | None = None,
    frames: int = 0,
    urgent: bool = False,
) -> None:
    """Writes parcels in one transaction, in order, and tells each what became of it.

    `first` is awaited before: what is still to be made of the parcels. Returns when all are
    committed; raises what `first`, the parcels, or the writer raised, see Writer.write. Cancelled
    before the writer has them, they have failed; later that is known first, and the cancellation
    comes at the caller's next await. So whatever happens, no parcel is left untold.
    """

    def write(connection: sqlite3.Connection) -> None:
        for parcel in parcels:
            parcel.write(connection)

    try:
        if first is not None:
            await first
        await writer.write(write, frames=frames, urgent=urgent)
    except OutcomeUnknown:
        for parcel in parcels:
            parcel.unknown()
        raise
    except BaseException:
        for parcel in parcels:
            parcel.failed()
        raise
    for parcel in parcels:
        parcel.committed()


def commit_now(connection: sqlite3.Connection, parcels: Sequence[Parcel]) -> None:
    """The same on a connection that is in no transaction, at a start.

    What fails ends the start: whether it is on the disk, the next one sees.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        for parcel in parcels:
            parcel.write(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for parcel in parcels:
            parcel.unknown()
        raise
    for parcel in parcels:
        parcel.committed()
