"""Sensirion SPS30 on its serial line: SHDLC frames at 115200 baud; all else as sps30.

Frame: 7E, address, command, [state,] length, data, inverted sum, 7E; 7E 7D 11 13 are stuffed.
Source: Sensirion, Datasheet SPS30, version 1.0, chapter 5.
"""

from errno import EIO, ETIMEDOUT
from struct import unpack

from firmware.sensors import sps30
from firmware.sensors.base import bus_of
from firmware.sensors.common import Input

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.bus import Entry, Hal, Options, Uart, Work

FRAME_MAX = 100
STUFFED = b"\x7e\x7d\x11\x13"
NOT_NOW = 0x43
ANSWER_MS = 150
COMMANDS = {
    sps30.START: (0x00, b"\x01\x03"),
    sps30.STOP: (0x01, b""),
    sps30.SLEEP: (0x10, b""),
    sps30.CLEAN: (0x56, b""),
}


def stuffed(body: bytes) -> bytes:
    """A frame around address, command, length and data."""
    frame = bytearray(b"\x7e")
    for byte in body + bytes((~sum(body) & 255,)):
        if byte in STUFFED:
            frame.append(0x7D)
            byte ^= 0x20
        frame.append(byte)
    frame.append(0x7E)
    return bytes(frame)


def request(command: int, data: bytes = b"") -> bytes:
    """The frame of a command."""
    return stuffed(bytes((0, command, len(data))) + data)


def unstuffed(frame: "Any") -> "bytes | None":
    """What lies between two flags, without its sum; None when the sum is not right."""
    body = bytearray()
    escaped = False
    for byte in frame:
        if byte == 0x7D:
            escaped = True
            continue
        body.append(byte ^ 0x20 if escaped else byte)
        escaped = False
    if len(body) < 5 or sum(body) & 255 != 255 or body[3] != len(body) - 5:
        return None
    return bytes(body[:-1])


class Sps30Uart(sps30.Sps30):
    """The same channels and options; errors that the sensor reports are bus errors."""

    def __init__(self, bus: "Uart", options: "Options", now_ms: int = 0) -> None:
        self.input = Input(bus, 2 * FRAME_MAX)
        super().__init__(bus, options, now_ms)

    def wake(self) -> "Work":
        """A byte wakes the interface, the command the rest; a sensor that is awake refuses it."""
        self.bus.write(b"\xff")
        yield 20
        yield from self._ask(0x11)

    def order(self, code: int, wait_ms: int) -> "Work":
        """A command whose answer says no more than that it was taken."""
        command, data = COMMANDS[code]
        yield from self._ask(command, data)
        yield wait_ms

    def values_ready(self) -> "Work":
        """Nothing to ask: a reading without new values is empty."""
        yield 1

    def healthy(self) -> "Any":
        """Whether fan speed, laser and fan are right."""
        data = yield from self._ask(0xD2, b"\x00")
        if len(data) < 4:
            raise OSError(EIO)
        return unpack(">I", data[:4])[0] & sps30.FAULT_BITS == 0

    def fetch(self) -> "Any":
        """The ten floats, as integers."""
        for _ in range(sps30.TRIES):
            data = yield from self._ask(0x03)
            if len(data) == 40:
                return sps30.tenths(unpack(">10f", data))
            yield 100
        raise OSError(ETIMEDOUT)

    def _ask(self, command: int, data: bytes = b"") -> "Any":
        """Send a command up to twice; the data of its answer."""
        for _ in range(2):
            self.input.clear()
            self.bus.write(request(command, data))
            until_ms = self.now_ms + ANSWER_MS
            while self.now_ms < until_ms:
                yield 5
                answer = self._frame()
                if answer is None or answer[1] != command:
                    continue
                if answer[2] & 0x7F not in (0, NOT_NOW):
                    raise OSError(EIO)
                return answer[4:]
        raise OSError(ETIMEDOUT)

    def _frame(self) -> "bytes | None":
        """The next frame whose sum is right."""
        received = self.input
        received.receive()
        while True:
            received.seek(0x7E)
            end = 1
            while end < received.count and received.data[end] != 0x7E:
                end += 1
            if end >= received.count:
                if received.count == len(received.data):
                    received.drop(1)
                    continue
                return None
            body = unstuffed(received.view(end)[1:]) if end > 1 else None
            # A flag may end one frame and begin the next: keep it unless the frame was whole.
            received.drop(end if body is None else end + 1)
            if body is not None:
                return body
            if end > 1:
                self.checksum_errors += 1


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Sps30Uart:
    """Build it from an entry of board.json."""
    return Sps30Uart(bus_of(entry, hal), entry.get("options", {}), now_ms)
