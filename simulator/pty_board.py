"""A bare ESP32 board on a USB port, without USB and without ESP32.

Behind a pseudo-terminal are, in turn, the model of the ROM loader and, once an image is in flash, a
real MicroPython VM whose prompt is on the line: Ctrl-C interrupts, Ctrl-D resets, `main.py` runs.
The VM's hardware is played by the same chip and device models as elsewhere in the simulator.
"""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from simulator import bridge, vm
from simulator.buses import Buses
from simulator.chip import Chip, Ended
from simulator.hosted import HARD_RESET, PWRON_RESET
from simulator.rom_loader import RomLoader
from simulator.serial_line import SerialLine
from simulator.vm_process import VmProcess

CTRL_A, CTRL_B, CTRL_C, CTRL_D = 1, 2, 3, 4
BOOT_SCRIPT = Path(__file__).parent / "shims" / "board_boot.py"
INTERRUPT_WAIT_S = 0.15
START_WAIT_S = 3.0
SOFT_RESET_CAUSE = 5


class PtyBoard:
    """A board that a technician plugs in; `path` is its port.

    make_buses builds the sensors, given the clock (ms since power-on). baud paces the line.
    A board whose flash holds no image answers as the ROM loader does, as with BOOT held.
    """

    def __init__(
        self,
        folder: Path,
        chip: str,
        board: dict[str, Any],
        make_buses: Callable[[Callable[[], int]], Buses],
        unique_id: bytes = bytes.fromhex("a0b1c2d3e4f5"),
        baud: int | None = None,
        flashed: bool = False,
        heap: str = "256K",
    ) -> None:
        self.folder = folder
        self.chip: Chip | None = None
        self.rom = RomLoader(chip, unique_id, booted=self._boot_requested)
        self._board = board
        self._make_buses = make_buses
        self._unique_id = unique_id
        self._heap = heap
        self._line = SerialLine(self._from_computer, baud=baud)
        self.path = self._line.path
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self._vm: _ConsoleVm | None = None
        self._raw_prompt = False
        self._raw_at_reset = False
        self._flashed = flashed
        self._cause = PWRON_RESET
        self._stop = threading.Event()
        self._start_wanted = threading.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "PtyBoard":
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._flashed:
            self._start_wanted.set()
        self._line.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unplug()
        self._thread.join(5)

    @property
    def carried_bytes(self) -> int:
        """Bytes that came from the computer."""
        return self._line.carried_bytes

    @property
    def wire_bytes(self) -> int:
        """Bytes that went over the line, both ways."""
        return self._line.carried_bytes + self._line.sent_bytes

    def unplug_after(self, count: int) -> None:
        """Pull the cable after so many more bytes from the computer."""
        self._line.unplug_after_bytes = self._line.carried_bytes + count

    def unplug(self) -> None:
        """Pull the cable: power and line are gone at once; the flash keeps what it has."""
        self._stop.set()
        self._line.unplug()

    def _boot_requested(self) -> None:
        self._cause = HARD_RESET
        self._start_wanted.set()

    def _from_computer(self, data: bytes) -> bytes:
        if self._vm is None and not self._start_wanted.is_set():
            return self.rom.feed(data)
        self._listens.wait(START_WAIT_S)
        for byte in data:
            if byte in (CTRL_A, CTRL_B):
                self._raw_prompt = byte == CTRL_A
            elif byte == CTRL_D:
                self._raw_at_reset = self._raw_prompt
        os.write(self._master, data)
        if CTRL_C in data:
            self._interrupt_unless_read()
        return b""

    def _interrupt_unless_read(self) -> None:
        """A prompt reads Ctrl-C by itself; running code has to be interrupted."""
        running = self._vm
        deadline_s = time.monotonic() + INTERRUPT_WAIT_S
        while time.monotonic() < deadline_s:
            time.sleep(0.005)
            if not struct.unpack("i", fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4))[0]:
                return
        if running is not None and running is self._vm and self._listens.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.process.pid, signal.SIGINT)

    def _serve(self) -> None:
        try:
            while not self._stop.is_set():
                if self._vm is None and self._start_wanted.is_set():
                    self._start()
                self._serve_once()
        except OSError:
            if not self._line.unplugged:
                raise
        finally:
            if self._vm is not None:
                self._vm.close()
            for end in (self._master, self._slave):
                with contextlib.suppress(OSError):
                    os.close(end)

    def _serve_once(self) -> None:
        running = self._vm
        sources = [self._master] + ([running.requests_fd] if running else [])
        readable, _, _ = select.select(sources, [], [], 0.02)
        if self._master in readable:
            self._line.send(os.read(self._master, 4096))
        if running is None:
            return
        if running.requests_fd in readable:
            self._answer(running)
        status = running.process.poll()
        if status is not None and not readable:
            self._restart(SOFT_RESET_CAUSE if status >= 0 else HARD_RESET)

    def _answer(self, running: "_ConsoleVm") -> None:
        running.receive()
        assert self.chip is not None
        while (request := running.take()) is not None:
            self._listens.set()
            answer = self.chip.handle(*request)
            if isinstance(answer, Ended):
                time.sleep(max(0, answer.duration_ms) / 1000)
                self._restart(answer.cause)
                return
            if isinstance(answer, bytes):
                running.reply(answer)

    def _restart(self, cause: int) -> None:
        assert self._vm is not None
        self._listens.clear()
        self._vm.close()
        self._vm = None
        self._cause = cause
        if cause == SOFT_RESET_CAUSE:
            self._line.send(b"MPY: soft reboot\r\n")
        self._start_wanted.set()

    def _start(self) -> None:
        started_s = time.monotonic()

        def now_ms() -> int:
            return int((time.monotonic() - started_s) * 1000)

        self.chip = Chip(
            self._board, self._make_buses(now_ms), now_ms, self._unique_id,
            stepped=False, cause=self._cause,
        )  # fmt: skip
        stay_at_prompt = self._raw_at_reset and self._cause == SOFT_RESET_CAUSE
        self._vm = _ConsoleVm(self.folder, self._slave, self._heap, stay_at_prompt)
        self._start_wanted.clear()
        if stay_at_prompt:
            self._enter_raw_prompt()

    def _enter_raw_prompt(self) -> None:
        """A board that was reset at the raw prompt comes back to it."""
        seen = self._read_until(b">>> ")
        os.write(self._master, bytes([CTRL_A]))
        seen = self._read_until(b"raw REPL; CTRL-B to exit\r\n>")
        self._line.send(seen[max(0, seen.find(b"raw REPL")) :])

    def _read_until(self, ending: bytes) -> bytes:
        seen = b""
        assert self._vm is not None
        deadline_s = time.monotonic() + START_WAIT_S
        while not seen.endswith(ending) and time.monotonic() < deadline_s:
            readable, _, _ = select.select([self._master, self._vm.requests_fd], [], [], 0.5)
            if self._master in readable:
                seen += os.read(self._master, 4096)
            if self._vm.requests_fd in readable:
                self._answer(self._vm)
        return seen


class _ConsoleVm(VmProcess):
    """A VM whose terminal is the board's serial line."""

    def __init__(self, folder: Path, terminal: int, heap: str, stay_at_prompt: bool) -> None:
        executable = vm.find()
        if executable is None:
            raise FileNotFoundError("no MicroPython VM: set MICROPYTHON, or install micropython")
        self.folder = folder
        flash = folder / "flash"
        flash.mkdir(parents=True, exist_ok=True)
        self.requests_fd = os.open(_fresh_fifo(folder / bridge.UP), os.O_RDWR)
        self._replies_fd = os.open(_fresh_fifo(folder / bridge.DOWN), os.O_RDWR)
        self._pending = bytearray()
        self._console = (folder / "console.log").open("ab")
        variables = {"OSN_NODE": str(folder.resolve()), "OSN_FLASH": str(flash.resolve())}
        if stay_at_prompt:
            variables["OSN_PROMPT"] = "1"
        self.process = subprocess.Popen(
            [str(executable), "-X", f"heapsize={heap}", "-i", str(BOOT_SCRIPT)],
            env=vm.environment((), variables),
            cwd=flash,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            preexec_fn=lambda: _own_terminal(terminal),
        )


def _fresh_fifo(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def _own_terminal(terminal: int) -> None:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
