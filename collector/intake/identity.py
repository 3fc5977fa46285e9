"""Under which id this collector acknowledges, and when it takes another one."""

import logging
import sqlite3

from collector.archive import archive
from collector.archive.archive import FORMER_MAX, new_collector
from collector.archive.writer import WriteFailed, Writer
from collector.clock import HOUR_MS, Clock
from collector.ledger.ledger import Ledger

log = logging.getLogger(__name__)

IDENTITY_HOLD_MS = HOUR_MS
"""A broken board that claims losses must not change the collector's id without end."""


class Identity:
    """Changes the ledger's collector id, and has the change written."""

    def __init__(self, ledger: Ledger, clock: Clock, writer: Writer) -> None:
        self._ledger = ledger
        self._clock = clock
        self._writer = writer
        self._unwritten = False
        self._fixed_until_ms = 0

    def change(self) -> bool:
        """This archive lacks what was acknowledged in its name: it goes on under another.

        False when it has changed not long ago.
        """
        ledger = self._ledger
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._fixed_until_ms:
            return False
        self._fixed_until_ms = now_ms + IDENTITY_HOLD_MS
        ledger.former_collectors = (*ledger.former_collectors, ledger.collector)[-FORMER_MAX:]
        ledger.collector = new_collector(ledger.former_collectors)
        self._unwritten = True
        return True

    async def write(self) -> None:
        """Writes a change that is not in the archive yet; may be called again when it failed."""
        if not self._unwritten:
            return
        collector, former = self._ledger.collector, self._ledger.former_collectors
        try:
            await self._writer.write(lambda c: archive.put_collector(c, collector, former))
        except (WriteFailed, sqlite3.Error) as error:
            log.error("the new collector id is not written yet: %s", error)
        else:
            self._unwritten = False
