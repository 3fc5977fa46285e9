"""Whose the data folder is: what root does in it is done as its owner, who has to go on with it.

An operator types `sudo osn-collector ...`; the service runs as a user of its own and could not open
what root had made.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Owner(NamedTuple):
    """A user and a group by their numbers."""

    user: int
    group: int

    @property
    def name(self) -> str:
        """The user's name, its number where it has none."""
        try:
            return pwd.getpwuid(self.user).pw_name
        except KeyError:
            return str(self.user)

    @property
    def groups(self) -> list[int]:
        """All groups of the user."""
        try:
            return os.getgrouplist(pwd.getpwuid(self.user).pw_name, self.group)
        except KeyError:
            return [self.group]


def owner_of(path: Path) -> Owner:
    """Who a file or folder belongs to. Raises OSError."""
    status = path.stat()
    return Owner(status.st_uid, status.st_gid)


def make_folders(folder: Path, mode: int = 0o755, like: Path | None = None) -> None:
    """Makes a folder with what is missing above it, whatever the umask is.

    What root makes belongs to the owner of the folder above; the last one to the owner of `like`,
    where that is given.
    """
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folders(folder.parent)
    folder.mkdir(mode, exist_ok=True)
    folder.chmod(mode)
    if os.geteuid() == 0:
        os.chown(folder, *owner_of(like or folder.parent))


def make_data_folder(data: Path, config_file: Path) -> None:
    """Makes the data folder, private, for the owner of the configuration's folder."""
    make_folders(data, 0o750, like=config_file.absolute().parent)


@contextmanager
def acting_as_owner(folder: Path) -> Iterator[None]:
    """What root does in this block is done as the folder's owner; new files are private.

    For anybody else, and where there is no folder yet, only the mode of new files changes.
    """
    mask = os.umask(0o077)
    try:
        if os.geteuid() != 0 or not folder.is_dir() or owner_of(folder).user == 0:
            yield
            return
        owner, groups, group = owner_of(folder), os.getgroups(), os.getegid()
        os.setgroups(owner.groups)
        os.setegid(owner.group)
        os.seteuid(owner.user)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)
    finally:
        os.umask(mask)


def become_owner(folder: Path) -> Owner | None:
    """Goes on as the folder's owner for good where root runs this; who that is, or None."""
    owner = owner_of(folder)
    if os.geteuid() != 0 or owner.user == 0:
        return None
    os.setgroups(owner.groups)
    os.setresgid(owner.group, owner.group, owner.group)
    os.setresuid(owner.user, owner.user, owner.user)
    return owner


def strangers(folder: Path) -> list[Path]:
    """Files of a folder that belong to another user than the folder does."""
    owner = owner_of(folder)
    return [
        path
        for path in sorted(folder.iterdir())
        if stat.S_ISREG((status := path.lstat()).st_mode) and status.st_uid != owner.user
    ]


def give_back(folder: Path) -> list[Path]:
    """Gives strangers' files to the folder's owner where root runs this; returns those files."""
    if os.geteuid() != 0 or not folder.is_dir():
        return []
    owner = owner_of(folder)
    given = []
    for path in strangers(folder):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if os.fstat(handle).st_nlink == 1:  # else it may be somebody's file of another place
                os.fchown(handle, *owner)
                given.append(path)
        finally:
            os.close(handle)
    return given
