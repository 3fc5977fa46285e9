"""Looks at everything a collector depends on, and saves what a damaged archive still holds.

Nothing is ever deleted: a damaged archive is set aside beside the one that was saved from it.
"""

import logging
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from collector.archive import archive, schema
from collector.archive.archive_view import ArchiveView
from collector.clock import kernel_synchronised
from collector.doctor.pages import add_carved, mark_lost
from collector.keys import KeyRing
from collector.nodes import NodeRegistry
from collector.operate.control import ControlError, NotRunning, ask
from collector.private_file import PrivateFileError
from collector.settings import Config
from collector.single import FolderLock

log = logging.getLogger(__name__)

FAULTS_SHOWN = 10
CONNECT_WITHIN_S = 3.0
CARD_TERABYTES = 20.0
"""What a small card of a known maker stands, by the makers' own tables for 32 GB."""
YEARS_MIN = 5.0
TABLES_KEPT = (
    "meta", "start", "ledger", "node", "knot", "done", "partial", "inflight", "rejected",
    "delivery_count", "upstream_id", "frozen_time",
)  # fmt: skip


class Finding(NamedTuple):
    """One thing looked at: whether it is well, and what was seen."""

    well: bool
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved from a damaged archive, and where the damaged one is now."""

    frames: int
    unreadable: int
    aside: Path


def examine(config: Config) -> Iterator[Finding]:
    """Everything, one finding after another; changes nothing."""
    yield from _files(config)
    yield from _archive(config)
    yield from _machine(config)
    yield from _links(config)


def _files(config: Config) -> Iterator[Finding]:
    settings = config.collector
    try:
        registry, keys = NodeRegistry(settings.nodes), KeyRing(settings.keys)
    except PrivateFileError as error:
        yield Finding(False, "keys and nodes", str(error))
        return
    keyless = [info.name for info in registry if info.state == "active" and info.node not in keys]
    if keyless:
        yield Finding(False, "keys", f"no key for {', '.join(keyless[:FAULTS_SHOWN])}")
    else:
        yield Finding(True, "keys and nodes", f"{len(registry)} nodes, readable by us alone")


def _archive(config: Config) -> Iterator[Finding]:
    path = config.collector.archive
    if not path.exists():
        yield Finding(True, "archive", "none yet")
        return
    faults = page_faults(path)
    if faults:
        shown = "; ".join(faults)
        yield Finding(False, "archive", f"damaged: {shown}; stop the collector, doctor --repair")
        return
    yield Finding(True, "archive", f"pages are whole, {path.stat().st_size / 1e6:.1f} MB")
    with closing(archive.open_reader(path)) as connection:
        try:
            schema.require_current(connection)
            connection.execute("BEGIN")
            yield from _ledger(ArchiveView(connection))
        except (schema.SchemaError, sqlite3.DatabaseError, ValueError) as error:
            yield Finding(False, "ledger", str(error))
    quarantine = config.collector.quarantine
    if quarantine.exists() and page_faults(quarantine):
        yield Finding(False, "quarantine", f"damaged: move {quarantine} away; it holds no readings")


def _ledger(view: ArchiveView) -> Iterator[Finding]:
    """Frames that the ledger does not know, or knows and that are not there."""
    stored = {
        (node, boot): frames
        for node, boot, frames in view.connection.execute(
            "SELECT node, boot, count(DISTINCT seq) FROM frame GROUP BY node, boot"
        )
    }
    (first,) = view.connection.execute("SELECT min(id) FROM frame").fetchone()
    removed_some = first is not None and first > 1
    wrong = []
    for node in view.nodes():
        for boot in view.boots(node):
            frames = stored.pop((node, boot.boot), 0)
            known = boot.received.count()
            if frames > known or (frames < known and not removed_some):
                wrong.append(f"node {node:08x} boot {boot.boot}: {known} known, {frames} stored")
    wrong += [f"node {node:08x} boot {boot}: not on the ledger" for node, boot in stored]
    if wrong:
        yield Finding(False, "ledger", "; ".join(wrong[:FAULTS_SHOWN]))
    else:
        yield Finding(True, "ledger", "agrees with the frames")


def _machine(config: Config) -> Iterator[Finding]:
    folder = config.collector.data
    with suppress(OSError):
        status = os.statvfs(folder)
        free_mb = status.f_bavail * status.f_frsize / 1e6
        enough = free_mb > config.retention.disk_free_mb_min
        yield Finding(enough, "disk", f"{free_mb / 1e3:.1f} GB free")
    if config.collector.clock == "kernel":
        if kernel_synchronised():
            yield Finding(True, "clock", "synchronised")
        else:
            yield Finding(
                False, "clock", "not synchronised: boards get no time from us; set up NTP"
            )
    try:
        found = ask(folder, "status")
    except NotRunning:
        yield Finding(False, "collector", "not running")
        return
    except ControlError as error:
        yield Finding(False, "collector", str(error))
        return
    yield Finding(True, "collector", "running")
    per_day = found["storage"].get("written_per_day_bytes")
    if per_day:
        years = CARD_TERABYTES * 1e12 / per_day / 365
        text = f"{per_day / 1e6:.0f} MB written a day: a card for {CARD_TERABYTES:g} TB lasts "
        text += f"{years:.0f} years" if years < 100 else "more than 100 years"
        yield Finding(years >= YEARS_MIN, "card", text)


def _links(config: Config) -> Iterator[Finding]:
    for broker in config.mqtt:
        where = f"{broker.host}:{broker.port_used}"
        try:
            with socket.create_connection((broker.host, broker.port_used), CONNECT_WITHIN_S):
                yield Finding(True, f"broker {broker.name}", f"{where} answers")
        except OSError as error:
            yield Finding(False, f"broker {broker.name}", f"{where}: {error.strerror or error}")
    for port in config.serial:
        pattern = Path(port.port)
        ports = sorted(pattern.parent.glob(pattern.name))
        yield Finding(bool(ports), f"serial {port.name}", f"{len(ports)} ports {port.port}")


def page_faults(path: Path) -> list[str]:
    """What SQLite says of a file's pages; empty when they are whole."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(f"PRAGMA integrity_check({FAULTS_SHOWN})").fetchall()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if rows == [("ok",)] else [str(row[0]).splitlines()[0] for row in rows]


def repair(config: Config, progress: Callable[[int, int], None] | None = None) -> Saved:
    """Saves all readable frames into a new archive; the damaged one is set aside.

    The new one has another collector id, so boards send again what they still hold. Raises
    AlreadyRunning while the collector runs, sqlite3.Error when nothing can be read at all.
    """
    lock = FolderLock(config.collector.data)
    try:
        return _save(config.collector.archive, progress)
    finally:
        lock.release()


def _save(path: Path, progress: Callable[[int, int], None] | None) -> Saved:
    fresh = path.with_name("archive.saved")
    for suffix in ("", "-wal", "-shm"):
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
        if not frames:
            raise sqlite3.DatabaseError("not one frame can be read")
        for table in TABLES_KEPT:
            _copy_table(damaged, saved, table)
        mark_lost(saved)
        saved.execute("BEGIN")
        archive.put_meta(saved, "snapshot_id", 0)
        former = archive.former_collectors(saved)
        with suppress(schema.SchemaError):
            former = (*former, archive.collector_id(saved))
        archive.put_collector(saved, archive.new_collector(former), former)
        saved.execute("COMMIT")
        saved.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("-wal", "-shm"):
        log_file = Path(f"{path}{suffix}")
        if log_file.exists():
            log_file.rename(f"{aside}{suffix}")
    path.rename(aside)
    fresh.rename(path)
    for suffix in ("-wal", "-shm"):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    return Saved(frames, unreadable, aside)


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


def _copy_table(damaged: sqlite3.Connection, saved: sqlite3.Connection, table: str) -> None:
    """Copies what can be read of a small table; the rest follows from the frames."""
    try:
        made = damaged.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()
        rows = damaged.execute(f"SELECT * FROM {table}").fetchall() if made else []
    except sqlite3.DatabaseError as error:
        log.warning("table %s cannot be read and starts anew: %s", table, error)
        return
    if made is None:
        return
    saved.execute("BEGIN")
    with suppress(sqlite3.OperationalError):
        saved.execute(made[0])
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        saved.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)
    saved.execute("COMMIT")
