"""Record a terminal: a bare board becomes a node, with the real commands on a simulated board.

python -m docs.recording

Writes docs/pictures/technician.svg. The board is simulator.pty_board: real esptool writes to a
model of the ROM loader (the image is a stand-in with the right header), the firmware runs on a VM.
"""

import io
import os
import pty
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hardware import boardfile
from simulator.devices.base import Steady
from simulator.pty_board import PtyBoard
from simulator.wiring import Wiring

PICTURE = Path(__file__).resolve().parent / "pictures" / "technician.svg"
IMAGE = "ESP32_GENERIC-v1.28.0.bin"
IMAGE_BYTES = 1_700_000
PORT = "ttyUSB0"
WIDTH = 100
BENCH = 'join_address = "https://sensors.example.org/join"\n'
AIR: dict[str, float | None] = {
    "pm10": 8.0,
    "pm2_5": 5.0,
    "temperature": 20.0,
    "humidity": 50.0,
    "pressure": 101_325.0,
}
COMMANDS = (
    f"osn-board flash --board classic --image {IMAGE} --port ./{PORT}",
    f"osn-board list --port ./{PORT}",
    f'osn-board provision --board classic --bench bench.toml --name "Carrer Gran 7" '
    f"--latitude 41.4036 --longitude 2.1744 --port ./{PORT}",
    f"osn-board selftest --board classic --bench bench.toml --port ./{PORT}",
)


def stand_in() -> bytes:
    """A file that is an ESP32 image by its header, and names a MicroPython."""
    content = bytearray(IMAGE_BYTES)
    content[:4] = b"\xe9\x03\x02\x20"
    content[2000:2019] = b"MicroPython v1.28.0"
    return bytes(content)


def run(command: str, folder: Path) -> str:
    """Run a command of osn-board in a terminal as wide as the picture; what it shows, with colours.

    Its moving bars go to standard error; of them the last state is shown.
    """
    words = [sys.executable, "-m", "hardware.cli", *shlex.split(command)[1:]]
    near, far = pty.openpty()
    variables = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    root = str(Path(__file__).resolve().parent.parent)
    variables["PYTHONPATH"] = root
    with subprocess.Popen(
        words, cwd=folder, stdout=far, stderr=subprocess.PIPE, stdin=far, env=variables
    ) as process:
        os.close(far)
        shown = bytearray()
        while True:
            try:
                got = os.read(near, 4096)
            except OSError:
                break
            shown += got
        assert process.stderr is not None
        bars = process.stderr.read().decode()
    os.close(near)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{bars}{shown.decode()}")
    return bars + shown.decode().replace("\r\n", "\n")


def main() -> None:
    """Record all commands into one picture."""
    board = boardfile.load("classic")
    wired = board.board_json()
    with tempfile.TemporaryDirectory() as name, io.StringIO() as nowhere:
        folder = Path(name)
        (folder / IMAGE).write_bytes(stand_in())
        (folder / "bench.toml").write_text(BENCH, encoding="utf-8")
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        with PtyBoard(
            folder / "board",
            board.chip,
            wired,
            lambda clock: Wiring(wired, Steady(**AIR), 1, clock),
        ) as simulated:
            (folder / PORT).symlink_to(simulated.path)
            for command in COMMANDS:
                console.print(Text(f"$ {command}", style="bold"))
                console.print(Text.from_ansi(run(command, folder)))
        console.save_svg(str(PICTURE), title="osn-board, on a simulated board")
    print(PICTURE)


if __name__ == "__main__":
    main()
