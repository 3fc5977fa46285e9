"""The other side of a node's link in tests: a small collector on a real broker, in a thread.

It archives in memory, and acknowledges and gives the time like the real one.
"""

import socket
import ssl
import struct
import threading
import time
from types import TracebackType

from protocol import compose, wire
from protocol.decoder import decode, open_frame
from tests.firmware.boards import DOWN, NODE, UP


class Pier:
    """Subscribes to one node's uplink and answers it. frames is all that came, in order."""

    def __init__(
        self,
        port: int,
        node: int = NODE,
        acknowledges: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.frames: list[bytes] = []
        self.arrived_s: list[float] = []
        self.acknowledges = acknowledges
        self._topic = f"osn/1/{node:08x}"
        self._node = node
        self._port = port
        self._tls = tls
        self._seq = 0
        self._got: dict[int, set[int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.subscribed = threading.Event()

    def __enter__(self) -> "Pier":
        self._thread.start()
        assert self.subscribed.wait(120)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(5)

    def seqs(self, boot: int) -> set[int]:
        """All sequenced frames of a boot that arrived."""
        return self._got.get(boot, set())

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._session()
            except OSError:
                time.sleep(0.05)

    def _connected(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self._port), 60)
        return self._tls.wrap_socket(plain, server_hostname="localhost") if self._tls else plain

    def _session(self) -> None:
        with self._connected() as sock:
            sock.settimeout(0.05)
            name = b"pier%08x" % self._node
            sock.sendall(b"\x10\x18\0\x04MQTT\x04\x02\0\0\0\x0c" + name)
            topic = (self._topic + "/u").encode()
            body = b"\0\x01" + struct.pack("!H", len(topic)) + topic + b"\0"
            sock.sendall(bytes([0x82, len(body)]) + body)
            pending = b""
            while not self._stop.is_set():
                try:
                    data = sock.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    raise OSError("closed")
                pending = self._packets(sock, pending + data)

    def _packets(self, sock: socket.socket, data: bytes) -> bytes:
        while len(data) >= 2:
            length = shift = 0
            at = 1
            while at < len(data):
                length |= (data[at] & 127) << shift
                shift += 7
                at += 1
                if data[at - 1] < 128:
                    break
            else:
                return data
            if len(data) < at + length:
                return data
            if data[0] & 0xF0 == 0x90:
                self.subscribed.set()
            if data[0] & 0xF0 == 0x30:
                body = data[at : at + length]
                topic_length = int.from_bytes(body[:2], "big")
                self._take(sock, body[2 + topic_length :])
            data = data[at + length :]
        return data

    def _take(self, sock: socket.socket, raw: bytes) -> None:
        received_ms = int(time.time() * 1000)
        envelope = open_frame(raw, UP)
        self.frames.append(raw)
        self.arrived_s.append(time.monotonic())
        if envelope.type == wire.T_LIVE:
            state = decode(raw).state
            assert state is not None
            answer = compose.compose_time(
                DOWN,
                self._node,
                envelope.boot,
                self._next(),
                state.uptime_ms,
                envelope.seq,
                received_ms,
                int(time.time() * 1000),
            )
            self._send(sock, answer)
        else:
            self._got.setdefault(envelope.boot, set()).add(envelope.seq)
        if self.acknowledges:
            self._acknowledge(sock, envelope.boot)

    def _acknowledge(self, sock: socket.socket, boot: int) -> None:
        got = self._got.get(boot, set())
        upto = 0
        while upto + 1 in got:
            upto += 1
        mask = sum(1 << bit for bit in range(32) if upto + 2 + bit in got)
        frame = compose.compose_ack(DOWN, self._node, boot, self._next(), 7, [(boot, upto, mask)])
        self._send(sock, frame)

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _send(self, sock: socket.socket, frame: bytes) -> None:
        topic = (self._topic + "/d").encode()
        body = struct.pack("!H", len(topic)) + topic + frame
        head = bytearray([0x30])
        length = len(body)
        while length > 127:
            head.append(length & 127 | 128)
            length >>= 7
        head.append(length)
        sock.sendall(bytes(head) + body)
