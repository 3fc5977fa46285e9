"""Put the firmware into a board's slot a: only what differs, all of it checked by its hash."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hardware import romfs, slices
from hardware.bundle import ENTRY
from hardware.payload import Payload
from hardware.session import Session

SLOT = "a"
IMAGE_PART = 0.9  # of the time that an installation in place takes
Progress = Callable[[float], None]
START_HERE = """
import esp32
nvs = esp32.NVS('osn')
try:
 nvs.erase_key('slot')
 nvs.commit()
except OSError:
 pass
"""
"""Without this record boot.py runs slot a; an update over the link may have left it at b."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What an installation carried, and whether the board runs the code in place."""

    carried_bytes: int
    in_place: bool


def install(
    opened: Session,
    wanted: Payload,
    board: Mapping[str, object],
    progress: Progress = lambda part: None,
    slot: str = SLOT,
) -> Installed:
    """Bring the board to what is wanted, its code in place where its MicroPython can do so.

    What is there already is told by its hash, so that an interrupted run goes on where it
    stopped. The root files, which start the slot, come last; strangers in the slot are removed.
    """
    carried = 0
    room_bytes = slices.room_bytes(opened)
    image = romfs.image(wanted.slot, ENTRY) if room_bytes else b""
    in_place = 0 < len(image) <= room_bytes
    if in_place:
        carried = slices.put(opened, slot, image, lambda part: progress(part * IMAGE_PART))
    elif room_bytes:
        slices.forget(opened, slot)
    base = _working_folder(opened)
    files = {} if in_place else {f"/{slot}/{name}": wanted.slot[name] for name in wanted.slot}
    done = IMAGE_PART if in_place else 0.0
    carried += _put_files(
        opened, base, slot, files, _root_files(wanted, board),
        lambda part: progress(done + part * (1 - done)),
    )  # fmt: skip
    opened.run(START_HERE)
    progress(1.0)
    return Installed(carried, in_place)


def _root_files(wanted: Payload, board: Mapping[str, object]) -> dict[str, bytes]:
    files = {f"/{name}": content for name, content in wanted.root.items()}
    files["/board.json"] = json.dumps(board, sort_keys=True, separators=(",", ":")).encode()
    return files


def _put_files(
    opened: Session,
    base: str,
    slot: str,
    files: Mapping[str, bytes],
    last: Mapping[str, bytes],
    progress: Progress,
) -> int:
    """Bring the slot's folder and the root's files to these; returns the bytes carried."""
    wanted_files = {base + path: content for path, content in {**files, **last}.items()}
    present = opened.files(f"{base}/{slot}") + [
        path for path in (base + name for name in last) if path in opened.files(base or "/")
    ]
    for stranger in set(present) - set(wanted_files):
        opened.remove(stranger)
    digests = opened.digests([path for path in present if path in wanted_files])
    missing = {
        path: content
        for path, content in wanted_files.items()
        if digests.get(path) != hashlib.sha256(content).hexdigest()
    }
    total = sum(map(len, missing.values()))
    carried = 0
    for path, content in missing.items():
        start = carried

        def report(part: float, start: int = start, size: int = len(content)) -> None:
            progress((start + part * size) / total)

        opened.put(path, content, report)
        carried += len(content)
    return carried


def _working_folder(opened: Session) -> str:
    """The flash's root as the board names it: empty for "/"."""
    folder = str(opened.value("__import__('os').getcwd()"))
    return folder.rstrip("/")
