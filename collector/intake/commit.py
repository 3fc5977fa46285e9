"""A group of frames into the archive as one transaction, and into the ledger when that holds.

A frame whose commit failed is forgotten: the board sends it again. After a failed commit it is
not known what the disk holds, so nothing new may be taken in before the two have been compared.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass

from collector.archive import archive
from collector.archive.archive import CONFLICT, StoredFrame
from collector.archive.parcels import Parcel, commit
from collector.archive.writer import WriteFailed, is_own_fault
from collector.intake.receipts import Receipts
from collector.intake.renewal import Renewal
from collector.ledger.ledger_boot import BootLedger
from collector.ledger.ledger_store import LedgerRows
from collector.storage import recovery
from collector.storage.derived import Derived
from collector.storage.storage import Storage
from collector.transports.base import Source
from collector.turns import Turns, in_turns
from protocol import wire
from protocol.outline import RAISED, Outline, undecoded

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Waiting:
    """A frame on its way into the archive."""

    frame: StoredFrame
    boot: BootLedger
    seen: Outline
    source: Source

    @property
    def tag(self) -> bytes:
        """The frame's trailer."""
        return self.frame.raw[-wire.TAG_BYTES :]

    def wait(self) -> None:
        """Notes it as one that the next commit will hold."""
        if self.frame.state == CONFLICT:
            self.boot.wait_conflict(self.frame.seq, self.tag)
        else:
            self.boot.wait(self.frame.seq, self.tag)

    def forget(self) -> None:
        """Its board sends it again."""
        if self.frame.state == CONFLICT:
            self.boot.discard_conflict(self.frame.seq, self.tag)
        else:
            self.boot.discard(self.frame.seq)


class FrameGroup:
    """A group of frames as a parcel: forgotten where it is not sure that the archive has them.

    Those that are `committed` wait until they are taken into ledger and index, which takes turns.
    """

    def __init__(self, group: Sequence[Waiting]) -> None:
        self.first_id = 0
        self._group = group

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        last_id = archive.append_many(connection, [waiting.frame for waiting in self._group])
        self.first_id = last_id - len(self._group) + 1

    def committed(self) -> None:
        """See Parcel."""

    def failed(self) -> None:
        """See Parcel."""
        for waiting in self._group:
            waiting.forget()

    def unknown(self) -> None:
        """See Parcel; whoever commits has to look what the archive has, see `GroupCommit`."""
        self.failed()


class GroupCommit:
    """Commits groups; `doubtful` after one failed, until ledger and disk agree again."""

    def __init__(self, storage: Storage, receipts: Receipts, renewal: Renewal) -> None:
        self.doubtful = False
        self.committed = 0
        self.failed = 0
        self.impossible = 0
        """FrameGroup that no commit could hold, though the storage works."""
        self._ledger = storage.ledger
        self._indexing = storage.indexing
        self._writer = storage.writer
        self._receipts = receipts
        self._renewal = renewal

    @property
    def due(self) -> bool:
        """Whether a commit is wanted also when no frame waits."""
        return bool(self._ledger.first_contacts or self._renewal.unwritten)

    async def commit(self, group: Sequence[Waiting]) -> list[Waiting]:
        """Writes a group, and what first frames and contacts brought; returns what is durable.

        Nothing is, when the storage failed. A frame that no row can hold costs itself only.
        """
        try:
            if not self._indexing.full:
                first_id = await self._write(group, self._beside())
            else:
                async with self._indexing.writing:
                    found = Derived(self._indexing)
                    first = in_turns(found.find_dirty())
                    first_id = await self._write(group, [*self._beside(), found], first)
        except Exception as error:
            if _is_of_storage(error):
                return []
            log.warning("a group cannot be stored as it is; each frame is tried alone: %r", error)
            return await self._one_by_one(list(group))
        await self._enter(group, first_id)
        return list(group)

    def _beside(self) -> list[Parcel]:
        """What goes with the next group of frames."""
        contacts = LedgerRows(self._ledger)
        contacts.take_first_contacts()
        return [
            self._indexing.timeline.take_first(),
            contacts,
            self._indexing.take_failed(),
            *self._receipts.take_date(),
            *self._renewal.take(),
        ]

    async def _write(
        self,
        group: Sequence[Waiting],
        beside: Iterable[Parcel] = (),
        first: Awaitable[None] | None = None,
    ) -> int:
        """The first frame's id once all are durable; what then follows is `_enter`."""
        frames = FrameGroup(group)
        try:
            await commit(
                self._writer, [frames, *beside], first=first, frames=len(group), urgent=True
            )
        except Exception as error:
            if _is_of_storage(error):
                self.doubtful = True
                self.failed += 1
                log.error("commit failed, %d frames are not acknowledged: %s", len(group), error)
            raise
        return frames.first_id

    async def _one_by_one(self, rest: list[Waiting]) -> list[Waiting]:
        """Commits frames of which one cannot be stored as it is: that one goes in as failed."""
        durable: list[Waiting] = []
        for waiting in rest:
            waiting.wait()
        try:
            while rest:
                durable += await self._alone(rest.pop(0))
        except Exception as error:
            if not _is_of_storage(error):
                raise
        finally:
            forget(rest)
        return durable

    async def _alone(self, waiting: Waiting) -> list[Waiting]:
        for attempt in (waiting, _as_failed(waiting)):
            attempt.wait()
            try:
                first_id = await self._write([attempt])
            except Exception as error:
                if _is_of_storage(error):
                    raise
                log.error("node %08x: a frame cannot be stored: %r", attempt.frame.node, error)
            else:
                await self._enter([attempt], first_id)
                return [attempt]
        self.impossible += 1
        return []

    async def _enter(self, group: Sequence[Waiting], first_id: int) -> None:
        """Takes a durable group into ledger, timeline and index, in turns.

        What is durable is entered to the end, also by one who is cancelled meanwhile.
        """
        turns = Turns()
        cancelled: BaseException | None = None
        for frame_id, waiting in enumerate(group, first_id):
            frame, boot = waiting.frame, waiting.boot
            tag = frame.raw[-wire.TAG_BYTES :]
            if frame.state == CONFLICT:
                boot.commit_conflict(frame.seq, tag)
            else:
                boot.commit(frame.seq, tag, frame.last_ms)
            self._indexing.enter(frame_id, boot, frame.seq, frame.received_ms, waiting.seen)
            self._ledger.newest_id = max(self._ledger.newest_id, frame_id)
            if turns.over(1 + waiting.seen.extra_cost) and cancelled is None:
                try:
                    await asyncio.sleep(0)
                except BaseException as error:
                    cancelled = error
        self.committed += len(group)
        if cancelled is not None:
            raise cancelled

    async def compare_with_disk(self) -> bool:
        """After a failed commit: takes into the ledger what the archive holds all the same.

        Until that is known nothing new is taken in, so no frame can be stored twice. False when
        the storage does not work yet.
        """
        known_id = self._ledger.newest_id
        try:
            await self._writer.write(_touch, urgent=True)
            rows = await self._writer.read(
                lambda reader: list(recovery.frames_after(reader, known_id))
            )
        except (WriteFailed, sqlite3.Error) as error:
            log.error("the archive cannot be written: %s", error)
            return False
        recovery.take_back(self._ledger, self._indexing, rows)
        self.doubtful = False
        return True


def _touch(connection: sqlite3.Connection) -> None:
    """A write that shows whether the storage works again."""
    archive.put_meta(connection, "recovered", archive.newest_id(connection))


def _is_of_storage(error: BaseException) -> bool:
    """Whether the disk failed, and not what was to be written."""
    if isinstance(error, sqlite3.Error):
        return not is_own_fault(error)
    return isinstance(error, WriteFailed)


def _as_failed(waiting: Waiting) -> Waiting:
    """The same frame as one that nothing can be made of but its bytes."""
    frame = waiting.frame
    state = frame.state if frame.state == CONFLICT else archive.FAILED
    bare = frame._replace(state=state, first_ms=0, last_ms=0)
    return Waiting(bare, waiting.boot, undecoded(RAISED), waiting.source)


def forget(group: Iterable[Waiting]) -> None:
    """Their boards send them again."""
    for waiting in group:
        waiting.forget()
