"""Frames whose number is stored, while the trailer of the stored one is not in memory any more.

Reading it tells a resend, which is acknowledged again, from another frame with the same number.
"""

import logging
import sqlite3
from typing import NamedTuple

from collector.archive import hour_index, lookup
from collector.archive.writer import Writer
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_boot import BootLedger
from collector.transports.base import Source
from protocol.envelope import Head
from protocol.outline import outline_of

log = logging.getLogger(__name__)


class Compared(NamedTuple):
    """A frame, and whether it is the stored one sent again."""

    raw: bytes
    head: Head
    source: Source
    boot: BootLedger
    same: bool


class UnsureResends:
    """At most `limit` of them, until they are compared."""

    def __init__(self, ledger: Ledger, writer: Writer, limit: int) -> None:
        self._ledger = ledger
        self._writer = writer
        self._limit = limit
        self._unsure: list[tuple[bytes, Head, Source]] = []

    def add(self, raw: bytes, head: Head, source: Source) -> bool:
        """Keeps a frame for the next comparison; False when there are too many."""
        if len(self._unsure) >= self._limit:
            return False
        self._unsure.append((raw, head, source))
        return True

    async def compare(self) -> list[Compared]:
        """Reads the stored namesakes; frames that cannot be compared are left out."""
        unsure, self._unsure = self._unsure, []
        if not unsure:
            return []
        wanted = [
            lookup.Wanted(head.node, head.boot, head.seq, self._hours_of(raw, head))
            for raw, head, _ in unsure
        ]
        try:
            found = await self._writer.read(lambda reader: lookup.trailers(reader, wanted))
        except (sqlite3.Error, ValueError) as error:
            log.error("cannot compare resent frames, they are not acknowledged: %s", error)
            return []
        except BaseException:
            self._unsure[:0] = unsure
            raise
        compared = []
        for (raw, head, source), tags in zip(unsure, found, strict=True):
            boot = self._ledger.known_boot(head.node, head.boot)
            if boot is not None and tags is not None:
                same = not tags or raw[head.end :] in tags
                compared.append(Compared(raw, head, source, boot, same))
        return compared

    def _hours_of(self, raw: bytes, head: Head) -> tuple[int, int] | None:
        """Hours under which the frame is indexed if it is the stored one."""
        boot = self._ledger.known_boot(head.node, head.boot)
        if boot is None or boot.anchor_ms is None:
            return None
        seen = outline_of(raw, head.type)
        hours = hour_index.hours_of(boot.anchor_ms, seen.first_ms, seen.first_ms)
        return hours[0], hours[-1]
