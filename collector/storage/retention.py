"""What the archive may forget: by age and size, and frames of a node that left.

Frames that a sink still needs are kept unless the operator says otherwise; then each sink's ledger
says so. The ledger's ranges stay for ever, so a resend of a removed frame is known.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from collector.archive import archive
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_store import boot_of, boot_row, put_boots
from collector.ranges import Ranges

REMOVED_PER_STEP = 5_000
VACUUM_PAGES = 2_000


@dataclass(frozen=True, slots=True)
class Removed:
    """What one step of retention did."""

    frames: int = 0
    first_id: int = 0
    last_id: int = 0
    held_back: bool = False
    """True when frames were due, and a sink still needs them."""


def due_up_to(
    connection: sqlite3.Connection, older_than_ms: int | None, bytes_max: int | None
) -> int:
    """Largest id that age or size lets go, 0 for none."""
    due = 0
    if older_than_ms is not None:
        clock = archive.ReceiptClock(connection)
        due = _last_received_before(connection, clock, older_than_ms)
    if bytes_max is not None:
        due = max(due, _last_beyond(connection, bytes_max))
    return due


def _last_received_before(
    connection: sqlite3.Connection, clock: archive.ReceiptClock, unix_ms: int
) -> int:
    """Receipts rise with ids but for clock steps, so half the rest is left out at each look."""
    low, high = _bounds(connection)
    found = 0
    while low <= high:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT id, received FROM frame WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
        ).fetchone()
        if row is None or row[0] > high:
            high = middle - 1
        elif 0 <= clock.unix_ms(row[1]) < unix_ms:
            found = row[0]
            low = row[0] + 1
        else:
            high = middle - 1
    return found


def _last_beyond(connection: sqlite3.Connection, bytes_max: int) -> int:
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    used = (pages - free) * page_bytes
    low, high = _bounds(connection)
    if used <= bytes_max or high < low:
        return 0
    return low + int((high - low + 1) * (used - bytes_max) / used)


def _bounds(connection: sqlite3.Connection) -> tuple[int, int]:
    low, high = connection.execute("SELECT min(id), max(id) FROM frame").fetchone()
    return (1, 0) if low is None else (low, high)


def remove_up_to(connection: sqlite3.Connection, last_id: int, needed_from: int | None) -> Removed:
    """Removes some of the oldest frames up to last_id, inside the writer's transaction.

    `needed_from` is the first frame that a sink has not settled; it and later ones stay.
    """
    held_back = needed_from is not None and needed_from <= last_id
    limit = _limit(last_id, needed_from)
    row = connection.execute(
        "SELECT min(id), max(id), count(*) FROM"
        " (SELECT id FROM frame WHERE id <= ? ORDER BY id LIMIT ?)",
        (limit, REMOVED_PER_STEP),
    ).fetchone()
    if not row[2]:
        return Removed(held_back=held_back)
    connection.execute("DELETE FROM frame WHERE id BETWEEN ? AND ?", (row[0], row[1]))
    _forget_hours(connection, row[1])
    _note_removed(connection, row[2])
    return Removed(row[2], row[0], row[1], held_back)


def next_step(
    connection: sqlite3.Connection, last_id: int, needed_from: int | None
) -> Iterator[archive.StoredFrame]:
    """The frames that `remove_up_to` would remove now, oldest first."""
    yield from archive.frames(connection, 1, _limit(last_id, needed_from), REMOVED_PER_STEP)


def _limit(last_id: int, needed_from: int | None) -> int:
    return last_id if needed_from is None else min(last_id, needed_from - 1)


def _note_removed(connection: sqlite3.Connection, frames: int) -> None:
    before = int(archive.get_meta(connection, archive.REMOVED_KEY) or 0)
    archive.put_meta(connection, archive.REMOVED_KEY, before + frames)


def _forget_hours(connection: sqlite3.Connection, last_id: int) -> None:
    """Drops index rows whose frames are all gone: those at the beginning of the table."""
    for hour, node, boot, raw in connection.execute(
        "SELECT hour, node, boot, ids FROM hour ORDER BY hour LIMIT 2000"
    ).fetchall():
        newest = Ranges.decode(raw).last
        if newest is not None and newest <= last_id:
            connection.execute(
                "DELETE FROM hour WHERE hour = ? AND node = ? AND boot = ?", (hour, node, boot)
            )


def vacuum(connection: sqlite3.Connection) -> None:
    """Gives some free pages back to the file system; not inside a transaction.

    `execute` would step this pragma once, which is one page.
    """
    connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")


def erase_node(connection: sqlite3.Connection, node: int, limit: int = REMOVED_PER_STEP) -> int:
    """Removes some of a node's frames and overwrites them; 0 when none is left.

    Inside the writer's transaction; call until it returns 0, then `erase_traces`.
    """
    connection.execute("PRAGMA secure_delete = ON")
    ids = [
        row[0]
        for row in connection.execute(
            "SELECT id FROM frame WHERE node = ? ORDER BY id LIMIT ?", (node, limit)
        )
    ]
    for first, last in _runs(ids):
        connection.execute(
            "DELETE FROM frame WHERE id BETWEEN ? AND ? AND node = ?", (first, last, node)
        )
    return len(ids)


def _runs(ids: Iterable[int]) -> Ranges:
    runs = Ranges()
    for number in ids:
        runs.add(number)
    return runs


def erase_traces(connection: sqlite3.Connection, node: int) -> int:
    """Turns a node's ranges into erased ones, and removes its times and means.

    Returns how many frames the ledger has as erased now.
    """
    rows = connection.execute("SELECT * FROM ledger WHERE node = ?", (node,)).fetchall()
    erased = 0
    kept = []
    for row in rows:
        boot = boot_of(row)
        boot.erased.update(boot.received)
        boot.received = Ranges()
        boot.conflicts = {}
        erased += boot.erased.count()
        kept.append(boot_row(boot))
    put_boots(connection, kept)
    for table in ("hour", "hourly", "knot", "dirty"):
        connection.execute(f"DELETE FROM {table} WHERE node = ?", (node,))
    return erased


def forget_in_memory(ledger: Ledger, node: int) -> None:
    """The running collector's side of `erase_traces`: frames that arrive again are erased ones."""
    owner = ledger.nodes.get(node)
    if owner is None:
        return
    for boot in owner.boots.values():
        boot.erased.update(boot.received)
        boot.received = Ranges()
        boot.conflicts.clear()
        boot.dirty = True
