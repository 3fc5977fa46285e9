"""The `reading` view for people who open an archive with sqlite-utils or Datasette.

Both find this module by its entry point; the collector itself never imports it.
"""

import sqlite3

import pluggy

from collector.readings.reading_view import register

_for_sqlite_utils = pluggy.HookimplMarker("sqlite_utils")
_for_datasette = pluggy.HookimplMarker("datasette")


@_for_sqlite_utils
@_for_datasette
def prepare_connection(conn: sqlite3.Connection) -> None:
    """Adds the view's functions and, where there are frames, the view itself."""
    register(conn)
