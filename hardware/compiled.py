"""Compiled firmware, kept between runs: making it takes a quarter of a minute."""

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from hardware.images import cache_folder

KEPT_MAX = 24
ROOMS = ("firmware", "protocol", "hardware")

Files = Mapping[str, bytes]


def key(root: Path, *facts: str) -> str:
    """SHA-256 over all sources that can change what is compiled, and over other facts."""
    total = hashlib.sha256("\0".join(facts).encode())
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            content = path.read_bytes()
            total.update(f"\0{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
            total.update(content)
    return total.hexdigest()


class CompiledCache:
    """Files by key, with their hash; what is damaged or cannot be kept is made anew."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "firmware"

    def find(self, name: str) -> dict[str, bytes] | None:
        """The files that were kept, or None."""
        path = self.folder / f"{name}.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            files = {at: base64.b64decode(text) for at, text in document["files"].items()}
            if document["sha256"] != _digest(files):
                return None
            os.utime(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return files

    def keep(self, name: str, files: Files) -> None:
        """Keep files, and forget those that were not asked for the longest."""
        document = {
            "sha256": _digest(files),
            "files": {at: base64.b64encode(content).decode() for at, content in files.items()},
        }
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = self.folder / f"{name}.{os.getpid()}.part"
            partial.write_text(json.dumps(document), encoding="utf-8")
            partial.replace(self.folder / f"{name}.json")
            kept = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in kept[:-KEPT_MAX]:
                path.unlink(missing_ok=True)


def _digest(files: Files) -> str:
    total = hashlib.sha256()
    for at in sorted(files):
        total.update(f"{at}\0{len(files[at])}\0".encode())
        total.update(files[at])
    return total.hexdigest()
