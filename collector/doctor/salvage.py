"""Saves what a damaged archive still holds.

Nothing is ever deleted: a damaged file is set aside beside the one that was saved from it.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from collector.archive import archive, identity, schema
from collector.archive.hour_index import HourIndex
from collector.archive.identity import Identity
from collector.archive.witness import Witness
from collector.doctor.log_file import read_log
from collector.doctor.pages import add_carved, mark_lost
from collector.ledger import ledger_store
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_store import Damage
from collector.private_file import sync_folder
from collector.settings import Config
from collector.single import FolderLock
from collector.storage import healing
from collector.storage.indexing import Indexing
from collector.timeline.timeline import Timeline

log = logging.getLogger(__name__)

FAULTS_SHOWN = 10
LOG_SUFFIXES = ("-wal", "-shm")
TABLES_KEPT = (
    "meta", "start", "ledger", "node", "knot", "done", "partial", "inflight", "rejected",
    "delivery_count", "replayed", "forgotten", "upstream_id", "frozen_time",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved from a damaged archive, and where the damaged one is now."""

    frames: int
    unreadable: int
    aside: Path


def page_faults(path: Path) -> list[str]:
    """What SQLite says of a file's pages; empty when they are whole."""
    try:
        with closing(archive.open_reader(path)) as connection:
            rows = connection.execute(f"PRAGMA integrity_check({FAULTS_SHOWN})").fetchall()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    if rows != [("ok",)]:
        return [str(row[0]).splitlines()[0] for row in rows]
    return [] if path.stat().st_size else ["the file is empty"]


def log_fault(path: Path) -> str:
    """What is wrong with a database's write-ahead log, if commits may be hidden in it; else ""."""
    log_path = Path(f"{path}-wal")
    found = read_log(log_path)
    if found is not None and found.stranded_commits:
        found = read_log(log_path)  # while a collector writes, one look may meet two rounds of it
    if found is None or not found.stranded_commits:
        return ""
    return (
        f"damaged: SQLite ignores {len(found.stranded)} pages behind a bad one, "
        "which may hold acknowledged frames"
    )


def repair(config: Config, progress: Callable[[int, int], None] | None = None) -> Saved:
    """Saves all readable frames into a new archive; the damaged one is set aside.

    The new one has another collector id, so boards send again what they still hold. Raises
    AlreadyRunning while the collector runs, sqlite3.Error or OSError when nothing can be written.
    """
    lock = FolderLock(config.collector.data)
    try:
        return _save(config.collector.archive, progress)
    finally:
        lock.release()


def damaged_rows(path: Path) -> list[Damage]:
    """Rows of the ledger that say what cannot be, in an archive whose pages are whole."""
    with closing(archive.open_reader(path)) as connection:
        schema.require_current(connection)
        return ledger_store.load(connection, Ledger(Identity(0))).damaged


def repair_ledger(config: Config) -> list[Damage]:
    """Makes damaged rows of the ledger again from the frames; returns what they were."""
    lock = FolderLock(config.collector.data)
    try:
        with closing(archive.open_archive(config.collector.archive)) as connection:
            return heal(connection)
    finally:
        lock.release()


def heal(connection: sqlite3.Connection) -> list[Damage]:
    """The same in an open archive."""
    ledger = Ledger(Identity(0))
    indexing = Indexing(Timeline(), HourIndex())
    return healing.load_and_heal(connection, ledger, indexing).damaged


def replace_quarantine(config: Config) -> Path:
    """Sets a damaged quarantine aside and returns where; the collector begins another."""
    lock = FolderLock(config.collector.data)
    try:
        return _set_aside(config.collector.quarantine)
    finally:
        lock.release()


def _save(path: Path, progress: Callable[[int, int], None] | None) -> Saved:
    fresh = path.with_name("archive.saved")
    for suffix in ("", *LOG_SUFFIXES):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as damaged,
        closing(archive.open_archive(fresh)) as saved,
    ):
        try:
            frames, unreadable = _copy_frames(damaged, saved, progress)
        except sqlite3.DatabaseError as error:
            log.warning("the tables cannot be read, only their pages: %s", error)
            frames = unreadable = 0
        frames += add_carved(saved, path)
        gone = {
            table: fault for table in TABLES_KEPT if (fault := _copy_table(damaged, saved, table))
        }
        if gone:
            log.warning(
                "tables that start anew: %s (%s)", ", ".join(gone), ", ".join({*gone.values()})
            )
        if "done" in gone:
            log.warning(
                "what networks have got is not known any more: those that cannot tell get it twice"
            )
        heal(saved)
        mark_lost(saved)
        saved.execute("BEGIN")
        archive.put_meta(saved, "snapshot_id", 0)
        former = identity.former_collectors(saved)
        with suppress(schema.SchemaError):
            former = (*former, identity.read(saved).collector)
        witness = Witness.beside(path)
        if witness is not None and witness.collector and witness.collector not in former:
            former = (*former, witness.collector)
        identity.put(saved, Identity(identity.new_collector(former), former))
        saved.execute("COMMIT")
        saved.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    aside = _set_aside(path, fresh)
    for suffix in LOG_SUFFIXES:
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    return Saved(frames, unreadable, aside)


def _set_aside(path: Path, fresh: Path | None = None) -> Path:
    """Moves a database with its log away, the log first: it would be replayed into another file.

    With `fresh` there is a database under the name at every moment.
    """
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    if fresh is not None:
        os.link(path, aside)
    for suffix in LOG_SUFFIXES:
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    (path if fresh is None else fresh).replace(aside if fresh is None else path)
    sync_folder(path.parent)
    return aside


def _copy_frames(
    damaged: sqlite3.Connection,
    saved: sqlite3.Connection,
    progress: Callable[[int, int], None] | None,
) -> tuple[int, int]:
    """Copies frames by their ids, halving ranges that cannot be read; (copied, unreadable ids)."""
    try:
        newest = archive.newest_id(damaged)
    except sqlite3.DatabaseError:
        newest = damaged.execute("SELECT max(id) FROM frame").fetchone()[0] or 0
    copied = unreadable = 0
    pending = [(first, min(first + 9_999, newest)) for first in range(1, newest + 1, 10_000)]
    pending.reverse()
    while pending:
        first, last = pending.pop()
        try:
            rows = damaged.execute(
                "SELECT * FROM frame WHERE id BETWEEN ? AND ?", (first, last)
            ).fetchall()
        except sqlite3.DatabaseError:
            if first == last:
                unreadable += 1
            else:
                middle = (first + last) // 2
                pending += [(middle + 1, last), (first, middle)]
            continue
        marks = ", ".join("?" * len(rows[0])) if rows else ""
        saved.execute("BEGIN")
        if rows:
            saved.executemany(f"INSERT INTO frame VALUES ({marks})", rows)
        saved.execute("COMMIT")
        copied += len(rows)
        if progress is not None:
            progress(last, newest)
    return copied, unreadable


def _copy_table(damaged: sqlite3.Connection, saved: sqlite3.Connection, table: str) -> str:
    """Copies a small table; returns why it cannot be read, and then it is left out."""
    try:
        made = damaged.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()
        rows = damaged.execute(f"SELECT * FROM {table}").fetchall() if made else []
    except sqlite3.DatabaseError as error:
        return str(error)
    if made is None:
        return ""
    saved.execute("BEGIN")
    with suppress(sqlite3.OperationalError):
        saved.execute(made[0])
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        saved.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)
    saved.execute("COMMIT")
    return ""
