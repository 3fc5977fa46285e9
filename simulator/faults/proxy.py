"""A TCP proxy of 127.0.0.1 that fails in the ways that networks and brokers do.

It runs in a thread of its own, in real time, for firmware and collectors with real sockets.
"""

import contextlib
import selectors
import socket
import threading
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

_CHUNK = 65_536
_TICK_S = 0.02
PORTAL_ANSWER = (
    b"HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/login\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


class Mode(Enum):
    """What the network does with connections."""

    OPEN = "passes everything"
    SILENT = "accepts, answers nothing, and swallows what comes"
    REFUSE = "refuses new connections and resets the old"
    PORTAL = "answers whoever connects with the page of a captive portal"
    CUT_UP = "what the client sends is lost, what the server sends arrives"


@dataclass
class _Pair:
    client: socket.socket
    server: socket.socket | None = None
    passed: int = 0
    stranded: bool = False


class Proxy:
    """Listens on a free port (or `port`) and joins each client to target_port.

    `mode` may be changed at any time. `stall_after_bytes` stops passing the server's bytes to a
    client after so many, as a TLS handshake that never ends.
    """

    def __init__(self, target_port: int, port: int = 0) -> None:
        self.mode = Mode.OPEN
        self.stall_after_bytes: int | None = None
        self.accepted = 0
        self._target_port = target_port
        self._listener = self._listen(port)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._pairs: dict[socket.socket, _Pair] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Proxy":
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(5)

    def strand(self) -> None:
        """Let nothing pass the connections of now any more, without a word to either side."""
        for pair in list(self._pairs.values()):
            pair.stranded = True

    @staticmethod
    def _listen(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
        return listener

    def _run(self) -> None:
        while not self._stop.is_set():
            for pair in list(self._pairs.values()):
                if self.mode is Mode.REFUSE or (self.mode is Mode.PORTAL and pair.server):
                    self._drop(pair)
            for key, _ in self._selector.select(_TICK_S):
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._listener:
                    self._accept()
                elif source in self._pairs:
                    self._move(source, self._pairs[source])
        for pair in list(self._pairs.values()):
            self._drop(pair)
        self._listener.close()
        self._selector.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        if self.mode is Mode.REFUSE:
            _reset(client)
            return
        pair = _Pair(client)
        if self.mode not in (Mode.SILENT, Mode.PORTAL):
            try:
                pair.server = socket.create_connection(("127.0.0.1", self._target_port), 2)
            except OSError:
                _reset(client)
                return
        for end in (pair.client, pair.server):
            if end is not None:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pairs[end] = pair
                self._selector.register(end, selectors.EVENT_READ)

    def _move(self, source: socket.socket, pair: _Pair) -> None:
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._drop(pair)
            return
        if pair.server is None and self.mode is Mode.PORTAL:
            self._answer(pair)
            return
        up = source is pair.client
        if pair.stranded or self.mode is Mode.SILENT or (up and self.mode is Mode.CUT_UP):
            return
        if not up:
            data = self._stalled(pair, data)
        target = pair.server if up else pair.client
        if target is None or not data:
            return
        try:
            target.sendall(data)
        except OSError:
            self._drop(pair)

    def _answer(self, pair: _Pair) -> None:
        """Send the portal's page, and close as a web server does."""
        with contextlib.suppress(OSError):
            pair.client.sendall(PORTAL_ANSWER)
        del self._pairs[pair.client]
        self._selector.unregister(pair.client)
        pair.client.close()

    def _stalled(self, pair: _Pair, data: bytes) -> bytes:
        if self.stall_after_bytes is None:
            return data
        left = max(0, self.stall_after_bytes - pair.passed)
        pair.passed += len(data)
        return data[:left]

    def _drop(self, pair: _Pair) -> None:
        for end in (pair.client, pair.server):
            if end is not None and end in self._pairs:
                del self._pairs[end]
                self._selector.unregister(end)
                _reset(end)


def _reset(end: socket.socket) -> None:
    """Close with RST, so that the other side learns at once."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        end.close()
