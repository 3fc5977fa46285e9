"""One collector per data folder: a lock that lives as long as its process."""

import fcntl
import os
from pathlib import Path

LOCK_NAME = ".collector.lock"


class AlreadyRunning(RuntimeError):
    """Another process holds the folder."""


class FolderLock:
    """Held from construction until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._handle)
            raise AlreadyRunning(
                f"another collector, or a command, is at work on {folder}"
            ) from error

    def release(self) -> None:
        """Lets others have the folder."""
        os.close(self._handle)
