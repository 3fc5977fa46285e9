"""One try to reach the broker: DNS, TCP, TLS, MQTT. It blocks, so it has a thread of its own.

Loaded for the try, and unloaded with umqtt once there is a connection.
"""

import socket

from umqtt import simple

from firmware.transports.mqtt import CA_FILE
from firmware.transports.stream import OUT_MAX, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.transports.mqtt import Target

TCP_S = 5
TLS_S = 5  # for each answer within the handshake
ANSWER_MS = 5_000
TCP_LEVEL, TCP_NODELAY = 6, 1
NOT_YET_VALID = "starts in the future"  # mbedTLS about a certificate
EXPIRED = "has expired"


class _Network:
    """Stands for the socket module within umqtt.simple: it hands out the prepared stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def socket(self, *_: "Any") -> Stream:
        return self._stream

    def getaddrinfo(self, *_: "Any") -> "Any":
        return [(0, 0, 0, "", None)]


class Attempt:
    """run() leaves stream, or reason; done says that it is over, whichever way.

    untimely: the broker's certificate is of later than this board's clock says.

    A loop that has waited long enough sets abandoned: what comes after all is closed then.
    resolve asks DNS even when an address is known. ca is the broker's, as DER.
    """

    def __init__(self, target: "Target", ca: "bytes | None", resolve: bool) -> None:
        self._target = target
        self._ca = ca
        self._resolve = resolve
        self.stream: "Stream | None" = None
        self.reason = ""
        self.untimely = 0  # 1 when a certificate is not valid yet, -1 when it is no more
        self.stage = "dns"
        self.abandoned = False
        self.done = False
        self._sock: "Any" = None
        self._out = bytearray(OUT_MAX)

    def run(self) -> None:
        """The whole try. Never raises."""
        try:
            self._connect()
        except Exception as fault:
            why = str(fault).strip()
            self.reason = self.stage + ": " + (why or type(fault).__name__)
            self.untimely = (NOT_YET_VALID in why) - (EXPIRED in why)
        if self.stream is None or self.abandoned:
            self._close()
        self.done = True

    def _connect(self) -> None:
        target = self._target
        address = target.address
        if self._resolve or address is None:
            found = socket.getaddrinfo(target.host, target.port, socket.AF_INET, socket.SOCK_STREAM)
            address = found[0][-1]
        self._check()
        self.stage = "tcp"
        sock = self._sock = socket.socket()
        sock.settimeout(TCP_S)
        sock.connect(address)
        target.address = address
        sock.setsockopt(TCP_LEVEL, TCP_NODELAY, 1)
        self._check()
        if target.tls:
            self.stage = "tls"
            sock.settimeout(TLS_S)
            sock = self._sock = self._secure(sock)
        sock.setblocking(False)
        self.stage = "mqtt"
        self._greet(Stream(sock, ANSWER_MS, self._out))

    def _secure(self, sock: "Any") -> "Any":
        import ssl

        context: "Any" = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_REQUIRED
        if not self._ca:
            raise ValueError("no CA: put it as DER into " + CA_FILE)
        context.load_verify_locations(cadata=self._ca)
        return context.wrap_socket(sock, server_hostname=self._target.host)

    def _greet(self, stream: Stream) -> None:
        target = self._target
        simple.socket = _Network(stream)  # type: ignore[attr-defined]
        client = simple.MQTTClient(
            "osn-" + target.name,
            target.host,
            target.port,
            target.user or None,
            target.password or None,
            target.keepalive_s,
        )
        client.set_callback(_ignore)
        client.set_last_will(target.topic("w"), b"offline")
        client.connect()
        self._check()
        client.subscribe(target.topic("d"))
        self.stream = stream

    def _check(self) -> None:
        if self.abandoned:
            raise OSError(110, "took too long")

    def _close(self) -> None:
        if self._sock is not None:
            try:
                self._sock.close()
            except OSError:
                pass


def _ignore(topic: bytes, message: bytes) -> None:
    """A frame that comes while subscribing is dropped: the collector says it again."""
