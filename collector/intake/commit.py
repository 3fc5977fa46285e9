"""A group of frames into the archive as one transaction, and into the ledger when that holds.

A frame whose commit failed is forgotten: the board sends it again. After a failed commit it is
not known what the disk holds, so nothing new may be taken in before the two have been compared.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from collector.archive import archive
from collector.archive.archive import CONFLICT, StoredFrame
from collector.archive.writer import WriteFailed, Writer, is_own_fault
from collector.intake.receipts import Receipts
from collector.ledger import ledger_store
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_boot import BootLedger
from collector.storage import derived, recovery
from collector.storage.indexing import Indexing, mark_failed
from collector.timeline import knot_table
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


class GroupCommit:
    """Commits groups; `doubtful` after one failed, until ledger and disk agree again."""

    def __init__(
        self, ledger: Ledger, indexing: Indexing, writer: Writer, receipts: Receipts
    ) -> None:
        self.doubtful = False
        self.committed = 0
        self.failed = 0
        self.impossible = 0
        """Frames that no commit could hold, though the storage works."""
        self._ledger = ledger
        self._indexing = indexing
        self._writer = writer
        self._receipts = receipts

    async def commit(self, group: Sequence[Waiting]) -> list[Waiting]:
        """Writes a group, and what first frames and contacts brought; returns what is durable.

        Nothing is, when the storage failed. A frame that no row can hold costs itself only.
        """
        if not self._indexing.full:
            return await self._commit(group, None)
        async with self._indexing.writing:
            found = derived.take(self._indexing)
            try:
                await in_turns(derived.find_dirty(self._indexing, found))
            except BaseException:
                derived.give_back(self._indexing, found)
                self.discard(group)
                raise
            return await self._commit(group, found)

    async def _commit(
        self, group: Sequence[Waiting], found: derived.Derived | None
    ) -> list[Waiting]:
        timeline, receipts = self._indexing.timeline, self._receipts
        knots = timeline.take_first_rows()
        contacts = ledger_store.take_first_contacts(self._ledger)
        failed = self._indexing.take_failed()
        start, dated = receipts.start, receipts.date_to_write()

        def store(connection: sqlite3.Connection) -> int:
            last_id = archive.append_many(connection, [waiting.frame for waiting in group])
            knot_table.write(connection, knots)
            ledger_store.write_first_contacts(connection, contacts)
            mark_failed(connection, failed)
            if found is not None:
                derived.write(connection, found)
            if dated is not None:
                archive.date_start(connection, start, dated)
            return last_id

        try:
            last_id = await self._writer.write(store, frames=len(group), urgent=True)
        except BaseException as error:
            timeline.give_back(knots)
            ledger_store.give_back_first_contacts(self._ledger, contacts)
            self._indexing.give_back(failed)
            if found is not None:
                derived.give_back(self._indexing, found)
            if _is_of_storage(error):
                self.discard(group)
                log.error("commit failed, %d frames are not acknowledged: %s", len(group), error)
                return []
            if not isinstance(error, Exception):
                self.discard(group)
                raise
            log.warning("a group cannot be stored as it is; each frame is tried alone: %r", error)
            return await self._one_by_one(group)
        ledger_store.written(self._ledger, contacts)
        if dated is not None:
            receipts.date_written()
        await self._enter(group, last_id - len(group) + 1)
        return list(group)

    async def _one_by_one(self, group: Sequence[Waiting]) -> list[Waiting]:
        """Commits frames of which one cannot be stored as it is: that one goes in as failed."""
        durable: list[Waiting] = []
        for position, waiting in enumerate(group):
            for attempt in (waiting, _as_failed(waiting)):
                append = partial(archive.append, frame=attempt.frame)
                try:
                    frame_id = await self._writer.write(append, frames=1, urgent=True)
                except BaseException as error:
                    if _is_of_storage(error):
                        self.discard(group[position:])
                        log.error("commit failed, frames are not acknowledged: %s", error)
                        return durable
                    if not isinstance(error, Exception):
                        self.discard(group[position:])
                        raise
                    log.error("node %08x: a frame cannot be stored: %r", attempt.frame.node, error)
                else:
                    await self._enter([attempt], frame_id)
                    durable.append(attempt)
                    break
            else:
                self.impossible += 1
                _forget(waiting)
        return durable

    def discard(self, group: Sequence[Waiting]) -> None:
        """Forgets frames of which it is not known whether the disk holds them."""
        self.doubtful = True
        self.failed += 1
        for waiting in group:
            _forget(waiting)

    async def _enter(self, group: Sequence[Waiting], first_id: int) -> None:
        """Takes a durable group into ledger, timeline and index, in turns.

        What is durable is entered to the end, also by one who is cancelled meanwhile.
        """
        turns = Turns()
        cancelled: BaseException | None = None
        for frame_id, waiting in enumerate(group, first_id):
            frame = waiting.frame
            boot = waiting.boot
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


def _forget(waiting: Waiting) -> None:
    """Its board sends it again."""
    frame = waiting.frame
    if frame.state == CONFLICT:
        waiting.boot.waiting_conflicts.discard((frame.seq, frame.raw[-wire.TAG_BYTES :]))
    else:
        waiting.boot.discard(frame.seq)
