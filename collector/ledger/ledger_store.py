"""The ledger's rows on their way into the archive, and their return at start."""

import json
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from collector.archive import archive
from collector.archive.parcels import Repeatable
from collector.ledger.ledger import Ledger, NodeLedger
from collector.ledger.ledger_boot import BootLedger
from collector.ledger.row_checks import U32_MAX, is_key, is_number, read_boot, read_counters

log = logging.getLogger(__name__)

BOOTS_AT_START = 4

_BOOT_COLUMNS = (
    "node, boot, issued, before, live, live_ms, last_ms, down, anchor_ms, seen_ms,"
    " received, dropped, lost, erased, conflicts"
)
BootRow = tuple[
    int, int, int, int, int, int, int, int, int | None, int, bytes, bytes, bytes, bytes, str
]
NodeRow = tuple[int, int, int, int, int, str | None, str]


class LedgerRows(Repeatable):
    """Rows of the ledger on their way into their tables.

    `newest_id`: the newest frame that all rows of the archive account for once these are written.
    Rows may be newer than that, for to take a frame in again changes nothing; but whichever are
    taken later have to be written later.
    """

    def __init__(self, ledger: Ledger, newest_id: int | None = None) -> None:
        self.newest_id = newest_id
        self._ledger = ledger
        self._contacts: set[int] = set()
        self._nodes: list[tuple[NodeLedger, NodeRow]] = []
        self._boots: list[tuple[BootLedger, BootRow]] = []

    def take_changed(self) -> None:
        """Takes what changed since it was taken last."""
        for owner in self._ledger.nodes.values():
            if owner.dirty:
                owner.dirty = False
                self._nodes.append((owner, node_row(owner)))
            for boot in owner.boots.values():
                if boot.dirty and self._take(boot):
                    boot.dirty = False

    def take_first_contacts(self) -> None:
        """Takes nodes that were heard for the first time, or whose downlink numbers run short."""
        contacts, self._ledger.first_contacts = self._ledger.first_contacts, set()
        self._contacts |= contacts
        for node in contacts:
            owner = self._ledger.node(node)
            self._nodes.append((owner, node_row(owner)))
            for boot in owner.boots.values():
                if boot.before or boot.dropped or boot.lost or boot.down > boot.down_written:
                    self._take(boot)

    def _take(self, boot: BootLedger) -> bool:
        """False for a boot that is impossible in memory: that is no row's fault but its own."""
        try:
            self._boots.append((boot, boot_row(boot)))
        except ValueError:
            log.exception("node %08x boot %d: its ledger cannot be written", boot.node, boot.boot)
            return False
        boot.writing += 1
        return True

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        put_boots(connection, [row for _, row in self._boots])
        put_nodes(connection, [row for _, row in self._nodes])
        if self.newest_id is not None:
            archive.put_meta(connection, archive.SNAPSHOT_KEY, self.newest_id)

    def committed(self) -> None:
        """See Parcel."""
        for boot, row in self._boots:
            boot.writing -= 1
            boot.down_written = max(boot.down_written, row[7])

    def failed(self) -> None:
        """See Parcel."""
        self._ledger.first_contacts |= self._contacts
        for owner, _ in self._nodes:
            owner.dirty = True
        for boot, _ in self._boots:
            boot.writing -= 1
            boot.dirty = True


def put_nodes(connection: sqlite3.Connection, rows: Iterable[NodeRow]) -> None:
    """Writes rows of nodes."""
    connection.executemany("INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def put_boots(connection: sqlite3.Connection, rows: Iterable[BootRow]) -> None:
    """Writes rows of boots."""
    connection.executemany(
        "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
    )


class Damage(NamedTuple):
    """A row that says what cannot be; boot None: one of the table `node`."""

    node: int
    boot: int | None
    fault: str

    def __str__(self) -> str:
        if self.boot is None:
            return f"node {self.node:08x}: {self.fault}"
        return f"node {self.node:08x} boot {self.boot}: {self.fault}"


class Loaded(NamedTuple):
    """The newest frame id that the snapshot accounts for, and the rows that are damaged."""

    snapshot_id: int
    damaged: list[Damage]


def load(connection: sqlite3.Connection, ledger: Ledger) -> Loaded:
    """Fills a ledger from the snapshot. What a damaged row does not say is missing in it.

    See `collector.storage.healing` for what is done about that.
    """
    damaged: list[Damage] = []
    for row in connection.execute(
        "SELECT node, boot, collector, seen_ms, carried, baseline, drops FROM node"
    ):
        if is_key(row[0]):
            ledger.nodes[row[0]] = _node(row, damaged)
    for row in connection.execute(f"SELECT {_BOOT_COLUMNS} FROM ledger ORDER BY node, boot DESC"):
        if not is_key(row[0]) or not is_key(row[1]):
            continue
        owner = ledger.node(row[0])
        boot, faults = read_boot(row)
        if faults:
            damaged.append(Damage(row[0], row[1], "; ".join(faults)))
        if faults or len(owner.boots) < BOOTS_AT_START:
            owner.boots[row[1]] = boot
    for owner in ledger.nodes.values():
        owner.boots = OrderedDict(sorted(owner.boots.items()))
    ledger.newest_id = archive.newest_id(connection)
    snapshot_id = archive.get_meta(connection, archive.SNAPSHOT_KEY)
    return Loaded(snapshot_id if isinstance(snapshot_id, int) else 0, damaged)


def remove_impossible(connection: sqlite3.Connection) -> int:
    """Removes rows whose key is none, inside a transaction; returns how many."""
    removed = 0
    for table, key in (("node", "node"), ("ledger", "node"), ("ledger", "boot")):
        removed += connection.execute(
            f"DELETE FROM {table} WHERE typeof({key}) <> 'integer' OR {key} NOT BETWEEN 0 AND ?",
            (U32_MAX,),
        ).rowcount
    return removed


def find_boot(connection: sqlite3.Connection, node: int, boot: int) -> BootLedger | None:
    """One boot's row, None when it was never written."""
    row = connection.execute(
        f"SELECT {_BOOT_COLUMNS} FROM ledger WHERE node = ? AND boot = ?", (node, boot)
    ).fetchone()
    return None if row is None else boot_of(row)


def boots(connection: sqlite3.Connection, node: int | None = None) -> Iterable[BootLedger]:
    """Every boot as it was at the last snapshot, of one node or of all."""
    for row in connection.execute(
        f"SELECT {_BOOT_COLUMNS} FROM ledger WHERE ?1 IS NULL OR node = ?1 ORDER BY node, boot",
        (node,),
    ):
        yield boot_of(row)


def boot_row(boot: BootLedger) -> BootRow:
    """The row that `boot_of` reads."""
    conflicts = {str(seq): [tag.hex() for tag in tags] for seq, tags in boot.conflicts.items()}
    return (
        boot.node,
        boot.boot,
        boot.issued,
        boot.before,
        boot.live,
        boot.live_ms,
        boot.last_ms,
        boot.down,
        boot.anchor_ms,
        boot.seen_ms,
        boot.received.encode(),
        boot.dropped.encode(),
        boot.lost.encode(),
        boot.erased.encode(),
        json.dumps(conflicts) if conflicts else "",
    )


def boot_of(row: BootRow) -> BootLedger:
    """A boot's ledger from its row; ValueError when the row is damaged."""
    boot, faults = read_boot(row)
    if faults:
        raise ValueError(f"node {boot.node:08x} boot {boot.boot}: {'; '.join(faults)}")
    return boot


def node_row(owner: NodeLedger) -> NodeRow:
    """The row that `load` reads."""
    baseline = None if owner.baseline is None else json.dumps(owner.baseline)
    return (
        owner.node,
        owner.boot,
        owner.collector,
        owner.seen_ms,
        owner.carried,
        baseline,
        json.dumps(owner.drops),
    )


def _node(row: NodeRow, damaged: list[Damage]) -> NodeLedger:
    """A node's ledger from its row; a faulty field is as in a new one."""
    node, boot, collector, seen_ms, carried, baseline, drops = row
    owner = NodeLedger(node)
    faults = []
    for name, value, highest in (
        ("boot", boot, U32_MAX),
        ("collector", collector, U32_MAX),
        ("seen_ms", seen_ms, 1 << 62),
        ("carried", carried, 1 << 62),
    ):
        if is_number(value, 0, highest):
            setattr(owner, name, value)
        else:
            faults.append(f"{name} is {value!r:.40}")
    try:
        counters = read_counters(drops)
        before = None if baseline is None else read_counters(baseline)
    except ValueError as error:
        faults.append(f"drop counters: {error}")
    else:
        owner.drops, owner.baseline = counters, before
    if faults:
        damaged.append(Damage(node, None, "; ".join(faults)))
    return owner
