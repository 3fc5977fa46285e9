"""A folder that stands in for a board's flash file system."""

from pathlib import Path
from typing import Any

BLOCK_BYTES = 4096
FLASH_BLOCKS = 512


class FolderFiles:
    """The firmware's file system over a folder of this machine, with the size of a flash chip.

    Every path is taken below the folder. Errors are OSError, as on a board.
    """

    def __init__(self, root: Path, blocks: int = FLASH_BLOCKS) -> None:
        self.root = root
        self.blocks = blocks
        root.mkdir(parents=True, exist_ok=True)

    def listdir(self, path: str = "/") -> list[str]:
        return sorted(entry.name for entry in self._path(path).iterdir())

    def open(self, path: str, mode: str = "r") -> Any:
        if "b" in mode:
            return self._path(path).open(mode, buffering=0)
        return self._path(path).open(mode, encoding="utf-8")

    def remove(self, path: str) -> None:
        self._path(path).unlink()

    def rename(self, old: str, new: str) -> None:
        self._path(old).replace(self._path(new))

    def mkdir(self, path: str) -> None:
        self._path(path).mkdir()

    def rmdir(self, path: str) -> None:
        self._path(path).rmdir()

    def stat(self, path: str) -> tuple[int, ...]:
        status = self._path(path).stat()
        return tuple(int(field) for field in tuple(status)[:10])

    def statvfs(self, path: str = "/") -> tuple[int, ...]:
        used = sum(
            -(-entry.stat().st_size // BLOCK_BYTES) + 1
            for entry in self.root.rglob("*")
            if entry.is_file()
        )
        free = max(0, self.blocks - used)
        return (BLOCK_BYTES, BLOCK_BYTES, self.blocks, free, free, 0, 0, 0, 0, 255)

    def sync(self) -> None:
        """Nothing to do: files are written through."""

    def _path(self, path: str) -> Path:
        found = (self.root / path.lstrip("/")).resolve()
        if not found.is_relative_to(self.root.resolve()):
            raise PermissionError(13, "outside of the board's flash", path)
        return found
