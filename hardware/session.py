"""A conversation with the MicroPython prompt of one board, over mpremote's transport."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mpremote import transport_serial
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from hardware import faults
from hardware.faults import BenchError, Exit

BAUD = 115_200
CHUNK_BYTES = 512
MPY_VERSION = 6
ATTEMPT_S = 1.0
BUSY_S = 1.0
REBOOT_S = 1.0
LISTING = """
import os
def walk(path):
 try:
  entries = os.ilistdir(path)
 except OSError:
  return
 for entry in entries:
  full = path.rstrip('/') + '/' + entry[0]
  if entry[1] & 0x4000:
   walk(full)
  else:
   print(full)
"""
MAKE_FOLDERS = """
def folders(path):
 made = ''
 for part in path.split('/')[:-1]:
  if part:
   made += '/' + part if path[0] == '/' or made else part
   try:
    os.mkdir(made)
   except OSError:
    pass
"""
HASHES = """
import hashlib, binascii
def digest(path):
 h = hashlib.sha256()
 b = bytearray(512)
 v = memoryview(b)
 with open(path, 'rb') as f:
  while True:
   n = f.readinto(b)
   if not n:
    break
   h.update(v[:n])
 return binascii.hexlify(h.digest()).decode()
"""

Progress = Callable[[float], None]
T = TypeVar("T")

# mpremote prints what it read when no prompt came; our output is for people, or JSON.
vars(transport_serial)["print"] = lambda *values, **options: None


class Session:
    """An open raw REPL. Paths are on the board; root is put before relative ones.

    Every method raises BenchError: the board went silent, was unplugged, or refused.
    """

    def __init__(self, transport: SerialTransport, port: str) -> None:
        self._transport = transport
        self.port = port

    def run(self, code: str, timeout_s: float = 10) -> str:
        """Execute code and return what it prints; it may be silent for timeout_s."""
        with self._reported():
            output, error = self._transport.exec_raw(code, timeout=timeout_s)
            if error:
                raise TransportExecError(output, error.decode("utf-8", "replace"))
            text: str = output.decode("utf-8", "replace")
            return text

    def value(self, expression: str) -> Any:
        """Evaluate an expression and return its value (literals only)."""
        with self._reported():
            return self._transport.eval(expression)

    def files(self, folder: str) -> list[str]:
        """All files below a folder; none when it is not there."""
        return self.run(f"{LISTING}\nwalk({folder!r})").split()

    def digests(self, paths: list[str]) -> dict[str, str]:
        """SHA-256 (hex) of the named files."""
        self.run(HASHES)
        return {path: self.run(f"print(digest({path!r}))").strip() for path in paths}

    def put(self, path: str, content: bytes, progress: Progress = lambda part: None) -> None:
        """Write a file by way of a partial one, and check what was written by its hash."""
        partial = f"{path}.part"
        self.run(f"import os\n{MAKE_FOLDERS}\nfolders({path!r})")
        with self._reported():
            self._transport.fs_writefile(
                partial,
                content,
                chunk_size=CHUNK_BYTES,
                progress_callback=lambda done, of: progress(done / max(of, 1)),
            )
        wanted = hashlib.sha256(content).hexdigest()
        if self.digests([partial])[partial] != wanted:
            raise BenchError(
                Exit.FAILED,
                f"{path} was damaged on its way to {self.port}",
                "Run the command again with a shorter cable",
            )
        self.run(
            "import os\n"
            f"try:\n os.remove({path!r})\nexcept OSError:\n pass\n"
            f"os.rename({partial!r}, {path!r})"
        )

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is fine."""
        self.run(f"import os\ntry:\n os.remove({path!r})\nexcept OSError:\n pass")

    def soft_reset(self) -> None:
        """Start MicroPython anew and stay at the prompt (main.py does not run)."""
        with self._reported():
            self._transport.enter_raw_repl(soft_reset=True)

    def reset(self) -> None:
        """Reset the chip, as if the power had gone and come back; this session is over."""
        with self._reported():
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")

    def leave(self, run_main: bool) -> None:
        """Close; with run_main the board starts its firmware."""
        with contextlib.suppress(OSError, TransportError):
            self._transport.exit_raw_repl()
            if run_main:
                self._transport.serial.write(b"\x04")
                self._transport.read_until(1, b"soft reboot", timeout_overall=REBOOT_S)
        _close(self._transport)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except TransportExecError as fault:
            last = fault.error_output.strip().splitlines()[-1:]
            raise BenchError(
                Exit.FAILED,
                f"The board on {self.port} refused: {' '.join(last)}",
                "If it says that memory or flash is full, wipe it with `osn-board wipe`",
            ) from fault
        except TransportError as fault:
            raise faults.board_silent(self.port) from fault
        except (OSError, IndexError, EOFError) as fault:
            raise faults.connection_lost(self.port) from fault


def check_port(port: str) -> None:
    """Raises BenchError for a port that is not there, is none, or may not be opened."""
    if not Path(port).exists():
        raise faults.no_port(port)
    if not Path(port).is_char_device():
        raise faults.not_a_port(port)
    if not os.access(port, os.R_OK | os.W_OK):
        raise faults.no_permission(port)


def _is_terminal(port: str) -> bool:
    """Whether a device is a serial line; one that cannot be opened now may be."""
    try:
        descriptor = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)


def open_port(port: str, baud: int = BAUD) -> SerialTransport:
    """The serial transport. Raises BenchError in a technician's words."""
    return patiently(port, lambda: SerialTransport(port, baudrate=baud))


def patiently(port: str, open_it: Callable[[], T]) -> T:
    """What opens a port; one that is in use is tried again for a second.

    For a program that ends lets its port go late. Raises BenchError.
    """
    deadline_s = time.monotonic() + BUSY_S
    while True:
        check_port(port)
        try:
            return open_it()
        except (OSError, TransportError) as fault:
            if not _is_terminal(port):
                raise faults.not_a_port(port) from fault
            if time.monotonic() > deadline_s:
                raise faults.port_busy(port) from fault
            time.sleep(0.05)


def _at_prompt(port: str, timeout_s: float) -> SerialTransport:
    """Open the port and get to the raw prompt; a board that is just starting is asked again."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        transport = open_port(port)
        try:
            transport.serial.timeout = ATTEMPT_S
            transport.enter_raw_repl(soft_reset=False, timeout_overall=ATTEMPT_S)
            # A board that was just starting may show a prompt and be interrupted once more.
            transport.exec_raw("1", timeout=ATTEMPT_S)
        except (TransportError, OSError) as fault:
            _close(transport)
            if time.monotonic() > deadline_s:
                raise faults.board_silent(port) from fault
        else:
            transport.serial.timeout = timeout_s
            return transport


def _close(transport: SerialTransport) -> None:
    """Let the port go, also when its modem lines cannot be set any more."""
    with contextlib.suppress(OSError):
        transport.close()
    transport.serial.close()


@contextmanager
def session(port: str, run_main: bool = False, timeout_s: float = 10) -> Iterator[Session]:
    """Interrupt what runs on the board and hold its prompt; afterwards start main.py if wanted."""
    opened = Session(_at_prompt(port, timeout_s), port)
    try:
        yield opened
    finally:
        opened.leave(run_main)


def check_version(opened: Session, architecture: str | None) -> Mapping[str, str]:
    """Version and platform of the board's MicroPython; refuses one that cannot load our files.

    architecture is that of the board's chip; None takes what MicroPython tells.
    sys.implementation._mpy: bits 0-7 version of .mpy, bits 10-15 architecture of native code.
    """
    code = (
        "import sys\n"
        "i = sys.implementation\n"
        "print('.'.join(str(n) for n in i[1][:3]), getattr(i, '_mpy', 0), sys.platform)"
    )
    version, mpy_text, platform = opened.run(code).split()
    mpy = int(mpy_text)
    names = (None, "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp",
             "armv7emdp", "xtensa", "xtensawin", "rv32imc", "rv64imc")  # fmt: skip
    number = mpy >> 10 & 0x3F
    native = names[number] if number < len(names) else f"number {number}"
    if mpy & 0xFF != MPY_VERSION:
        older = mpy & 0xFF < MPY_VERSION
        raise BenchError(
            Exit.WRONG_IMAGE,
            f"The MicroPython {version} on {opened.port} is too {'old' if older else 'new'} "
            "for this firmware",
            "Flash the stock image of MicroPython 1.25 or newer; if it is newer than this tool, "
            "update the tool",
        )
    if architecture is not None and native != architecture:
        raise BenchError(
            Exit.WRONG_CHIP,
            f"The MicroPython on {opened.port} is built for {native}, the board for {architecture}",
            "Choose the board that you have with --board",
        )
    return {"version": version, "platform": platform, "architecture": native or ""}
