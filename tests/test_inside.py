"""The net itself: what lies outside is refused, what lies inside is not."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.inside import Inside, Machine, WritesOutside

ELSEWHERE = "/osn-must-not-be"


def _bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


def _open_in(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.mkdir("osn-must-not-be", dir_fd=handle)
    finally:
        os.close(handle)


WRITES: dict[str, Callable[[str], object]] = {
    "open": lambda path: open(path, "w"),  # noqa: PTH123, SIM115
    "append": lambda path: Path(path).open("a"),  # noqa: SIM115
    "update": lambda path: Path("/etc/hostname").open("r+"),  # noqa: SIM115
    "low": lambda path: os.open(path, os.O_CREAT | os.O_RDWR, 0o600),
    "touch": lambda path: Path(path).touch(),
    "bytes": lambda path: Path(path.encode().decode()).write_bytes(b""),
    "folder": lambda path: Path(path).mkdir(),
    "folders": lambda path: os.makedirs(f"{path}/below"),  # noqa: PTH103
    "in a folder": lambda path: _open_in("/"),
    "remove": lambda path: Path("/etc/hostname").unlink(),
    "mode": lambda path: Path("/etc/hostname").chmod(0o644),
    "owner": lambda path: os.chown("/etc/hostname", 0, 0),
    "time": lambda path: os.utime("/etc/hostname"),
    "database": sqlite3.connect,
    "database by address": lambda path: sqlite3.connect(f"file:{path}?mode=rwc", uri=True),
    "socket": _bind,
    "tree": lambda path: shutil.copytree(Path(__file__).parent / "vectors", path),
}


@pytest.mark.parametrize("how", WRITES)
def test_writing_elsewhere_is_refused(nets: tuple[Inside, Machine], how: str) -> None:
    with pytest.raises(WritesOutside):
        WRITES[how](ELSEWHERE)
    assert len(nets[0].take()) == 1
    assert not Path(ELSEWHERE).exists()


def test_moving_and_linking_over_the_border_is_refused(
    nets: tuple[Inside, Machine], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.touch()
    (tmp_path / "door").symlink_to("/")
    for write in (
        lambda: mine.rename(ELSEWHERE),
        lambda: Path("/etc/hostname").rename(tmp_path / "x"),
        lambda: Path(ELSEWHERE).hardlink_to(mine),
        lambda: Path(ELSEWHERE).symlink_to(mine),
    ):
        with pytest.raises(WritesOutside):
            write()
    assert len(nets[0].take()) == 4


def test_what_a_test_swallows_is_found_afterwards(nets: tuple[Inside, Machine]) -> None:
    with suppress(Exception):
        Path(ELSEWHERE).mkdir()
    assert nets[0].take() == [f"os.mkdir {ELSEWHERE}"]


def test_reading_and_ones_own_folders_are_free(
    nets: tuple[Inside, Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("/etc/hostname").open().close()
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "c").write_text("x")
    shutil.rmtree(tmp_path / "a")
    sqlite3.connect(":memory:").close()
    sqlite3.connect(tmp_path / "x.db").close()
    with Path("/dev/null").open("w"), tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x").touch()
    monkeypatch.chdir(tmp_path)
    _bind("relative.sock")
    handle = os.open(tmp_path, os.O_RDONLY)
    _bind(f"/proc/self/fd/{handle}/by-handle.sock")
    os.close(handle)
    assert nets[0].take() == []


def test_processes_have_a_home_and_a_temporary_folder_of_their_own(tmp_path: Path) -> None:
    code = "import tempfile, pathlib; print(pathlib.Path.home(), tempfile.gettempdir())"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    home, temporary = shown.split()
    assert tmp_path.is_relative_to(Path(home).parent)
    assert Path(temporary).name.startswith("osn-tests-")


def test_what_a_process_leaves_on_the_machine_is_found(tmp_path: Path) -> None:
    place, mine = tmp_path / "etc", tmp_path / "mine"
    place.mkdir()
    (place / "old.conf").write_text(f"password_file {mine}/passwords\n")
    os.utime(place, (1, 1))
    machine = Machine([place, tmp_path / "none"], [mine])
    assert machine.changed() == []
    (place / "other.conf").write_text("somebody else's\n")
    (place / "old.conf").unlink()
    assert machine.changed() == []
    subprocess.run(
        ["sh", "-c", f"echo password_file {mine}/passwords >{place}/osn.conf"], check=True
    )
    assert machine.changed() == [place / "osn.conf"]
    assert machine.changed() == []
