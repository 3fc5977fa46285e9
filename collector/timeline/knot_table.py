"""The table `knot`: what is known of boots' clocks, an observation of each source in each hour."""

import sqlite3
from collections.abc import Iterable

from collector.timeline.timeline_fit import Knot

KnotRow = tuple[int, int, int, int, int, int, int]
"""(hour, node, boot, source, uptime_ms, offset_ms, error_ms), as in the table `knot`."""

HOURS_EACH_MAX = 500

_FIELDS = "uptime_ms, offset_ms, error_ms, source"
# Hour by hour where they are few, for between one and the next lie the rows of all other nodes.
_EACH_HOUR = (
    "WITH RECURSIVE hours(number) AS"
    " (SELECT ? UNION ALL SELECT number + 1 FROM hours WHERE number < ?)"
    f" SELECT {_FIELDS} FROM hours CROSS JOIN knot ON hour = number AND node = ? AND boot = ?"
)
_ALL_HOURS = f"SELECT {_FIELDS} FROM knot WHERE hour BETWEEN ? AND ? AND node = ? AND boot = ?"


def write(connection: sqlite3.Connection, rows: Iterable[KnotRow]) -> None:
    """Writes knots inside the writer's transaction; a better one of an hour replaces the other."""
    connection.executemany("INSERT OR REPLACE INTO knot VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def load(
    connection: sqlite3.Connection, node: int, boot: int, first_hour: int, last_hour: int
) -> list[Knot]:
    """Stored knots of a boot between two hours, both included."""
    few = last_hour - first_hour < HOURS_EACH_MAX
    rows = connection.execute(
        _EACH_HOUR if few else _ALL_HOURS, (first_hour, last_hour, node, boot)
    )
    return [Knot(*row) for row in rows]
