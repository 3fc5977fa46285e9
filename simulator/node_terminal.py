"""One simulated board in the terminal: its console, and its prompt to type into."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import serial

from hardware import boardfile, records
from hardware.cross import ROOT, files_for
from hardware.provision import new_identity
from hardware.records import append, known
from simulator.provision import identity_of, into_folder
from simulator.pty_board import PtyBoard
from simulator.wiring import Wiring
from simulator.world import Place, PlaceStimulus, World

LEAVE = 0x1D
HEAP = "2M"  # the firmware is compiled on the VM, from source
AT_ROOT = ("boot.py", "main.py")
STARTING = """starting: the firmware is compiled as it loads, which takes some seconds
keys go to the board: Ctrl-C stops the firmware and gives the prompt, Ctrl-D there starts it anew
"""
PROMPT_MS = 3_600_000
RUNS = "the firmware runs; it prints only what is out of the ordinary\n"


def install(folder: Path, board: boardfile.BoardFile, settings: dict[str, int | str]) -> str:
    """Put firmware, board file, identity and settings into a node's folder; returns the address.

    The firmware is installed as source, so that it can be looked at and changed there. What is in
    the folder already of identity and flash stays.
    """
    flash = folder / "flash"
    for source in files_for(board.drivers()):
        root = source.parent.name == "firmware" and source.name in AT_ROOT
        target = flash / (source.name if root else Path("a") / source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / source).read_bytes())
    record = folder / "record.jsonl"
    if not record.exists():
        who = new_identity(set())
        append(record, records.record(who, f"simulated {board.name}", board.name, None, False))
    entry = next(known(record))
    on_board = identity_of(
        int(entry["node"], 16), entry["uuid"], bytes.fromhex(entry["key"]), entry["boot"]
    )
    into_folder(folder, on_board, board.board_json(), settings)
    (flash / "board.json").write_bytes((folder / "board.json").read_bytes())
    return str(entry["node"])


def run(
    folder: Path, board: boardfile.BoardFile, seed: int = 1, seconds: float | None = None
) -> None:
    """Run the board until Ctrl-] is typed, or for so many seconds; its console is stdout."""
    wired = board.board_json()
    place = Place()
    origin_ms = int(time.time() * 1000)

    def buses(clock: Any) -> Wiring:
        return Wiring(wired, PlaceStimulus(World(seed), place, origin_ms), seed, clock)

    with PtyBoard(folder, board.chip, wired, buses, flashed=True, heap=HEAP) as powered:
        line = serial.Serial(powered.path, timeout=0)
        before = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
        try:
            if before is not None:
                tty.setraw(sys.stdin)
            _tell(STARTING)
            end_s = None if seconds is None else time.monotonic() + seconds
            _relay(line, end_s, lambda: _runs(powered))
        finally:
            if before is not None:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            line.close()


def _runs(powered: PtyBoard) -> bool:
    """Whether the firmware has come as far as its watchdog; that of the prompt has an hour."""
    watchdog_ms = powered.chip.watchdog_ms if powered.chip is not None else None
    return watchdog_ms is not None and watchdog_ms < PROMPT_MS


def _tell(text: str) -> None:
    """Say something that the board does not, in a terminal that may be raw."""
    os.write(sys.stdout.fileno(), text.replace("\n", "\r\n").encode())


def _relay(line: serial.Serial, end_s: float | None, runs: Callable[[], bool]) -> None:
    told = False
    sources = [line.fileno(), sys.stdin.fileno()]
    while end_s is None or time.monotonic() < end_s:
        readable, _, _ = select.select(sources, [], [], 0.1)
        if not told and runs():
            told = True
            _tell(RUNS)
        if line.fileno() in readable:
            shown = os.read(line.fileno(), 4096).replace(b"\r\n", b"\n")
            os.write(sys.stdout.fileno(), shown.replace(b"\n", b"\r\n"))
        if sys.stdin.fileno() in readable:
            typed = os.read(sys.stdin.fileno(), 256)
            if not typed:
                sources.remove(sys.stdin.fileno())
            if LEAVE in typed:
                return
            line.write(typed)
