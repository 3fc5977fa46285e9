"""A socket that reads ahead, so that an MQTT packet does not cost four system calls.

paho reads a packet byte by byte, and aiomqtt reads one packet for each turn of the event loop,
unless the socket says that decoded bytes are pending, as TLS sockets do. This one says so too.
"""

import logging
from typing import Any

import aiomqtt

READ_BYTES = 65_536

log = logging.getLogger(__name__)


class BufferedSocket:
    """Stands for a connected socket; all but `recv` and `pending` is the socket's own."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._buffer = b""
        self._at = 0

    def recv(self, size: int) -> bytes:
        """At most `size` bytes; raises what the socket raises when none have come."""
        if self._at == len(self._buffer):
            self._buffer = self._sock.recv(READ_BYTES)
            self._at = 0
        part = self._buffer[self._at : self._at + size]
        self._at += len(part)
        return part

    def pending(self) -> int:
        """Bytes that `recv` has without asking the network."""
        inner = self._sock.pending() if hasattr(self._sock, "pending") else 0
        return len(self._buffer) - self._at + int(inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def read_ahead(client: aiomqtt.Client) -> None:
    """Lets a client that is not connected yet read through a buffer.

    Without the inner client's method of today's paho it goes on as it was, only slower.
    """
    inner: Any = client._client
    create = getattr(inner, "_create_socket", None)
    if create is None:
        log.debug("this version of paho-mqtt has no _create_socket: reading without a buffer")
        return
    inner._create_socket = lambda: BufferedSocket(create())
