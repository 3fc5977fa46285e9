"""Frames over a serial line: COBS between zeros; on the prompt's own UART downlink comes as hex."""

from binascii import unhexlify

from protocol import cobs, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.settings import Settings
    from firmware.types import Hal

IN_BYTES = 2 * wire.DOWNLINK_MAX + 4
REPL = "repl"


class SerialTransport:
    """firmware.types.Transport over a port with any(), readinto() and write().

    A line has no connection: it counts as connected from start() to close(). In hex mode what
    comes down is hexadecimal text, so that no byte can interrupt the prompt.
    """

    def __init__(self, port: "Any", hex: bool = False) -> None:
        self._port = port
        self._hex = hex
        self._out = bytearray(cobs.encoded_max(wire.FRAME_MAX))
        self._in = bytearray(IN_BYTES)
        self._view = memoryview(self._in)
        self._filled = 0
        self._byte = bytearray(1)
        self._overrun = False
        self.connected = False
        self.secure = True  # a cable does not leave the house
        self.reason = "not started"
        self.ignored = 0  # stretches between zeros that were no frame

    def start(self, now_ms: int) -> None:
        """The line is open."""
        self.connected = True
        self.reason = ""

    def poll(self, now_ms: int) -> None:
        """Nothing is due on a line."""

    def send(self, frame: memoryview) -> bool:
        """Write a frame; False when the port refuses it."""
        length = cobs.encode_into(frame, len(frame), self._out)
        try:
            self._port.write(memoryview(self._out)[:length])
        except OSError as fault:
            self.reason = str(fault)
            return False
        return True

    def receive(self) -> "memoryview | None":
        """The next frame that came down, valid until the next call; None when there is none."""
        try:
            while self._port.any():
                if not self._port.readinto(self._byte):
                    return None
                found = self._take(self._byte[0])
                if found:
                    return self._view[:found]
        except OSError as fault:
            self.reason = str(fault)
        return None

    def close(self) -> None:
        """Say nothing more."""
        self.connected = False

    def _take(self, byte: int) -> int:
        """Add a byte; the length of the frame that a zero has ended, else 0."""
        if byte:
            if self._filled == IN_BYTES:
                self._overrun = True
            else:
                self._in[self._filled] = byte
                self._filled += 1
            return 0
        filled, self._filled = self._filled, 0
        overrun, self._overrun = self._overrun, False
        if not filled:
            return 0
        length = 0 if overrun else self._decode(filled)
        if length < wire.HEADER + wire.CRC_BYTES:
            self.ignored += 1
            return 0
        return length

    def _decode(self, filled: int) -> int:
        try:
            if not self._hex:
                return cobs.decode_into(self._in, filled, self._in)
            frame = unhexlify(bytes(self._view[:filled]))
        except ValueError:
            return 0
        self._in[: len(frame)] = frame
        return len(frame)


class Console:
    """The prompt's own UART as a port: standard input and output."""

    def __init__(self) -> None:
        import select
        import sys

        self._input: "Any" = sys.stdin.buffer
        self._output: "Any" = sys.stdout.buffer
        self._poller = select.poll()
        self._poller.register(sys.stdin, select.POLLIN)

    def any(self) -> int:
        """Whether a byte can be read."""
        return 1 if self._poller.poll(0) else 0

    def readinto(self, buffer: bytearray) -> "int | None":
        """Read into buffer."""
        count: "int | None" = self._input.readinto(buffer)
        return count

    def write(self, data: "Any") -> "int | None":
        """Write all of data."""
        count: "int | None" = self._output.write(data)
        return count


def open_link(hal: "Hal", settings: "Settings") -> SerialTransport:
    """The transport over the port that serial_port names: "repl" or a UART of board.json."""
    name = settings["serial_port"]
    if name == REPL:
        return SerialTransport(Console(), hex=True)
    return SerialTransport(hal.uart(name, baud=settings["serial_baud"]))
