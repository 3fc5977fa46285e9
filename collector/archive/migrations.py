"""Brings an older archive to today's tables: `python -m collector.migrations FILE`.

A process of its own, so that the daemon never loads sqlite-utils. Each step is one transaction; a
step that fails leaves the file as it was. Steps are never edited: files of every version that was
ever released are kept as test data.
"""

import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlite_utils import Database

from collector.archive.schema import APPLICATION_ID, SCHEMA_VERSION, SchemaError, version

EXIT_OK = 0
EXIT_FAILED = 1

_LEDGER_2 = """CREATE TABLE ledger (
        node INTEGER NOT NULL, boot INTEGER NOT NULL, issued INTEGER NOT NULL,
        before INTEGER NOT NULL, live INTEGER NOT NULL, live_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL, down INTEGER NOT NULL, anchor_ms INTEGER,
        seen_ms INTEGER NOT NULL,
        received BLOB NOT NULL, dropped BLOB NOT NULL, lost BLOB NOT NULL, erased BLOB NOT NULL,
        conflicts TEXT NOT NULL,
        PRIMARY KEY (node, boot)) WITHOUT ROWID"""
_DIRTY_2 = """CREATE TABLE dirty (
        hour INTEGER NOT NULL, node INTEGER NOT NULL, marked INTEGER NOT NULL,
        PRIMARY KEY (hour, node)) WITHOUT ROWID"""

_FRAME_GOES_2 = """CREATE TRIGGER frame_goes BEFORE DELETE ON frame
        WHEN old.id = (SELECT max(id) FROM frame) BEGIN
        UPDATE meta SET value = max(value, old.id) WHERE key = 'id_floor'; END"""


def to_2(database: Database) -> None:
    """Each boot's last uptime on the ledger, markings of dirty hours, ids kept from reuse."""
    _replace_table(
        database,
        "ledger",
        _LEDGER_2,
        "SELECT node, boot, issued, before, live, live_ms, coalesce((SELECT max(last_ms) FROM frame"
        " WHERE frame.node = old.node AND frame.boot = old.boot), -1), down, anchor_ms, seen_ms,"
        " received, dropped, lost, erased, conflicts FROM old",
    )
    _replace_table(database, "dirty", _DIRTY_2, "SELECT hour, node, 0 FROM old")
    database.execute(
        "INSERT INTO meta SELECT 'id_floor', coalesce((SELECT seq FROM sqlite_sequence"
        " WHERE name = 'frame'), 0)"
    )
    database.execute(_FRAME_GOES_2)


STEPS: dict[int, Callable[[Database], None]] = {2: to_2}
"""The step that leads to each version."""


def migrate(path: Path) -> tuple[int, int]:
    """Runs the steps that a file needs; returns its version before and after.

    Raises SchemaError for a file that is not an archive or is newer than this program.
    """
    if not path.exists():
        raise SchemaError(f"{path} does not exist")
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        before = version(connection)
        if owner != APPLICATION_ID:
            raise SchemaError(f"{path} is not an archive of Open Cities OSN")
        if before > SCHEMA_VERSION:
            raise SchemaError(f"{path} has schema {before}, this program knows {SCHEMA_VERSION}")
        connection.execute("PRAGMA synchronous = FULL")
        for number in range(before + 1, SCHEMA_VERSION + 1):
            database = Database(connection, execute_plugins=False)
            with database.atomic():
                STEPS[number](database)
                connection.execute(f"PRAGMA user_version = {number}")
        return before, SCHEMA_VERSION
    finally:
        connection.close()


def _replace_table(database: Database, name: str, create: str, select: str) -> None:
    """Makes a table anew and fills it from the old one, which `select` calls `old`."""
    database.execute(f"ALTER TABLE [{name}] RENAME TO old")
    database.execute(create)
    database.execute(f"INSERT INTO [{name}] {select}")
    database.execute("DROP TABLE old")


def main(arguments: Sequence[str]) -> int:
    """The command: one file."""
    if len(arguments) != 1:
        print("usage: python -m collector.migrations ARCHIVE", file=sys.stderr)
        return EXIT_FAILED
    path = Path(arguments[0])
    try:
        before, after = migrate(path)
    except (SchemaError, sqlite3.Error, OSError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{path}: schema {before} to {after}" if before != after else f"{path}: up to date")
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
