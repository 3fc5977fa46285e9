"""Under which id this collector acknowledges, and when it takes another one."""

import sqlite3

from collector.archive import archive
from collector.archive.archive import FORMER_MAX, new_collector
from collector.archive.parcels import Repeatable
from collector.clock import HOUR_MS, Clock
from collector.ledger.ledger import Ledger

IDENTITY_HOLD_MS = HOUR_MS
"""A broken board that claims losses must not change the collector's id without end."""


class Identity:
    """Changes the ledger's collector id, and has the change written."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.unwritten = False
        """Whether the archive does not have the present id."""
        self._ledger = ledger
        self._clock = clock
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
        self.unwritten = True
        return True

    def take_change(self) -> "list[CollectorId]":
        """The present id, while the archive does not have it."""
        return [CollectorId(self, self._ledger)] if self.unwritten else []


class CollectorId(Repeatable):
    """An id on its way into the archive."""

    def __init__(self, identity: Identity, ledger: Ledger) -> None:
        self._identity = identity
        self._ledger = ledger
        self._collector = ledger.collector
        self._former = ledger.former_collectors

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        archive.put_collector(connection, self._collector, self._former)

    def committed(self) -> None:
        """See Parcel."""
        self._identity.unwritten = self._ledger.collector != self._collector

    def failed(self) -> None:
        """See Parcel."""  # it has never left
