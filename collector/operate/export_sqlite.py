"""Readings into an SQLite file of plain rows, for everybody: it needs no function of ours."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from collector.archive import archive
from collector.archive.archive import CONFLICT, StoredFrame
from collector.archive.reading_view import iso, quality_name, timeline_of
from collector.archive.timeline import Timeline
from protocol import wire
from protocol.decoder import decode
from protocol.reading import readings
from protocol.registry import REGISTRY
from protocol.wire import FrameError

FRAMES_AT_ONCE = 2_000

TABLES = """
CREATE TABLE reading (
    node TEXT NOT NULL, time TEXT, unix_ms INTEGER, error_ms INTEGER, quantity TEXT NOT NULL,
    instance INTEGER NOT NULL, band INTEGER, value REAL NOT NULL, unit TEXT NOT NULL,
    quality TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL, sample INTEGER NOT NULL);
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

Row = tuple[
    str, str | None, int | None, int | None, str, int, int | None, float, str, str, int, int, int
]
Progress = Callable[[int, int], None]


class ExportError(RuntimeError):
    """The export cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which readings: of these nodes, quantities and Unix ms; empty or None means all."""

    nodes: frozenset[int] = frozenset()
    quantities: frozenset[int] = frozenset()
    from_ms: int | None = None
    to_ms: int | None = None


def export(
    source: sqlite3.Connection,
    target: Path,
    choice: Choice | None = None,
    progress: Progress | None = None,
) -> int:
    """Writes a new file; returns how many readings it holds. Raises ExportError when it exists.

    `progress` is called with (last frame id done, newest frame id).
    """
    if target.exists():
        raise ExportError(f"{target} exists; give the name of a new file")
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    written = 0
    output = sqlite3.connect(unfinished, isolation_level=None)
    try:
        output.execute("PRAGMA journal_mode = OFF")
        output.executescript(TABLES)
        newest = archive.newest_id(source)
        dates = timeline_of(source)
        output.execute("BEGIN")
        for frame_id, rows in _batches(source, newest, dates, choice or Choice()):
            output.executemany(
                "INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            written += len(rows)
            if progress is not None:
                progress(frame_id, newest)
        output.execute("CREATE INDEX reading_by_time ON reading (node, quantity, unix_ms)")
        output.execute(
            "INSERT INTO about VALUES ('collector', ?), ('frames_up_to', ?)",
            (f"{archive.collector_id(source):08x}", str(newest)),
        )
        output.execute("COMMIT")
    except BaseException:
        output.close()
        unfinished.unlink(missing_ok=True)
        raise
    output.close()
    unfinished.replace(target)
    return written


def _batches(
    source: sqlite3.Connection, newest: int, dates: Timeline, choice: Choice
) -> Iterator[tuple[int, list[Row]]]:
    last = 0
    while last < newest:
        frames = list(archive.frames(source, last + 1, newest, FRAMES_AT_ONCE))
        if not frames:
            return
        last = frames[-1].id
        yield last, [row for frame in frames for row in _rows(frame, dates, choice)]


def _rows(frame: StoredFrame, dates: Timeline, choice: Choice) -> Iterator[Row]:
    if frame.type != wire.T_DATA or frame.state == CONFLICT:
        return
    if choice.nodes and frame.node not in choice.nodes:
        return
    try:
        decoded = decode(frame.raw)
    except FrameError:
        return
    node = f"{frame.node:08x}"
    for reading in readings(decoded):
        if choice.quantities and reading.quantity not in choice.quantities:
            continue
        stamp = dates.time_of(frame.node, frame.boot, reading.uptime_ms)
        unix_ms = None if stamp is None else stamp.unix_ms
        if not _within(unix_ms, choice):
            continue
        row = REGISTRY.get(reading.quantity)
        yield (
            node, None if unix_ms is None else iso(unix_ms), unix_ms,
            None if stamp is None else stamp.error_ms,
            row.name if row else f"quantity_{reading.quantity}", reading.instance, reading.band,
            reading.value, row.unit if row else "", quality_name(reading.quality),
            reading.boot, reading.seq, reading.sample,
        )  # fmt: skip


def _within(unix_ms: int | None, choice: Choice) -> bool:
    if unix_ms is None:
        return choice.from_ms is None and choice.to_ms is None
    if choice.from_ms is not None and unix_ms < choice.from_ms:
        return False
    return choice.to_ms is None or unix_ms < choice.to_ms
