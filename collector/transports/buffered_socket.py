"""A socket that reads ahead, and takes the messages of a stream of MQTT out by itself.

paho reads a packet byte by byte and aiomqtt one packet for each turn of the event loop, which costs
ten times what a frame needs: a node that publishes faster than that would hold up all others. So
PUBLISH packets of QoS 0 are handed over here, many in a turn, and all else goes on to paho.

A turn ends after a few milliseconds: a broker that sends faster than we read would otherwise never
let the event loop go on.
"""

import time
from collections.abc import Callable
from typing import Any

READ_BYTES = 65_536
TURN_S = 0.004
"""How long one turn of the event loop reads: what else waits gets its turn after that."""
LOOK_AT_CLOCK = 16
"""Messages between two looks at the clock."""

_PUBLISH = 0x30
_RETAIN = 0x01
_TYPE_AND_QOS = 0xF6

Message = Callable[[bytes, bytes, bool], None]
"""Takes topic, payload and whether the broker had retained it."""


class BufferedSocket:
    """Stands for a connected socket of MQTT 3.1.1; all but `recv` and `pending` is its own.

    `again` is called when a turn ends with bytes left: the network will not say so once more.
    """

    def __init__(
        self,
        sock: Any,
        message: Message,
        again: Callable[[], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sock = sock
        self._message = message
        self._again = again
        self._now_s = now_s
        self._turn_ends_s: float | None = None
        self._buffer = b""
        self._at = 0
        self._passing = 0

    def recv(self, size: int) -> bytes:
        """At most `size` bytes of packets that are paho's; hands over the messages before them.

        Raises what the socket raises when none have come, and BlockingIOError at the end of a turn.
        """
        if self._turn_ends_s is None:
            self._turn_ends_s = self._now_s() + TURN_S
        try:
            open_ = self._passing or self._hand_over()
            if open_ and self._at == len(self._buffer):
                open_ = self._refill()
        except OSError:
            self._turn_ends_s = None
            raise
        if not open_:
            return b""
        part = self._buffer[self._at : self._at + min(size, self._passing)]
        self._at += len(part)
        self._passing -= len(part)
        return part

    def pending(self) -> int:
        """Bytes to read in this turn of the loop, without asking the network."""
        if self._turn_ends_s is None:
            return 0
        inner = self._sock.pending() if hasattr(self._sock, "pending") else 0
        left = len(self._buffer) - self._at + int(inner)
        if not left:
            self._turn_ends_s = None
        elif self._now_s() >= self._turn_ends_s:
            self._end_turn()
            return 0
        return left

    def _end_turn(self) -> None:
        self._turn_ends_s = None
        self._again()

    def _refill(self) -> bool:
        """Reads what has come; raises what the socket raises. False: the other end has closed."""
        more = self._sock.recv(READ_BYTES)
        rest = self._buffer[self._at :]
        self._buffer = rest + more if rest else more
        self._at = 0
        return bool(more)

    def _hand_over(self) -> bool:
        """Hands over messages up to a packet that is paho's; False: the other end has closed."""
        handed = 0
        while True:
            buffer, at = self._buffer, self._at
            start, end = _content(buffer, at)
            if not start or (end > len(buffer) and end - at <= READ_BYTES):
                if not self._refill():
                    return False
                continue
            topic_end = start + 2 + int.from_bytes(buffer[start : start + 2], "big")
            if buffer[at] & _TYPE_AND_QOS != _PUBLISH or topic_end > end or end > len(buffer):
                self._passing = end - at
                return True
            self._at = end
            topic = buffer[start + 2 : topic_end]
            self._message(topic, buffer[topic_end:end], bool(buffer[at] & _RETAIN))
            handed += 1
            if not handed % LOOK_AT_CLOCK and self._now_s() >= (self._turn_ends_s or 0):
                self._end_turn()
                raise BlockingIOError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _content(buffer: bytes, at: int) -> tuple[int, int]:
    """Where a packet's content begins and ends; (0, 0) while not enough of it is there."""
    length = shift = 0
    for position in range(at + 1, min(at + 5, len(buffer))):
        byte = buffer[position]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift == 28:
            return position + 1, position + 1 + length
    return 0, 0
