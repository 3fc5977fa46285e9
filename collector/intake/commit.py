"""A group of frames into the archive as one transaction, and into the ledger when that holds.

A frame whose commit failed is forgotten: the board sends it again. After a failed commit it is
not known what the disk holds, so nothing new may be taken in before the two have been compared.
"""

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from collector.archive import archive, knot_table, recovery
from collector.archive.archive import CONFLICT, StoredFrame
from collector.archive.hour_index import HourIndex
from collector.archive.timeline import Timeline
from collector.archive.writer import WriteFailed, Writer
from collector.intake.receipts import Receipts
from collector.ledger import ledger_store
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_boot import BootLedger
from collector.transports.base import Source
from protocol import wire

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Waiting:
    """A frame on its way into the archive."""

    frame: StoredFrame
    boot: BootLedger
    clocks: tuple[bytes, ...]
    source: Source


class GroupCommit:
    """Commits groups; `doubtful` after one failed, until ledger and disk agree again."""

    def __init__(
        self,
        ledger: Ledger,
        timeline: Timeline,
        hours: HourIndex,
        writer: Writer,
        receipts: Receipts,
    ) -> None:
        self.doubtful = False
        self.committed = 0
        self.failed = 0
        self._ledger = ledger
        self._timeline = timeline
        self._hours = hours
        self._writer = writer
        self._receipts = receipts

    async def commit(self, group: Sequence[Waiting]) -> bool:
        """Writes a group, and what first frames and contacts brought; False when that failed."""
        knots = self._timeline.take_first_rows()
        contacts = ledger_store.take_first_contacts(self._ledger)
        start, dated = self._receipts.start, self._receipts.date_to_write()

        def store(connection: sqlite3.Connection) -> int:
            last_id = archive.append_many(connection, [waiting.frame for waiting in group])
            knot_table.write(connection, knots)
            ledger_store.write_first_contacts(connection, contacts)
            if dated is not None:
                archive.date_start(connection, start, dated)
            return last_id

        try:
            last_id = await self._writer.write(store, frames=len(group), urgent=True)
        except (WriteFailed, sqlite3.Error) as error:
            self._discard(group)
            self._timeline.give_back(knots)
            ledger_store.give_back_first_contacts(self._ledger, contacts)
            log.error("commit failed, %d frames are not acknowledged: %s", len(group), error)
            return False
        except BaseException:
            self._discard(group)
            raise
        if dated is not None:
            self._receipts.date_written()
        if group:
            self._enter(group, last_id - len(group) + 1)
        return True

    def _discard(self, group: Sequence[Waiting]) -> None:
        self.doubtful = True
        self.failed += 1
        for waiting in group:
            frame = waiting.frame
            if frame.state == CONFLICT:
                waiting.boot.waiting_conflicts.discard((frame.seq, frame.raw[-wire.TAG_BYTES :]))
            else:
                waiting.boot.discard(frame.seq)

    def _enter(self, group: Sequence[Waiting], first_id: int) -> None:
        """Takes a durable group into ledger, timeline and index."""
        for frame_id, waiting in enumerate(group, first_id):
            frame = waiting.frame
            boot = waiting.boot
            tag = frame.raw[-wire.TAG_BYTES :]
            if frame.state == CONFLICT:
                boot.commit_conflict(frame.seq, tag)
            else:
                boot.commit(frame.seq, tag, frame.last_ms)
            if waiting.clocks:
                recovery.observe_clocks(
                    self._timeline, frame.node, frame.boot, waiting.clocks, frame.received_ms
                )
            anchor_ms = boot.anchor_ms
            if anchor_ms is None:
                anchor_ms = recovery.choose_anchor(
                    boot, self._timeline, frame.received_ms, frame.last_ms
                )
            self._hours.add(
                frame_id,
                frame.node,
                frame.boot,
                frame.seq,
                anchor_ms,
                frame.first_ms,
                frame.last_ms,
            )
        self._ledger.newest_id = max(self._ledger.newest_id, first_id + len(group) - 1)
        self.committed += len(group)

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
        recovery.take_back(self._ledger, self._hours, self._timeline, rows)
        self.doubtful = False
        return True


def _touch(connection: sqlite3.Connection) -> None:
    """A write that shows whether the storage works again."""
    archive.put_meta(connection, "recovered", archive.newest_id(connection))
