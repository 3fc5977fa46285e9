"""A folder for the VM: the board's half of the protocol, its device scripts and the vectors."""

import shutil
from pathlib import Path

from hardware import cross

ROOT = Path(__file__).resolve().parent.parent.parent
DEVICE = ("tests/device/protocol_vectors.py", "tests/device/protocol_heap.py")
SCRIPTS = (*DEVICE, "tests/protocol/encoding.py")


def shipped(folder: Path) -> Path:
    """Fill folder with what boards get, as .mpy, and scripts that find its constants inlined."""
    files = [path for path in cross.board_files() if path.parts[0] == "protocol"]
    cross.compile_files(files, folder, "x64")
    for name in SCRIPTS:
        _write(folder / name, cross.leaner().client((ROOT / name).read_text(encoding="utf-8")))
    return _with_vectors(folder)


def sources(folder: Path) -> Path:
    """Fill folder with the sources as they are."""
    for path in cross.board_files():
        if path.parts[0] == "protocol":
            _write(folder / path, (ROOT / path).read_text(encoding="utf-8"))
    for name in SCRIPTS:
        _write(folder / name, (ROOT / name).read_text(encoding="utf-8"))
    return _with_vectors(folder)


def _with_vectors(folder: Path) -> Path:
    shutil.copytree(ROOT / "tests" / "vectors", folder / "tests" / "vectors")
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
