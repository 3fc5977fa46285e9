"""Scripts on a 32-bit MicroPython, the WebAssembly port; fetch it by running this module.

`python -m tests.protocol.wasm` installs the package into build/ with npm.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "build" / "wasm"
PACKAGE = "@micropython/micropython-webassembly-pyscript"
VERSION = "1.27.0"
RUNNER = ROOT / "tests" / "device" / "wasm.mjs"

Run = Callable[[Path, str], subprocess.CompletedProcess[str]]


def missing() -> str:
    """What has to be there to run scripts and is not; empty when all is."""
    if shutil.which("node") is None:
        return "no node on this machine: the 32-bit VM needs it"
    if not (FOLDER / "node_modules" / PACKAGE).exists():
        return "no 32-bit VM: fetch it with python -m tests.protocol.wasm"
    return ""


def install() -> None:
    """Fetch the package; raises CalledProcessError with npm's words."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    package = f"{PACKAGE}@{VERSION}"
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent", package]
    subprocess.run(command, cwd=FOLDER, check=True)


def run(stage: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a stage folder, with the vectors' folder as its argument."""
    node = shutil.which("node")
    assert node is not None
    return subprocess.run(
        [node, str(RUNNER), str(FOLDER / "node_modules" / PACKAGE), str(stage), script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


if __name__ == "__main__":
    install()
