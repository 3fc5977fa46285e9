"""The door: it opens on our rooms only, and shows the readings of an archive to other tools."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pluggy
import pytest

import opencities_osn

ROOT = opencities_osn.HERE


def test_datasette_finds_the_same_hook() -> None:
    manager = pluggy.PluginManager("datasette")
    manager.register(opencities_osn)
    assert manager.parse_hookimpl_opts(opencities_osn, "prepare_connection") is not None


def opened(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """Python that searches these folders first."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
    )


def stranger(folder: Path, room: str, kind: str) -> Path:
    """Somebody else's package or module of a room's name."""
    if kind == "package":
        (folder / room).mkdir()
        (folder / room / "__init__.py").write_text("VERSION = 3\n")
        return folder / room
    (folder / f"{room}.py").write_text("VERSION = 3\n")
    return folder / f"{room}.py"


@pytest.mark.parametrize("kind", ["package", "module"])
@pytest.mark.parametrize("room", opencities_osn.ROOMS)
def test_a_command_names_the_stranger_in_a_rooms_place(
    room: str, kind: str, tmp_path: Path
) -> None:
    place = stranger(tmp_path, room, kind)
    done = opened("import opencities_osn; opencities_osn.collector()", tmp_path, ROOT)
    assert done.returncode == opencities_osn.EXIT_CONFIG
    assert f"{room} is {place}" in done.stderr
    assert "environment of its own" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_enters_rooms_that_are_ours() -> None:
    code = "import sys, opencities_osn; sys.argv[1:] = ['--version']; opencities_osn.collector()"
    done = opened(code, ROOT)
    assert done.returncode == 0, done.stderr


def test_the_plug_in_does_its_host_no_harm(tmp_path: Path) -> None:
    stranger(tmp_path, "protocol", "package")
    code = (
        "import sqlite3, opencities_osn; "
        "opencities_osn.prepare_connection(sqlite3.connect(':memory:')); print('the host goes on')"
    )
    done = opened(code, tmp_path, ROOT)
    assert "the host goes on" in done.stdout
    assert "no reading view" in done.stderr


def test_the_entry_points_lead_through_the_door() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets = list(project["scripts"].values())
    targets += [t for group in project["entry-points"].values() for t in group.values()]
    for target in targets:
        module, _, name = target.partition(":")
        assert module == "opencities_osn"
        assert not name or callable(getattr(opencities_osn, name))
