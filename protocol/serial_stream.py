"""A board's serial line: frames and console text told apart, byte stream in, items out."""

from collections.abc import Callable
from typing import NamedTuple

from protocol import cobs, wire
from protocol.envelope import head_of
from protocol.wire import FrameError

CHUNK_MAX = cobs.encoded_max(wire.FRAME_MAX_COLLECTOR)
LINE_MAX = 1024
_PRINTABLE = frozenset(range(32, 127)) | {9, 27} | frozenset(range(128, 256))
_MAGIC = wire.MAGIC


class RawFrame(NamedTuple):
    """The bytes of a frame whose stuffing and header are right, and its trailer if checked."""

    raw: bytes


class ConsoleLine(NamedTuple):
    """A line that the board printed, without its end."""

    text: str


Item = RawFrame | ConsoleLine


class SerialStream:
    """Splits what a board sends at its zeros.

    verify says whether a frame's trailer holds (by default that is left to the receiver). What
    is no frame comes out as console lines of at most 1,024 characters; bytes that are no text
    either are counted in garbage. Holds at most 4.1 kB.
    """

    def __init__(self, verify: Callable[[bytes], bool] | None = None) -> None:
        self._verify = verify
        self._chunk = bytearray()
        self._room = bytearray(CHUNK_MAX)
        self.frames = 0
        self.garbage = 0

    def feed(self, data: bytes) -> list[Item]:
        """What is complete after these bytes, in order."""
        items: list[Item] = []
        parts = data.split(b"\0")
        for part in parts[:-1]:
            self._append(part, items)
            self._end(items)
        self._append(parts[-1], items)
        if self._chunk and not self._may_be_frame():
            self._give_lines(items, False)
        return items

    def flush(self) -> list[Item]:
        """Take what is pending as text: for a line that has been silent for a while."""
        items: list[Item] = []
        self._give_lines(items, True)
        return items

    def _append(self, part: bytes, items: list[Item]) -> None:
        at = 0
        while at < len(part):
            taken = part[at : at + CHUNK_MAX - len(self._chunk)]
            self._chunk += taken
            at += len(taken)
            if len(self._chunk) >= CHUNK_MAX:
                self._give_lines(items, True)

    def _may_be_frame(self) -> bool:
        """A stuffed frame begins with a group's length, then the magic."""
        return len(self._chunk) < 2 or self._chunk[1] == _MAGIC

    def _end(self, items: list[Item]) -> None:
        """A zero: the chunk before it is a frame, or text."""
        if not self._chunk:
            return
        raw = self._frame()
        if raw is None:
            self._give_lines(items, True)
            return
        self._chunk.clear()
        self.frames += 1
        items.append(RawFrame(raw))

    def _frame(self) -> bytes | None:
        if not self._may_be_frame():
            return None
        try:
            length = cobs.decode_into(self._chunk, len(self._chunk), self._room)
            raw = bytes(self._room[:length])
            head_of(raw)
        except FrameError:
            return None
        return None if self._verify and not self._verify(raw) else raw

    def _give_lines(self, items: list[Item], all_of_it: bool) -> None:
        """Turn the chunk into lines; without all_of_it an unfinished last line stays."""
        *lines, rest = bytes(self._chunk).replace(b"\r\n", b"\n").split(b"\n")
        if all_of_it or len(rest) > LINE_MAX:
            lines.append(rest)
            rest = b""
        self._chunk[:] = rest
        for line in lines:
            self._give(line, items)

    def _give(self, line: bytes, items: list[Item]) -> None:
        """Text if nine bytes of ten can be text, else garbage."""
        line = line.strip(b"\r")
        readable = sum(byte in _PRINTABLE for byte in line)
        if readable * 10 < len(line) * 9:
            self.garbage += len(line)
            return
        text = line.decode("utf-8", "replace")
        if text.count("\N{REPLACEMENT CHARACTER}") * 10 > len(text):
            self.garbage += len(line)
            return
        for at in range(0, len(text), LINE_MAX):
            items.append(ConsoleLine(text[at : at + LINE_MAX]))


def stuffed(raw: bytes) -> bytes:
    """A frame as it goes over a line: COBS between zeros."""
    room = bytearray(cobs.encoded_max(len(raw)))
    return bytes(room[: cobs.encode_into(raw, len(raw), room)])


def as_text(raw: bytes) -> bytes:
    """A downlink frame for a UART that is also the prompt's: hex between zeros."""
    return b"\0" + raw.hex().encode() + b"\0"
