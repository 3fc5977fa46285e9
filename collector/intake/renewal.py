"""When this collector takes another id while it runs: a board lost what was acknowledged here."""

import sqlite3

from collector.archive import identity
from collector.archive.parcels import Repeatable
from collector.clock import HOUR_MS, Clock
from collector.ledger.ledger import Ledger

HOLD_MS = HOUR_MS
"""A broken board that claims losses must not change the collector's id without end."""


class Renewal:
    """Changes the ledger's identity, and has the change written."""

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
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._fixed_until_ms:
            return False
        self._fixed_until_ms = now_ms + HOLD_MS
        self._ledger.identity = self._ledger.identity.another()
        self.unwritten = True
        return True

    def take(self) -> "list[NewIdentity]":
        """The present identity, while the archive does not have it."""
        return [NewIdentity(self, self._ledger)] if self.unwritten else []


class NewIdentity(Repeatable):
    """An identity on its way into the archive."""

    def __init__(self, renewal: Renewal, ledger: Ledger) -> None:
        self._renewal = renewal
        self._ledger = ledger
        self._identity = ledger.identity

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        identity.put(connection, self._identity)

    def committed(self) -> None:
        """See Parcel."""
        self._renewal.unwritten = self._ledger.identity != self._identity

    def failed(self) -> None:
        """See Parcel."""  # it has never left
