"""MicroPython images: which chip they are for, their versions, and a cache that works offline.

Layout of an application image (ESP-IDF, esp_image_header_t): magic 0xE9, segment count, ...,
chip id u16 at offset 12. Boards are delivered with one file that holds boot loader, partition table
and application; it starts with the boot loader's image, which has the same header.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hardware.faults import BenchError, Exit

IMAGE_MAGIC = 0xE9
CHIP_IDS: Mapping[int, str] = {0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 13: "esp32c6"}
FIRST_BYTE_AT: Mapping[str, int] = {"esp32": 0x1000, "esp32s3": 0x0, "esp32c3": 0x0}
ARCHITECTURES: Mapping[str, str] = {
    "esp32": "xtensawin",
    "esp32s3": "xtensawin",
    "esp32c3": "rv32imc",
}
IMAGE_MAX_BYTES = 16 * 1024 * 1024
OLDEST_VERSION = (1, 25)


@dataclass(frozen=True, slots=True)
class Image:
    """An image file: its chip, MicroPython version (None when it does not tell), and hash."""

    path: Path
    chip: str
    version: str | None
    sha256: str
    size_bytes: int

    @property
    def offset(self) -> int:
        """Flash address at which the file is written."""
        return FIRST_BYTE_AT[self.chip]


def _wrong_image(path: Path, why: str) -> BenchError:
    return BenchError(
        Exit.WRONG_IMAGE,
        f"{path} is not usable: {why}",
        "Take the .bin of the stock MicroPython build for your chip "
        "(ESP32_GENERIC, ESP32_GENERIC_S3, ESP32_GENERIC_C3), version 1.25 or newer",
    )


def read_image(path: Path) -> Image:
    """Check an image file and say what it is. Raises BenchError with what is wrong."""
    try:
        size_bytes = path.stat().st_size
        if size_bytes > IMAGE_MAX_BYTES:
            raise _wrong_image(path, f"{size_bytes} bytes are more than any image has")
        content = path.read_bytes()
    except OSError as fault:
        raise _wrong_image(path, fault.strerror or "it cannot be read") from fault
    if len(content) < 32 or content[0] != IMAGE_MAGIC:
        raise _wrong_image(path, "it does not begin like an ESP32 image (0xE9)")
    chip_id = int.from_bytes(content[12:14], "little")
    chip = CHIP_IDS.get(chip_id)
    if chip is None or chip not in FIRST_BYTE_AT:
        raise _wrong_image(
            path, f"it is for {chip or f'chip number {chip_id}'}, which no board uses"
        )
    version = micropython_version(content)
    if version and _numbers(version) < OLDEST_VERSION:
        raise _wrong_image(path, f"it holds MicroPython {version}, which is too old")
    digest = hashlib.sha256(content).hexdigest()
    return Image(path, chip, version, digest, size_bytes)


def micropython_version(content: bytes) -> str | None:
    """The version that the image's banner names, such as "1.28.0"."""
    found = re.search(rb"MicroPython v(\d+\.\d+(?:\.\d+)?)", content) or re.search(
        rb"\x00v(1\.\d+\.\d+)(?:-[a-z0-9.]+)? on 20\d\d-\d\d-\d\d", content
    )
    return found.group(1).decode() if found else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def cache_folder() -> Path:
    """Where this program keeps what it can make or fetch again."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "opencities-osn"


class ImageCache:
    """Images by name, kept with their hashes, so that a bench without Internet has them."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "images"
        self._index = self.folder / "index.json"

    def keep(self, path: Path) -> Image:
        """Copy an image into the cache and return it as kept."""
        image = read_image(path)
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / path.name
        if not target.exists() or not path.samefile(target):
            partial = target.with_suffix(".partial")
            partial.write_bytes(path.read_bytes())
            partial.replace(target)
        kept = Image(target, image.chip, image.version, image.sha256, image.size_bytes)
        entries = self._entries()
        entries[path.name] = {**asdict(kept), "path": str(target)}
        partial_index = self._index.with_suffix(".partial")
        partial_index.write_text(json.dumps(entries, indent=1, sort_keys=True), encoding="utf-8")
        partial_index.replace(self._index)
        return kept

    def find(self, name: str) -> Image:
        """An image by file path or by cached name; the cached copy's hash is checked.

        Raises BenchError when there is none, or when it changed since it was kept.
        """
        path = Path(name)
        if path.exists():
            return self.keep(path)
        entry = self._entries().get(path.name)
        if entry is None:
            known = ", ".join(sorted(self._entries())) or "none"
            raise _wrong_image(path, f"there is no such file, and the cache has: {known}")
        image = read_image(self.folder / path.name)
        if image.sha256 != entry["sha256"]:
            raise _wrong_image(image.path, "it changed since it was kept in the cache")
        return image

    def _entries(self) -> dict[str, dict[str, object]]:
        try:
            entries = json.loads(self._index.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}
