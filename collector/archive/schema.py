"""Tables of the archive as they are today; older files are brought here by `migrations`.

Frames are appended and never changed but for their state. No table has an index beside its key,
and keys begin with what grows with time wherever rows are written often: a scattered write costs a
whole page of an SD card.
"""

import sqlite3

SCHEMA_VERSION = 2
APPLICATION_ID = 0x4F534E31
"""`OSN1` in the file's header: says whose database this is."""

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    """CREATE TABLE start (
        number INTEGER PRIMARY KEY, began_ms INTEGER NOT NULL, unix_at_zero_ms INTEGER)""",
    """CREATE TABLE frame (
        id INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL, boot INTEGER NOT NULL,
        seq INTEGER NOT NULL, type INTEGER NOT NULL, state INTEGER NOT NULL,
        received INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
        raw BLOB NOT NULL)""",
    """CREATE TABLE ledger (
        node INTEGER NOT NULL, boot INTEGER NOT NULL, issued INTEGER NOT NULL,
        before INTEGER NOT NULL, live INTEGER NOT NULL, live_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL, down INTEGER NOT NULL, anchor_ms INTEGER,
        seen_ms INTEGER NOT NULL,
        received BLOB NOT NULL, dropped BLOB NOT NULL, lost BLOB NOT NULL, erased BLOB NOT NULL,
        conflicts TEXT NOT NULL,
        PRIMARY KEY (node, boot)) WITHOUT ROWID""",
    """CREATE TABLE node (
        node INTEGER PRIMARY KEY, boot INTEGER NOT NULL, collector INTEGER NOT NULL,
        seen_ms INTEGER NOT NULL, carried INTEGER NOT NULL, baseline TEXT, drops TEXT NOT NULL)""",
    """CREATE TABLE knot (
        hour INTEGER NOT NULL, node INTEGER NOT NULL, boot INTEGER NOT NULL,
        source INTEGER NOT NULL, uptime_ms INTEGER NOT NULL, offset_ms INTEGER NOT NULL,
        error_ms INTEGER NOT NULL, PRIMARY KEY (hour, node, boot, source)) WITHOUT ROWID""",
    """CREATE TABLE hour (
        hour INTEGER NOT NULL, node INTEGER NOT NULL, boot INTEGER NOT NULL,
        first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, ids BLOB NOT NULL,
        PRIMARY KEY (hour, node, boot)) WITHOUT ROWID""",
    """CREATE TABLE hourly (
        hour INTEGER NOT NULL, node INTEGER NOT NULL, quantity INTEGER NOT NULL,
        instance INTEGER NOT NULL, count INTEGER NOT NULL, mean REAL, low REAL, high REAL,
        valid_ms INTEGER NOT NULL,
        PRIMARY KEY (hour, node, quantity, instance)) WITHOUT ROWID""",
    """CREATE TRIGGER frame_goes BEFORE DELETE ON frame
        WHEN old.id = (SELECT max(id) FROM frame) BEGIN
        UPDATE meta SET value = max(value, old.id) WHERE key = 'id_floor'; END""",
    """CREATE TABLE dirty (
        hour INTEGER NOT NULL, node INTEGER NOT NULL, marked INTEGER NOT NULL,
        PRIMARY KEY (hour, node)) WITHOUT ROWID""",
)

COLLECTOR_KEY = "collector"
ID_FLOOR_KEY = "id_floor"
"""Keys in `meta`: the id that this archive's acknowledgements carry; the largest frame id that was
ever given and erased."""


class SchemaError(RuntimeError):
    """A database that this program cannot use; the message says what to do."""


def version(connection: sqlite3.Connection) -> int:
    """Schema version of a database, 0 for an empty one."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def is_empty(connection: sqlite3.Connection) -> bool:
    """True when the database has no table."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(tables) == 0


def create(connection: sqlite3.Connection, collector: int) -> None:
    """Makes all tables in an empty database, and gives it its id, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in TABLES:
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)", [(COLLECTOR_KEY, collector), (ID_FLOOR_KEY, 0)]
    )
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("COMMIT")


def require_current(connection: sqlite3.Connection) -> None:
    """SchemaError unless the tables are those of this program."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner != APPLICATION_ID:
        raise SchemaError("this SQLite file is not an archive of Open Cities OSN")
    found = version(connection)
    if found > SCHEMA_VERSION:
        raise SchemaError(
            f"the archive has schema {found}, written by a newer version of this program; "
            f"this one knows {SCHEMA_VERSION}: install the newer version again"
        )
    if found < SCHEMA_VERSION:
        raise SchemaError(
            f"the archive has schema {found}, this program needs {SCHEMA_VERSION}: "
            "run `python -m collector.migrations FILE`"
        )
