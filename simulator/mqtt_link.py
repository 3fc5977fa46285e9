"""MQTT for CPython-hosted nodes: one connection, QoS 0, as lean as a board's.

A thousand of these live in one event loop, so packets are made and parsed here, by the standard
(MQTT 3.1.1, OASIS 2014).
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable

KEEPALIVE_S = 60
PING_EVERY_S = 20.0
RETRY_FIRST_S = 0.5
RETRY_LAST_S = 8.0
INBOX_MAX = 64
PACKET_MAX = 8192
UNSENT_MAX = 65_536

CONNECT, CONNACK, PUBLISH, SUBSCRIBE, PINGREQ = 0x10, 0x20, 0x30, 0x82, 0xC0
CLEAN_WITH_WILL = 0x06
CLEAN = 0x02


def text(value: str) -> bytes:
    """A length and UTF-8."""
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def packet(kind: int, body: bytes) -> bytes:
    """A whole packet."""
    head = bytearray((kind,))
    length = len(body)
    while True:
        byte = length & 127
        length >>= 7
        head.append(byte | 128 if length else byte)
        if not length:
            return bytes(head) + body


def connect_packet(client: str, will_topic: str, keepalive_s: int = KEEPALIVE_S) -> bytes:
    """CONNECT of a clean session with a last will."""
    body = text("MQTT") + bytes((4, CLEAN_WITH_WILL)) + struct.pack(">H", keepalive_s)
    return packet(CONNECT, body + text(client) + text(will_topic) + text("offline"))


def publish_packet(topic: bytes, payload: bytes) -> bytes:
    """PUBLISH at QoS 0; topic with its length in front."""
    return packet(PUBLISH, topic + payload)


def take_packet(buffer: bytearray) -> tuple[int, bytes] | None:
    """The first whole packet of a buffer, removed from it; None when there is none.

    Raises ValueError for what cannot be MQTT.
    """
    length = shift = 0
    at = 1
    while True:
        if at >= len(buffer):
            return None
        byte = buffer[at]
        length |= (byte & 127) << shift
        at += 1
        shift += 7
        if byte < 128:
            break
        if shift > 21:
            raise ValueError("not MQTT")
    if length > PACKET_MAX:
        raise ValueError("packet too long")
    if len(buffer) < at + length:
        return None
    found = buffer[0], bytes(buffer[at : at + length])
    del buffer[: at + length]
    return found


class MqttLink(asyncio.Protocol):
    """firmware.types.Transport over a real broker; on_frame is called when a frame has come."""

    POLL_MS = 1_000

    def __init__(self, host: str, port: int, node: int) -> None:
        self.connected = False
        self.reason = "not started"
        self.on_frame: Callable[[], None] | None = None
        self.connects = 0
        self.blocked = False
        self.secure = host == "127.0.0.1"
        name = f"{node:08x}"
        self._host = host
        self._port = port
        self._client = f"osn-{name}"
        self._up = text(f"osn/1/{name}/u")
        self._down = f"osn/1/{name}/d"
        self._will = f"osn/1/{name}/w"
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._inbox: deque[bytes] = deque(maxlen=INBOX_MAX)
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()

    def start(self, now_ms: int) -> None:
        """Begin to connect, and connect again for as long as it takes."""
        self._task = asyncio.create_task(self._keep_connected())

    def poll(self, now_ms: int) -> None:
        """Nothing to do: the event loop serves the connection."""

    def send(self, frame: memoryview | bytes) -> bool:
        """Publish a frame; False without a connection, or when the broker takes nothing."""
        transport = self._transport
        if not self.connected or transport is None:
            return False
        if transport.get_write_buffer_size() > UNSENT_MAX:
            return False
        transport.write(publish_packet(self._up, bytes(frame)))
        return True

    def receive(self) -> memoryview | None:
        """The oldest frame that has come, or None."""
        return memoryview(self._inbox.popleft()) if self._inbox else None

    def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._transport is not None:
            self._transport.abort()
        self.connected = False

    def block(self, blocked: bool) -> None:
        """Take the network away, or give it back."""
        self.blocked = blocked
        if blocked and self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(connect_packet(self._client, self._will))

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            while (found := take_packet(self._received)) is not None:
                self._take(*found)
        except ValueError as error:
            self.reason = str(error)
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connected = False
        self.reason = str(exc) if exc else "closed by the broker"
        self._transport = None
        self._received.clear()
        self._inbox.clear()
        self._lost.set()

    def _take(self, kind: int, body: bytes) -> None:
        if kind == CONNACK:
            if body[1:2] != b"\0":
                raise ValueError(f"refused by the broker ({body[1:2].hex()})")
            assert self._transport is not None
            subscription = struct.pack(">H", 1) + text(self._down) + b"\0"
            self._transport.write(packet(SUBSCRIBE, subscription))
            self.connected = True
            self.connects += 1
            self.reason = ""
            self._tell()
        elif kind == PUBLISH:  # at QoS 0 and not retained
            start = 2 + struct.unpack_from(">H", body)[0]
            self._inbox.append(body[start:])
            self._tell()

    def _tell(self) -> None:
        if self.on_frame is not None:
            self.on_frame()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = RETRY_FIRST_S
        while True:
            self._lost.clear()
            try:
                if self.blocked:
                    raise OSError("no Wi-Fi")
                await loop.create_connection(lambda: self, self._host, self._port)
            except OSError as error:
                self.reason = str(error)
            else:
                await self._ping_until_lost()
                wait_s = RETRY_FIRST_S
            await asyncio.sleep(wait_s)
            wait_s = min(RETRY_LAST_S, 2 * wait_s)

    async def _ping_until_lost(self) -> None:
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(PING_EVERY_S):
                    await self._lost.wait()
            except TimeoutError:
                if self._transport is not None:
                    self._transport.write(packet(PINGREQ, b""))
