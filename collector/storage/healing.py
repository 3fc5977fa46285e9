"""Rows of the ledger that say what cannot be: found, and made again from the frames.

A row holds nothing that the frames do not say but what boards told in LIVE (dropped, lost, before
our time), and what was erased; of those, what can be read is kept, and boards tell the rest again.
"""

import sqlite3
from typing import NamedTuple

from collector.archive.parcels import Repeatable, commit_now
from collector.ledger import ledger_store
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_store import Damage, LedgerRows
from collector.storage import recovery
from collector.storage.indexing import Indexing


class Healed(NamedTuple):
    """The newest frame id that the snapshot accounts for, and what was made again."""

    snapshot_id: int
    damaged: list[Damage]


def load(connection: sqlite3.Connection, ledger: Ledger, indexing: Indexing) -> Healed:
    """Fills a ledger from the snapshot, damaged rows from the frames; writes nothing."""
    loaded = ledger_store.load(connection, ledger)
    boots = {(each.node, each.boot) for each in loaded.damaged if each.boot is not None}
    if boots:
        recovery.take_back(ledger, indexing, recovery.frames_of(connection, boots))
    return Healed(*loaded)


def load_and_heal(connection: sqlite3.Connection, ledger: Ledger, indexing: Indexing) -> Healed:
    """The same, and writes what was made again; the connection is in no transaction."""
    healed = load(connection, ledger, indexing)
    for node, number, _ in healed.damaged:
        owner = ledger.node(node)
        changed = owner if number is None else owner.boots[number]
        changed.dirty = True
    rows = LedgerRows(ledger)
    rows.take_changed()
    commit_now(connection, [_Damaged(healed.damaged), rows, indexing.hours.take()])
    return healed


class _Damaged(Repeatable):
    """What goes before the rows that were made again."""

    def __init__(self, damaged: list[Damage]) -> None:
        self._damaged = damaged

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        ledger_store.remove_impossible(connection)
        for node, number, _ in self._damaged:
            # its index may have been under another shift
            connection.execute("DELETE FROM hour WHERE node = ? AND boot = ?", (node, number))

    def failed(self) -> None:
        """See Parcel."""  # the next start finds it again
