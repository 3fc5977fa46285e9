"""Which collector this is: the id under which it acknowledges, and those that it had before.

An archive that lacks what was acknowledged in its name goes on under another id: so boards that
still name a former one are known to have lost frames here.
"""

import json
import secrets
import sqlite3
from collections.abc import Container
from typing import NamedTuple

from collector.archive.schema import COLLECTOR_KEY, SchemaError

FORMER_KEY = "former_collectors"
FORMER_MAX = 64


class Identity(NamedTuple):
    """An id (u32), and the former ones, the newest last: boards may still name them."""

    collector: int
    former: tuple[int, ...] = ()

    def owns(self, collector: int) -> bool:
        """Whether an id is this collector's, or was."""
        return collector == self.collector or collector in self.former

    def another(self) -> "Identity":
        """The same collector under a new id."""
        former = (*self.former, self.collector)[-FORMER_MAX:]
        return Identity(new_collector(former), former)


def read(connection: sqlite3.Connection) -> Identity:
    """The archive's identity; SchemaError when it has no id. A damaged former list is empty."""
    collector = _meta(connection, COLLECTOR_KEY)
    if not isinstance(collector, int):
        raise SchemaError("the archive has no collector id: run `osn-collector doctor`")
    return Identity(collector, former_collectors(connection))


def former_collectors(connection: sqlite3.Connection) -> tuple[int, ...]:
    """Former ids alone, also of an archive without an id."""
    try:
        former = json.loads(str(_meta(connection, FORMER_KEY) or "[]"))
        return tuple(int(each) for each in former)
    except (ValueError, TypeError, RecursionError):
        return ()


def put(connection: sqlite3.Connection, identity: Identity) -> None:
    """Gives the archive an identity."""
    former = json.dumps(identity.former[-FORMER_MAX:])
    connection.executemany(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)",
        [(FORMER_KEY, former), (COLLECTOR_KEY, identity.collector)],
    )


def new_collector(former: Container[int] = ()) -> int:
    """A random id that was not used before."""
    while True:
        fresh = secrets.randbits(32)
        if fresh and fresh not in former:
            return fresh


def _meta(connection: sqlite3.Connection, key: str) -> object:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]
