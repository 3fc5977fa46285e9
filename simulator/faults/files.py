"""Files of keys and nodes that somebody breaks, and that are put back as they were."""

from collections.abc import Callable
from pathlib import Path

from collector.private_file import write_bytes

PRIVATE = 0o600


def _cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _garble(file: Path) -> None:
    file.write_bytes(b'{"nodes": {"x": [')


def _open_to_all(file: Path) -> None:
    file.chmod(0o644)


WAYS: dict[str, Callable[[Path], object]] = {
    "cut": _cut,
    "garbled": _garble,
    "open": _open_to_all,
    "gone": Path.unlink,
    "unwritable": lambda file: file.with_name(f".{file.name}.lock").unlink(missing_ok=True),
}
"""How a file breaks."""


class BrokenFiles:
    """Breaks one file at a time in one way, and mends it."""

    def __init__(self) -> None:
        self._kept: dict[Path, bytes] = {}

    def is_broken(self, file: Path) -> bool:
        """Whether it was broken and not mended yet."""
        return file in self._kept

    def break_(self, file: Path, way: str) -> None:
        """Nothing, when it is broken already."""
        if file in self._kept:
            return
        self._kept[file] = file.read_bytes()
        WAYS[way](file)
        if way == "unwritable":
            _lock(file).mkdir()

    def mend(self, file: Path) -> None:
        """It is as it was; what could be written meanwhile stays."""
        content = self._kept.pop(file, None)
        if content is None:
            return
        if _lock(file).is_dir():
            _lock(file).rmdir()
        else:
            write_bytes(file, content, PRIVATE)

    def mend_all(self) -> None:
        """All are as they were."""
        for file in list(self._kept):
            self.mend(file)


def _lock(file: Path) -> Path:
    return file.with_name(f".{file.name}.lock")
