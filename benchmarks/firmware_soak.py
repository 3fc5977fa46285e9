"""Runs tests/device/soak.py on the VM, from .mpy files as on a board, over TLS to a real broker."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpremote.romfs import VfsRomWriter

from hardware.cross import ROOT, board_files, compile_files, compile_text
from simulator import vm
from tests.firmware.pier import Pier
from tests.integration.certificates import Authority
from tests.integration.conftest import Mosquitto

DEVICE = ROOT / "tests" / "device"


def compile_for_vm(target: Path) -> None:
    """All board files, umqtt and the soak itself as .mpy for the VM's own architecture."""
    scripts = [DEVICE / f"{name}.py" for name in ("pocket", "soak")]
    compile_files(board_files(), target, "x64", beside=scripts)
    shutil.copytree(vm.LIBRARY / "umqtt", target / "umqtt")
    umqtt = target / "umqtt" / "simple.py"
    compile_text(umqtt.read_text(), "umqtt/simple.py", umqtt.with_suffix(".mpy"), "x64")
    umqtt.unlink()
    (target / "run.py").write_text("import gc\n\ngc.threshold(4096)\nimport soak\n")


def write_image(folder: Path, image: Path) -> None:
    """Write a ROMFS image of a folder, as flash holds it that is mapped into memory."""
    writer = VfsRomWriter()

    def add(below: Path) -> None:
        for path in sorted(below.iterdir()):
            if path.is_dir():
                writer.opendir(path.name)
                add(path)
                writer.closedir()
            else:
                writer.mkfile(path.name, path.read_bytes())

    add(folder)
    image.write_bytes(writer.finalise())


def soak(
    heap: str,
    hours: int,
    every_hours: int,
    *options: str,
    in_place: bool = False,
    timeout_s: float = 1800,
) -> list[dict[str, Any]]:
    """The heap in use every so many virtual hours.

    in_place: code is run where it lies, outside of the heap, else loaded into it. Raises
    RuntimeError when the node ends early.
    """
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
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
    """Script and first arguments that run a module of home/mpy in place."""
    write_image(home / "mpy", home / "image")
    return [DEVICE / "in_place.py", home / "image", module]


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
