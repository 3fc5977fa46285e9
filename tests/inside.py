"""Tests keep to their own folders: what they write elsewhere is refused, and named.

In this process an audit hook sees every write before it is done. Processes that tests start get
HOME, XDG folders and TMPDIR of their own; the machine's places that a collector could write to are
looked at after each test.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILT = (".pytest_cache", ".hypothesis", ".mypy_cache", "build", "dist", "out")
"""Folders of the repository that git ignores."""
MACHINE = (
    "/etc/osn-collector", "/etc/mosquitto", "/etc/mosquitto/conf.d", "/etc/udev/rules.d",
    "/etc/systemd/system", "/etc/cron.d", "/usr/local/bin", "/var/lib/osn-collector",
    "/var/lib/mosquitto", "/run",
)  # fmt: skip
FILE_BYTES_LOOKED_AT = 100_000
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

PATHS: Mapping[str, tuple[tuple[int, int | None], ...]] = {
    "open": ((0, None),),
    "sqlite3.connect": ((0, None),),
    "socket.bind": ((1, None),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.setxattr": ((0, None),),
    "os.removexattr": ((0, None),),
}
"""Audit events that write: where among the arguments is the path, and where its folder's handle."""


class WritesOutside(RuntimeError):
    """A test would have changed something that is not its own."""


class Inside:
    """Refuses writes outside the allowed folders while it is `on`, and keeps their names."""

    def __init__(self, folders: Iterable[Path]) -> None:
        real = {form for folder in folders for form in (folder, folder.resolve())}
        self.folders = tuple(f"{folder}/" for folder in sorted(real))
        self.on = False
        self.found: list[str] = []

    def install(self) -> None:
        """For the rest of this process; Python has no way to take an audit hook away."""
        sys.addaudithook(self._hear)

    def allows(self, path: str) -> bool:
        """Whether a path lies in one of the folders, or is Python's own cache of bytecode."""
        if path.startswith(self.folders) and "/../" not in path:
            return True
        whole = Path(path)
        if not whole.parent.is_dir():
            return True  # it will be refused anyway, by the words that a user sees
        real = f"{whole.parent.resolve() / whole.name}/"
        return real.startswith((*self.folders, "/dev/", "/proc/")) or "/__pycache__/" in real

    def take(self) -> list[str]:
        """What was refused since the last call."""
        found, self.found = self.found, []
        return found

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in PATHS or not _writes(event, arguments):
            return
        for place, folder_place in PATHS[event]:
            folder = -1 if folder_place is None else arguments[folder_place]
            path = _whole(event, arguments[place], folder)
            if path and not self.allows(path):
                self.found.append(f"{event} {path}")
                raise WritesOutside(f"{event} {path}: this is not the test's own")


def _writes(event: str, arguments: tuple[Any, ...]) -> bool:
    return event != "open" or bool(arguments[2] & WRITING)


def _whole(event: str, path: Any, folder: Any) -> str:
    """The path of an event's argument; "" for what is no name of a file."""
    if isinstance(path, int) or path is None or isinstance(path, tuple):
        return ""
    text = os.fsdecode(path)
    if event == "sqlite3.connect":
        if text.startswith("file:"):
            text = "" if "mode=ro" in text else text.removeprefix("file:").partition("?")[0]
        text = "" if text == ":memory:" else text
    if event == "socket.bind" and text.startswith("\0"):
        return ""
    if isinstance(folder, int) and folder >= 0:
        return str(Path(f"/proc/self/fd/{folder}") / text)
    return text


class Machine:
    """Places of the machine that no test may change, not even by a process that it starts."""

    def __init__(self, places: Iterable[Path], marks: Iterable[Path]) -> None:
        self._places = [place for place in places if place.is_dir()]
        self._marks = [str(mark).encode() for mark in marks]
        self._stamps = self._look()

    def changed(self) -> list[Path]:
        """Files made or replaced since the last call that speak of the tests' own folders.

        Somebody else may be at work on the machine meanwhile; theirs are left alone.
        """
        before, self._stamps = self._stamps, self._look()
        return [
            path
            for place, stamp in self._stamps.items()
            if stamp != before.get(place)
            for path in sorted(place.iterdir())
            if path.is_file() and self._is_ours(path)
        ]

    def _look(self) -> dict[Path, int]:
        return {place: place.stat().st_mtime_ns for place in self._places if place.is_dir()}

    def _is_ours(self, path: Path) -> bool:
        with suppress(OSError), path.open("rb") as file:
            content = file.read(FILE_BYTES_LOOKED_AT)
            return any(mark in content for mark in self._marks)
        return False


def own_environment(home: Path, temporary: Path) -> dict[str, str]:
    """Where programs keep what is theirs, for the processes that tests start."""
    folders = {"HOME": home, "TMPDIR": temporary, "XDG_CACHE_HOME": ROOT / "build" / "test-cache"}
    for kind in ("CONFIG", "DATA", "STATE"):
        folders[f"XDG_{kind}_HOME"] = home / kind.lower()
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {name: str(folder) for name, folder in folders.items()}
