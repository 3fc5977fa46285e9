"""One board with its console, for testers."""

import asyncio
import sys
from pathlib import Path

from hardware import boardfile
from simulator.demo.boards import Identity, Spec, VmBoard
from simulator.world import Place

CONSOLE_EVERY_S = 0.2


async def run_node(
    board: str, host: str, port: int, folder: Path, seed: int, seconds: float | None
) -> None:
    """Run until cancelled, or for so many seconds; console text goes to standard output.

    Raises ValueError for an unknown board, FileNotFoundError without a VM.
    """
    if board not in boardfile.names():
        raise ValueError(f"no board {board!r}; there are: {', '.join(boardfile.names())}")
    spec = Spec(board, f"simulated {board}", Place(52.3702, 4.8952, 2.0))
    identity = Identity.of(seed, spec)
    single = VmBoard(spec, identity, folder, seed, port, host)
    print(identity.record(spec), flush=True)
    console = folder / "console.log"
    shown = _size(console)
    loop = asyncio.get_running_loop()
    end_s = float("inf") if seconds is None else loop.time() + seconds
    single.power_on()
    try:
        while loop.time() < end_s:
            await asyncio.sleep(CONSOLE_EVERY_S)
            shown = _show(console, shown)
    finally:
        single.power_off()


def _size(console: Path) -> int:
    return console.stat().st_size if console.exists() else 0


def _show(console: Path, shown: int) -> int:
    """Print what the console has grown by."""
    size = _size(console)
    if size < shown:
        shown = 0
    if size > shown:
        with console.open("rb") as file:
            file.seek(shown)
            sys.stdout.write(file.read(size - shown).decode("utf-8", "replace"))
            sys.stdout.flush()
    return size
