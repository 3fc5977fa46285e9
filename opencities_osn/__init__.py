"""The door: commands and plug-ins enter the rooms by this name, which nobody else has.

The rooms' own names are plain words. Where another distribution, or a folder on the way that
Python searches, has one of them too, Python may find that instead. The door looks before it opens:
a command ends with the place of the stranger, and a plug-in stays out without harm to its host.
"""

import importlib
import sqlite3
import sys
import warnings
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pluggy

HERE = Path(__file__).resolve().parent.parent
DISTRIBUTION = "opencities-osn"
ROOMS = ("protocol", "firmware", "collector", "hardware", "simulator")
EXIT_CONFIG = 78


class NotOurs(ImportError):
    """A room's name leads to somebody else's package."""


def enter(module: str) -> Any:
    """Imports a module of a room; NotOurs with what to do when a room is not ours."""
    strangers = {room: place for room in ROOMS if (place := _place(room)) != HERE / room}
    if strangers:
        found = ", ".join(f"{room} is {place or 'missing'}" for room, place in strangers.items())
        raise NotOurs(
            f"{DISTRIBUTION} cannot start: of its packages in {HERE}, {found}. "
            f"Install it in an environment of its own (uv tool, pipx) and leave PYTHONPATH unset"
        )
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if not (others := _sharing()):
            raise
        raise NotOurs(
            f"{DISTRIBUTION} cannot start: {error}. Its packages are shared with "
            f"{', '.join(others)}: install it again, in an environment of its own"
        ) from error


def _place(room: str) -> Path | None:
    """The folder or file that Python finds by a room's name; imports nothing."""
    spec = util.find_spec(room)
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin).resolve()
    return origin.parent if spec.submodule_search_locations is not None else origin


def _sharing() -> list[str]:
    """Other distributions that have a package of one of our names."""
    owners = metadata.packages_distributions()
    return sorted({name for room in ROOMS for name in owners.get(room, ())} - {DISTRIBUTION})


def _command(module: str) -> None:
    try:
        main = enter(module).main
    except NotOurs as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    main()


def collector() -> None:
    """osn-collector."""
    _command("collector.cli")


def simulator() -> None:
    """osn-simulator."""
    _command("simulator.cli")


def board() -> None:
    """osn-board."""
    _command("hardware.cli")


_for_sqlite_utils = pluggy.HookimplMarker("sqlite_utils")
_for_datasette = pluggy.HookimplMarker("datasette")


@_for_sqlite_utils
@_for_datasette
def prepare_connection(conn: sqlite3.Connection) -> None:
    """Adds the `reading` view's functions and, where there are frames, the view itself.

    sqlite-utils and Datasette find this hook by the package's entry points.
    """
    try:
        view = enter("collector.readings.reading_view")
    except NotOurs as error:
        warnings.warn(f"no reading view: {error}", stacklevel=2)
        return
    view.register(conn)
