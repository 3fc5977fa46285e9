"""A socket as umqtt.simple wants it, prepared by us: a write a packet, a deadline a read."""

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OUT_MAX = 1_200  # a frame, its topic and MQTT's header
STEP_MS = 50


class Stream:
    """Collects writes until flush() or a read; a read waits until its deadline, no longer.

    out holds what waits, OUT_MAX bytes. umqtt.simple believes that it makes this socket itself:
    connect() and the like do nothing.
    """

    def __init__(self, sock: "Any", deadline_ms: int, out: bytearray) -> None:
        self.sock = sock
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self._out = out
        self._view = memoryview(out)
        self.waiting = 0  # bytes written that the socket has not taken
        self._began = time.ticks_ms()
        self._deadline_ms = deadline_ms

    def connect(self, address: "Any") -> None:
        """It is connected."""

    def settimeout(self, timeout: "Any") -> None:
        """Its deadline is set."""

    def setblocking(self, blocking: bool) -> None:
        """It never blocks."""

    def write(self, data: "Any", length: int = -1) -> int:
        """Put data (or its first length bytes) behind what waits. Raises OSError when full."""
        if length < 0:
            length = len(data)
        end = self.waiting + length
        if end > OUT_MAX:
            raise OSError(12, "packet too long")
        self._out[self.waiting : end] = memoryview(data)[:length]
        self.waiting = end
        return length

    def flush(self) -> None:
        """Hand to the socket what it takes now; waiting says what is left. Raises OSError."""
        if not self.waiting:
            return
        taken = self.sock.write(self._view[: self.waiting])
        if not taken:
            return
        left = self.waiting - taken
        if left:
            self._out[:left] = self._out[taken : self.waiting]
        self.waiting = left

    def read(self, length: int) -> bytes:
        """Exactly length bytes. Raises OSError at the deadline or the connection's end."""
        data = bytearray(length)
        view = memoryview(data)
        filled = 0
        while filled < length:
            self.flush()
            count = self.sock.readinto(view[filled:])
            if count == 0:
                raise OSError(104, "closed by the broker")
            if count:
                filled += count
                continue
            if time.ticks_diff(time.ticks_ms(), self._began) > self._deadline_ms:
                raise OSError(110, "no answer from the broker")
            self._poller.poll(STEP_MS)
        return bytes(data)

    def receive(self, view: memoryview) -> int:
        """What is there, at most len(view) bytes; 0 for nothing. Raises OSError at its end."""
        count = self.sock.readinto(view)
        if count == 0:
            raise OSError(104, "closed by the broker")
        return count or 0

    def close(self) -> None:
        """Close the socket; never raises."""
        try:
            self.sock.close()
        except OSError:
            pass
