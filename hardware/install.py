"""Put the firmware into a board's A folder: only what differs, every file checked by its hash."""

import hashlib
import json
from collections.abc import Callable, Mapping

from hardware.payload import Payload
from hardware.session import Session

SLOT = "a"
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
"""Without this record boot.py runs folder a; an update over the link may have left it at b."""


def install(
    opened: Session,
    wanted: Payload,
    board: Mapping[str, object],
    progress: Progress = lambda part: None,
    slot: str = SLOT,
) -> int:
    """Bring the board's files to what is wanted; returns the bytes that had to be carried.

    What is there already is told by its hash, so that an interrupted run goes on where it
    stopped. The root files, which start the slot, come last; strangers in the slot are removed.
    """
    files = {f"/{slot}/{name}": content for name, content in wanted.slot.items()}
    last = {f"/{name}": content for name, content in wanted.root.items()}
    last["/board.json"] = json.dumps(board, sort_keys=True, separators=(",", ":")).encode()
    base = _working_folder(opened)
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
    opened.run(START_HERE)
    progress(1.0)
    return carried


def _working_folder(opened: Session) -> str:
    """The flash's root as the board names it: empty for "/"."""
    folder = str(opened.value("__import__('os').getcwd()"))
    return folder.rstrip("/")
