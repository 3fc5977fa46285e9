"""Runs tests/device/soak.py on the VM, from .mpy files as on a board, over TLS to a real broker."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from struct import pack
from typing import Any

from hardware import boardfile, romfs
from hardware.bundle import ENTRY
from hardware.cross import ROOT, compile_files, compile_text, files_for
from hardware.lean import Outside, lean
from hardware.payload import at_root
from simulator import vm
from tests.firmware.pier import Pier
from tests.integration.certificates import Authority
from tests.integration.conftest import Mosquitto

DEVICE = ROOT / "tests" / "device"
MOSQUITTO_PATH = "/usr/sbin:/usr/bin:/usr/local/sbin"
SLICE_BYTES = 131_072  # as in hardware/images


def compile_for_vm(target: Path) -> None:
    """The street board's files, umqtt and the soak as .mpy for the VM's own architecture."""
    scripts = [DEVICE / f"{name}.py" for name in ("pocket", "soak")]
    street = files_for(boardfile.load("street").drivers())
    compile_files(street, target, "x64", beside=scripts)
    shutil.copytree(vm.LIBRARY / "umqtt", target / "umqtt")
    umqtt = target / "umqtt" / "simple.py"
    compile_text(umqtt.read_text(), "umqtt.simple", umqtt.with_suffix(".mpy"), "x64")
    umqtt.unlink()
    (target / "run.py").write_text("import gc\n\ngc.threshold(4096)\nimport soak\n")


def soak(
    heap: str,
    hours: int,
    every_hours: int,
    *options: str,
    in_place: bool = False,
    timeout_s: float = 1800,
) -> list[dict[str, Any]]:
    """The heap in use every so many virtual hours.

    in_place: boot.py mounts a slice of mapped flash, as on a board; else code is loaded. Raises
    RuntimeError when the node ends early.
    """
    program = shutil.which("mosquitto", path=MOSQUITTO_PATH)
    if program is None:
        raise RuntimeError("mosquitto is not installed: apt install mosquitto")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        compile_for_vm(home / "mpy")
        flash = home / "flash"
        flash.mkdir()
        authority = Authority(home)
        (flash / "ca.der").write_bytes(authority.der)
        broker = Mosquitto(program, home, authority.mosquitto())
        broker.start()
        settings = {"broker_host": "localhost", "broker_port": broker.port, "broker_tls": 1}
        try:
            with Pier(broker.port, tls=authority.context):
                start = start_in_place(home) if in_place else [home / "mpy" / "run.py"]
                arguments = [json.dumps(settings), str(hours), str(every_hours), *options]
                lines = run_on_vm(home / "mpy", flash, [*start, *arguments], heap, timeout_s)
                if lines[-1]["hour"] < hours - every_hours:
                    raise RuntimeError(f"the node ended early: {lines[-1]}")
                return lines
        finally:
            broker.kill()


def start_in_place(home: Path, module: str = "soak") -> list[str | Path]:
    """Script and first arguments that boot as a board does, with home/mpy in slice a.

    Raises ValueError when the slice is too small.
    """
    files = {
        path.relative_to(home / "mpy").as_posix(): path.read_bytes()
        for path in (home / "mpy").rglob("*.*")
    }
    image = romfs.image(files, ENTRY)
    if len(image) > SLICE_BYTES:
        raise ValueError(f"{len(image)} bytes do not fit into a slice of {SLICE_BYTES}")
    flash = home / "romfs.bin"
    flash.write_bytes(image.ljust(2 * SLICE_BYTES, b"\xff"))
    note = pack("<I", len(image)) + hashlib.sha256(image).digest()
    boot = home / "boot.py"
    boot.write_bytes(at_root("boot.py"))
    mapped = home / "mapped_boot.py"
    text = (DEVICE / mapped.name).read_text(encoding="utf-8")
    mapped.write_text(lean({mapped.name: text}, Outside()).sources[mapped.name], encoding="utf-8")
    return [DEVICE / "in_place.py", mapped, flash, note.hex(), boot, module]


def run_on_vm(
    mpy: Path, flash: Path, arguments: Sequence[str | Path], heap: str, timeout_s: float
) -> list[dict[str, Any]]:
    """Run a script with its arguments on the VM; its JSON lines."""
    executable = vm.find()
    if executable is None:
        raise RuntimeError("no MicroPython VM: set MICROPYTHON, or install the package micropython")
    done = subprocess.run(
        vm.command(executable, *map(str, arguments), heap=heap),
        env={"MICROPYPATH": f"{mpy}:.frozen", "PATH": "/usr/bin"},
        cwd=flash,
        capture_output=True,
        timeout=timeout_s,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"the node ended early:\n{done.stdout[-800:]}\n{done.stderr[-800:]}")
    return lines
