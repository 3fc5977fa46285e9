"""Readings as plain rows, for people with SQL: a view over the archive's frames.

`register` gives a connection our functions and two temporary views: `reading`, and `hourly_mean`
(UTC hours, raw, with the share of the hour that values cover). Nothing is written to the archive,
so it works on a read-only connection and on one that Datasette opened. A query on `reading` should
name node and time: `WHERE node = 'a1b2c3d4' AND received BETWEEN ... AND ...` reads only frames
received then. Positions have no value here: how closely they may be told is known to the registry
of nodes, and `osn-collector export` asks it.
"""

import json
import sqlite3
from datetime import UTC, datetime
from functools import lru_cache

from collector.archive.archive import OK, StoredFrame
from collector.archive.decoding import decode_stored
from collector.clock import DATABLE_UNIX_MS
from collector.ledger import ledger_store
from collector.readings.observation import PLACE_QUANTITIES, quality_name
from collector.timeline import knots
from collector.timeline.timeline import Timeline
from collector.timeline.timeline_fit import Knot
from protocol import wire
from protocol.decoder import Frame
from protocol.reading import readings
from protocol.registry import REGISTRY
from protocol.wire import FrameError

VIEW = """
CREATE TEMP VIEW IF NOT EXISTS reading AS
SELECT printf('%08x', frame.node) AS node,
       osn_time(frame.node, frame.boot, cell.value ->> 0) AS time,
       cell.value ->> 1 AS quantity,
       cell.value ->> 2 AS instance,
       cell.value ->> 3 AS band,
       cell.value ->> 4 AS value,
       cell.value ->> 5 AS unit,
       cell.value ->> 6 AS quality,
       frame.boot AS boot, frame.seq AS seq, cell.value ->> 7 AS sample,
       frame.received AS received, frame.id AS frame
FROM frame, json_each(osn_readings(frame.raw, frame.state)) AS cell
WHERE frame.type = 1 AND frame.state <> 2
"""

HOURLY_VIEW = """
CREATE TEMP VIEW IF NOT EXISTS hourly_mean AS
SELECT printf('%08x', node) AS node,
       strftime('%Y-%m-%dT%H:%M:%SZ', hour * 3600, 'unixepoch') AS hour,
       osn_quantity(quantity) AS quantity, instance, mean, low, high,
       osn_unit(quantity) AS unit, count, min(1.0, valid_ms / 3600000.0) AS coverage
FROM hourly
WHERE quantity NOT IN (128, 129, 130) AND hour BETWEEN 0 AND 2562047
"""
"""Without positions, and within the years that `iso` shows."""


def register(connection: sqlite3.Connection) -> None:
    """Adds the functions and, where there are frames, the view to a connection."""
    dates = _Dates(connection)
    connection.create_function("osn_readings", -1, _readings_json, deterministic=True)
    connection.create_function("osn_time", 3, dates.iso)
    connection.create_function("osn_unix_ms", 3, dates.unix_ms)
    connection.create_function("osn_quantity", 1, lambda number: _names(number)[0])
    connection.create_function("osn_unit", 1, lambda number: _names(number)[1])
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    (guarded,) = connection.execute("PRAGMA query_only").fetchone()
    connection.execute("PRAGMA query_only = OFF")  # temporary views are refused too
    if "frame" in tables:
        connection.execute(VIEW)
    if "hourly" in tables:
        connection.execute(HOURLY_VIEW)
    connection.execute(f"PRAGMA query_only = {guarded}")


def iso(unix_ms: int) -> str | None:
    """ISO 8601 with milliseconds, in UTC; None for what dates nothing."""
    if unix_ms not in DATABLE_UNIX_MS:
        return None
    moment = datetime.fromtimestamp(unix_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1000:03d}Z"


def _readings_json(raw: bytes, state: int = OK) -> str:
    """Rows (uptime, quantity, instance, band, value, unit, quality, sample) of a frame."""
    try:
        frame = decode_stored(StoredFrame(0, 0, 0, 0, wire.T_DATA, state, 0, 0, 0, bytes(raw)))
    except FrameError:
        return "[]"
    return _encode(frame)


@lru_cache(maxsize=512)
def _names(quantity: int) -> tuple[str, str]:
    row = REGISTRY.get(quantity)
    return (row.name, row.unit) if row else (f"quantity_{quantity}", "")


def _encode(frame: Frame) -> str:
    rows = []
    for reading in readings(frame):
        name, unit = _names(reading.quantity)
        value = None if reading.quantity in PLACE_QUANTITIES else reading.value
        rows.append(
            (
                reading.uptime_ms, name, reading.instance, reading.band, value, unit,
                quality_name(reading.quality), reading.sample,
            )
        )  # fmt: skip
    return json.dumps(rows, separators=(",", ":"))


class _Dates:
    """The timeline of an archive that another process may be writing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._anchors: dict[tuple[int, int], int] = {}
        self._timeline = Timeline(self._anchor, self._load)

    def unix_ms(self, node: int, boot: int, uptime_ms: int) -> int | None:
        stamp = self._timeline.time_of(node, boot, uptime_ms)
        return None if stamp is None else stamp.unix_ms

    def iso(self, node: int, boot: int, uptime_ms: int) -> str | None:
        unix_ms = self.unix_ms(node, boot, uptime_ms)
        return None if unix_ms is None else iso(unix_ms)

    def _anchor(self, node: int, boot: int) -> int | None:
        known = self._anchors.get((node, boot))
        if known is None:
            known = anchor_of(self._connection, node, boot)
            if known is not None:
                self._anchors[node, boot] = known
        return known

    def _load(self, node: int, boot: int, first_hour: int, last_hour: int) -> list[Knot]:
        return knots.load(self._connection, node, boot, first_hour, last_hour)


def anchor_of(connection: sqlite3.Connection, node: int, boot: int) -> int | None:
    """A boot's hour shift: from the ledger, or while that is not written yet from a first knot."""
    known = ledger_store.find_boot(connection, node, boot)
    if known is not None and known.anchor_ms is not None:
        return known.anchor_ms
    row = connection.execute(
        "SELECT offset_ms FROM knot WHERE node = ? AND boot = ? ORDER BY hour LIMIT 1",
        (node, boot),
    ).fetchone()
    return None if row is None else int(row[0])
