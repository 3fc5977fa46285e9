"""Folders and who they belong to, for root and for everybody else."""

import os
from pathlib import Path

import pytest

from collector.ownership import acting_as_owner, become_owner, give_back, make_folders, strangers

NOBODY = 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of another user with a file of theirs and one of root's."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "theirs").touch()
    for path in (folder, folder / "theirs"):
        os.chown(path, NOBODY, NOBODY)
    (folder / "roots").touch()
    return folder


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_new_folders_have_their_mode_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_folders(tmp_path / "a" / "b", 0o750)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o750
    make_folders(tmp_path / "a" / "b", 0o700)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o750, "what is there stays"


def test_in_a_folder_of_ones_own_only_the_mode_of_new_files_changes(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with acting_as_owner(tmp_path):
            (tmp_path / "private").touch()
        with acting_as_owner(tmp_path / "none"):
            pass
        (tmp_path / "usual").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "usual").stat().st_mode & 0o777 == 0o644
    assert become_owner(tmp_path) is None
    assert strangers(tmp_path) == []
    assert give_back(tmp_path) == []


@needs_root
def test_root_acts_as_the_owner_and_is_root_again(foreign: Path) -> None:
    before = os.geteuid(), os.getegid(), os.getgroups()
    os.chdir(foreign)
    try:
        with acting_as_owner(foreign):
            assert (os.geteuid(), os.getegid()) == (NOBODY, NOBODY)
            Path("new").touch()
            with pytest.raises(PermissionError), Path("roots").open("w"):
                pass
        with pytest.raises(KeyError), acting_as_owner(foreign):
            raise KeyError
    finally:
        os.chdir("/")
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    assert (foreign / "new").stat().st_uid == NOBODY


@needs_root
def test_files_are_given_back_and_links_are_not_followed(foreign: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    os.link(outside, foreign / "hard")
    (foreign / "soft").symlink_to(outside)
    assert [path.name for path in strangers(foreign)] == ["hard", "roots"]
    assert [path.name for path in give_back(foreign)] == ["roots"]
    assert (foreign / "roots").stat().st_uid == NOBODY
    assert outside.stat().st_uid == 0


@needs_root
def test_root_becomes_the_owner_for_good(foreign: Path) -> None:
    child = os.fork()
    if child == 0:
        owner = become_owner(foreign)
        ids = {*os.getresuid(), *os.getresgid()}
        os._exit(0 if owner is not None and ids == {NOBODY} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
