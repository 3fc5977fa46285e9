"""One board in the terminal: its console is seen, and its prompt answers."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from hardware import boardfile
from simulator import node_terminal

COMMAND = "from simulator.cli import main; main()"


def read_until(terminal: int, words: bytes, timeout_s: float = 240) -> bytes:
    seen = b""
    end_s = time.monotonic() + timeout_s
    while words not in seen and time.monotonic() < end_s:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096)
    return seen


def interrupted(terminal: int) -> bytes:
    """What comes after Ctrl-C; a terminal that is just being set up may swallow it."""
    os.write(terminal, b"\x03")
    return read_until(terminal, b">>> ", 2)


def test_the_prompt_answers_and_the_leave_key_ends_it(tmp_path: Path, vm: object) -> None:
    terminal, far = pty.openpty()
    arguments = ["node", "--board", "classic", "--folder", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], stdin=far, stdout=far, stderr=far
    ) as process:
        try:
            assert b"Ctrl-] to leave" in read_until(terminal, b"Ctrl-] to leave")
            assert b"starting: " in read_until(terminal, b"starts it anew")
            assert b"the firmware runs" in read_until(terminal, b"the firmware runs")
            assert any(b">>> " in interrupted(terminal) for _ in range(15))
            os.write(terminal, b"print(6 * 7 * 1000)\r")
            assert b"42000" in read_until(terminal, b"42000")
            os.write(terminal, b"\x1d")
            assert process.wait(20) == 0
        finally:
            process.kill()
            os.close(terminal)
            os.close(far)


def test_a_board_goes_on_as_the_node_that_it_was(tmp_path: Path) -> None:
    board = boardfile.load("classic")
    first = node_terminal.install(tmp_path, board, {})
    assert node_terminal.install(tmp_path, board, {}) == first
    assert (tmp_path / "record.jsonl").stat().st_mode & 0o777 == 0o600
