"""The ledger's snapshot in the archive, and its return at start."""

import json
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.archive import archive
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


@dataclass(slots=True)
class Snapshot:
    """Changed rows and the newest frame that they account for; taken in one go, written later."""

    newest_id: int
    boots: list[BootRow] = field(default_factory=list)
    nodes: list[NodeRow] = field(default_factory=list)


def take(ledger: Ledger) -> Snapshot:
    """What changed since the last snapshot; marks it clean, see `give_back`."""
    snapshot = Snapshot(ledger.newest_id)
    for owner in ledger.nodes.values():
        if owner.dirty:
            owner.dirty = False
            snapshot.nodes.append(node_row(owner))
        for row in _rows(boot for boot in owner.boots.values() if boot.dirty):
            owner.boots[row[1]].dirty = False
            owner.boots[row[1]].writing = True
            snapshot.boots.append(row)
    return snapshot


def _rows(boots: Iterable[BootLedger]) -> Iterator[BootRow]:
    """Rows of these boots. One that is impossible in memory is no row's fault but its own."""
    for boot in boots:
        try:
            yield boot_row(boot)
        except ValueError:
            log.exception("node %08x boot %d: its ledger cannot be written", boot.node, boot.boot)


def take_first_contacts(ledger: Ledger) -> Snapshot:
    """Rows of nodes that were heard for the first time; for the next commit."""
    snapshot = Snapshot(0)
    for node in ledger.first_contacts:
        owner = ledger.node(node)
        snapshot.nodes.append(node_row(owner))
        snapshot.boots += _rows(
            boot
            for boot in owner.boots.values()
            if boot.before or boot.dropped or boot.lost or boot.down > boot.down_written
        )
    ledger.first_contacts.clear()
    return snapshot


def give_back_first_contacts(ledger: Ledger, snapshot: Snapshot) -> None:
    """The commit failed: they are to be written with the next."""
    ledger.first_contacts |= {row[0] for row in snapshot.nodes}


def write_first_contacts(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    """Writes the rows inside the writer's transaction."""
    put_boots(connection, snapshot.boots)
    put_nodes(connection, snapshot.nodes)


def written(ledger: Ledger, snapshot: Snapshot) -> None:
    """The rows are durable."""
    for row in snapshot.boots:
        boot = ledger.node(row[0]).boots.get(row[1])
        if boot is not None:
            boot.down_written = max(boot.down_written, row[7])
            boot.writing = False


def give_back(ledger: Ledger, snapshot: Snapshot) -> None:
    """The snapshot could not be written: its rows are to be taken again."""
    for row in snapshot.nodes:
        ledger.node(row[0]).dirty = True
    for boot_values in snapshot.boots:
        boot = ledger.known_boot(boot_values[0], boot_values[1])
        if boot is not None:
            boot.dirty = True
            boot.writing = False


def write(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    """Writes a snapshot inside the writer's transaction."""
    put_boots(connection, snapshot.boots)
    put_nodes(connection, snapshot.nodes)
    archive.put_meta(connection, archive.SNAPSHOT_KEY, snapshot.newest_id)


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
