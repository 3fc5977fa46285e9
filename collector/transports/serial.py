"""Frames over serial ports that come and go: COBS between zeros, console text to the log.

The settings name one port or a pattern of names, as udev makes them; ports are looked for every few
seconds, opened when they appear and forgotten when they go.
"""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import serial
from serial_asyncio_fast import connection_for_serial

from collector.settings import SerialSettings
from collector.transports.base import FRAME_BYTES_MAX, Deliver, LinkState, Source
from protocol.serial_stream import ConsoleLine, RawFrame, SerialStream, as_text, stuffed
from protocol.wire import HEADER

log = logging.getLogger(__name__)
console = logging.getLogger("collector.console")

SILENCE_S = 1.0
UNSENT_BYTES_MAX = 16_384
LINES_PER_S = 20.0
LINES_BURST = 200.0
LINE_SHOWN_MAX = 400
NODES_PER_PORT_MAX = 64


class SerialTransport:
    """All ports of one entry of the configuration."""

    def __init__(self, settings: SerialSettings) -> None:
        self.name = settings.name
        self.state = LinkState()
        self._settings = settings
        self._ports: dict[str, _Port] = {}
        self._reached: dict[int, _Port] = {}
        self._faults: dict[str, str] = {}

    async def run(self, deliver: Deliver) -> None:
        """Looks for ports for ever; see Transport."""
        try:
            while True:
                paths = await asyncio.to_thread(self._find)
                self._forget_gone(paths)
                for path in paths[: self._settings.ports_max]:
                    if path not in self._ports:
                        await self._open(path, deliver)
                self._tell_state(paths)
                await asyncio.sleep(self._settings.rescan_s)
        finally:
            for port in list(self._ports.values()):
                port.close()

    def send(self, node: int, raw: bytes) -> bool:
        """Writes a downlink to the port on which the node was heard; see Transport."""
        port = self._reached.get(node)
        if port is None:
            return False
        if not port.write(as_text(raw) if self._settings.repl else stuffed(raw)):
            self.state.counters.dropped_down += 1
            return False
        self.state.counters.sent += 1
        self.state.counters.sent_bytes += len(raw)
        return True

    def received(self, port: "_Port", raw: bytes, deliver: Deliver) -> None:
        """A frame came in on a port."""
        counters = self.state.counters
        if len(raw) > FRAME_BYTES_MAX:
            counters.oversize += 1
            return
        counters.received += 1
        counters.received_bytes += len(raw)
        if len(raw) >= HEADER:
            node = int.from_bytes(raw[4:8], "little")
            if self._reached.get(node) is port or port.nodes < NODES_PER_PORT_MAX:
                port.nodes += self._reached.get(node) is not port
                self._reached[node] = port
        deliver(raw, Source(self.name))

    def closed(self, port: "_Port", reason: str) -> None:
        """A port was unplugged, or failed."""
        if self._ports.pop(port.path, None) is None:
            return
        self._reached = {node: at for node, at in self._reached.items() if at is not port}
        self.state.counters.disconnects += 1
        log.info("serial %s: %s closed: %s", self.name, port.path, reason)

    def _find(self) -> list[str]:
        pattern = Path(self._settings.port)
        return sorted(str(path) for path in pattern.parent.glob(pattern.name))

    async def _open(self, path: str, deliver: Deliver) -> None:
        port = _Port(path, self, deliver)
        loop = asyncio.get_running_loop()
        try:
            line = await asyncio.to_thread(_open_line, path, self._settings.baud)
            await connection_for_serial(loop, lambda: port, line)
        except (OSError, ValueError) as error:
            reason = f"{path}: {_advice(error)}"
            if self._faults.get(path) != reason:
                log.warning("serial %s: %s; trying again", self.name, reason)
            self._faults[path] = reason
            return
        self._faults.pop(path, None)
        self._ports[path] = port
        self.state.counters.connects += 1
        log.info("serial %s: %s open at %d baud", self.name, path, self._settings.baud)

    def _forget_gone(self, paths: list[str]) -> None:
        for path in set(self._faults) - set(paths):
            del self._faults[path]
        for path in set(self._ports) - set(paths):
            self._ports[path].close()

    def _tell_state(self, paths: list[str]) -> None:
        self.state.connected = bool(self._ports)
        if self.state.connected:
            self.state.reason = ""
        elif not paths:
            self.state.reason = (
                f"no port {self._settings.port}; osn-collector doctor shows what is plugged in"
            )
        else:
            self.state.reason = next(iter(self._faults.values()), "no port could be opened")


class _Port(asyncio.Protocol):
    """One open port: splits the stream and keeps it from flooding the log."""

    def __init__(self, path: str, owner: SerialTransport, deliver: Deliver) -> None:
        self.path = path
        self.nodes = 0
        self._owner = owner
        self._deliver = deliver
        self._stream = SerialStream()
        self._line: Any = None
        self._silence: asyncio.TimerHandle | None = None
        self._lines = LINES_BURST
        self._lines_at_s = 0.0
        self._suppressed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._line = transport

    def data_received(self, data: bytes) -> None:
        self._take(self._stream.feed(data))
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(SILENCE_S, self._silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._owner.closed(self, str(exc) if exc is not None else "closed")

    def write(self, data: bytes) -> bool:
        """Sends without waiting; False when the line does not keep up."""
        if self._line is None or self._line.get_write_buffer_size() > UNSENT_BYTES_MAX:
            return False
        self._line.write(data)
        return True

    def close(self) -> None:
        """Lets go of the port, with what was not sent."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.abort()

    def _silent(self) -> None:
        self._take(self._stream.flush())

    def _take(self, items: list[RawFrame | ConsoleLine]) -> None:
        for item in items:
            if isinstance(item, RawFrame):
                self._owner.received(self, item.raw, self._deliver)
            elif item.text.strip():
                self._log(item.text)

    def _log(self, text: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self._lines = min(LINES_BURST, self._lines + (now_s - self._lines_at_s) * LINES_PER_S)
        self._lines_at_s = now_s
        if self._lines < 1:
            self._suppressed += 1
            return
        self._lines -= 1
        if self._suppressed:
            console.info("%s: %d lines left out", self.path, self._suppressed)
            self._suppressed = 0
        console.info("%s: %s", self.path, printable(text)[:LINE_SHOWN_MAX])


def printable(text: str) -> str:
    """The text without control characters, which could rewrite an operator's terminal."""
    return "".join(character if character.isprintable() else "." for character in text)


def _open_line(path: str, baud: int) -> serial.Serial:
    line = serial.Serial()
    line.port = path
    line.baudrate = baud
    line.exclusive = True
    # both lines at rest: on most boards they drive reset and boot mode
    line.dtr = False
    line.rts = False
    line.open()
    return line


def _advice(error: BaseException) -> str:
    if isinstance(error, PermissionError) or "Permission denied" in str(error):
        return "no permission; add the collector's user to the group dialout"
    return str(error)
