"""The sinks' books as people read them: readings by outcome, and why."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from collector.forward import book_tables


def book_counts(connection: sqlite3.Connection) -> dict[str, dict[book_tables.Count, int]]:
    """The sinks' books; empty while no sink has ever run."""
    row = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'delivery_count'").fetchone()
    return book_tables.counts(connection) if row else {}


def counted(counts: Mapping[book_tables.Count, int]) -> dict[str, Any]:
    """Readings of one sink by outcome, and by outcome and reason."""
    readings_by: dict[str, int] = {}
    reasons: dict[str, dict[str, int]] = {}
    for count, number in counts.items():
        readings_by[count.outcome] = readings_by.get(count.outcome, 0) + number
        if count.reason:
            by_reason = reasons.setdefault(count.outcome, {})
            by_reason[count.reason] = by_reason.get(count.reason, 0) + number
    return {"readings": readings_by, "reasons": reasons}
