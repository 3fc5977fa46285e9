"""The flash file system below the firmware, from MicroPython's own modules."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.types import File


class BoardFiles:
    """The flash file system. Paths are below root; the root is the working folder's start."""

    def __init__(self, root: str = "") -> None:
        self._root = root + "/" if root else ""

    def listdir(self, path: str) -> "list[str]":
        """Names in a folder."""
        return os.listdir(self._root + path)

    def open(self, path: str, mode: str) -> "File":
        """An open file; "b" in mode gives bytes."""
        handle: "Any" = open(self._root + path, mode)
        opened: "File" = handle
        return opened

    def remove(self, path: str) -> None:
        """Delete a file."""
        os.remove(self._root + path)

    def rename(self, old: str, new: str) -> None:
        """Rename a file, over one that has the new name."""
        os.rename(self._root + old, self._root + new)

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        os.mkdir(self._root + path)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        os.rmdir(self._root + path)

    def stat(self, path: str) -> "tuple[int, ...]":
        """As os.stat: [0] mode, [6] size."""
        status: "Any" = os.stat(self._root + path)
        return tuple(status)

    def statvfs(self, path: str) -> "tuple[int, ...]":
        """As os.statvfs: [1] block size, [4] free blocks."""
        status: "Any" = os.statvfs(self._root + path)
        return tuple(status)

    def sync(self) -> None:
        """Write what the system holds back; closed files are durable without it."""
        if hasattr(os, "sync"):
            os.sync()
