"""A small MQTT 3.1.1 broker that drops connections before and after it has taken a message.

What its access list denies it says as MQTT 3.1.1 can: a subscription is refused by its SUBACK, a
message is confirmed and goes nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from simulator.upstream.base import Upstream

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 12, 13, 14
PACKET_BYTES_MAX = 1 << 21


class MqttBroker(Upstream):
    """Keeps every message in `stored` by topic and payload, retained ones in `retained`.

    `denied` holds beginnings of topics that nobody may write or read; what was written there is in
    `refused`.
    """

    name = "mqtt"
    faults_known = ("refuse", "drop_before", "drop_after")

    def __init__(
        self,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        *,
        password: str | None = None,
    ) -> None:
        super().__init__(faults, seed)
        self.password = password
        self.denied: tuple[str, ...] = ()
        self.retained: dict[str, bytes] = {}
        self.wills = 0

    def serving(self, host: str = "127.0.0.1", port: int = 0) -> AbstractAsyncContextManager[str]:
        return self._serving(host, port)

    @asynccontextmanager
    async def _serving(self, host: str, port: int) -> AsyncIterator[str]:
        writers: set[asyncio.StreamWriter] = set()

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            try:
                await self._client(reader, writer)
            finally:
                writers.discard(writer)
                writer.close()

        server = await asyncio.start_server(client, host, port)
        try:
            bound, number = server.sockets[0].getsockname()[:2]
            yield f"mqtt://{bound}:{number}"
        finally:
            server.close()
            for writer in list(writers):
                writer.transport.abort()
            await asyncio.sleep(0)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        will: tuple[str, bytes] | None = None
        with suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while True:
                kind, flags, body = await _packet(reader)
                if kind == CONNECT:
                    will, password = _connect(body)
                    wrong = self.password is not None and password != self.password
                    code = 5 if wrong else 3 if self.happens("refuse") else 0
                    writer.write(bytes((CONNACK << 4, 2, 0, code)))
                    if code:
                        return
                elif kind == PUBLISH:
                    if not self._publish(flags, body, writer):
                        writer.transport.abort()
                        return
                elif kind == SUBSCRIBE:
                    size = int.from_bytes(body[2:4], "big")
                    wanted = body[4 : 4 + size].decode()
                    granted = b"\x80" if wanted.startswith(self.denied) else b"\x01"
                    writer.write(bytes((SUBACK << 4, 3)) + body[:2] + granted)
                elif kind == PINGREQ:
                    writer.write(bytes((PINGRESP << 4, 0)))
                elif kind == DISCONNECT:
                    will = None
                    return
                await writer.drain()
        if will is not None:
            self.wills += 1
            self.retained[will[0]] = will[1]

    def _publish(self, flags: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Takes a message; False when the connection is to be cut."""
        size = int.from_bytes(body[:2], "big")
        topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
        quality = flags >> 1 & 3
        number, payload = (rest[:2], rest[2:]) if quality else (b"", rest)
        if self.happens("drop_before"):
            return False
        if topic.startswith(self.denied):
            self.refused[topic, payload] += 1
        else:
            self.take(topic, payload, bool(flags & 1))
        if self.happens("drop_after"):
            return False
        if quality:
            writer.write(bytes((PUBACK << 4, 2)) + number)
        return True

    def take(self, topic: str, payload: bytes, retain: bool) -> None:
        """Notes a message."""
        if retain:
            self.retained[topic] = payload
        self.stored[topic, payload] += 1


async def _packet(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    (head,) = await reader.readexactly(1)
    size = shift = 0
    while True:
        (byte,) = await reader.readexactly(1)
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
        if shift > 21:
            raise ValueError("a length of more than four bytes")
    if size > PACKET_BYTES_MAX:
        raise ValueError("a packet that is too long")
    return head >> 4, head & 15, await reader.readexactly(size)


def _connect(body: bytes) -> tuple[tuple[str, bytes] | None, str | None]:
    """Will and password of a CONNECT."""
    flags = body[7]
    position = 10

    def text() -> bytes:
        nonlocal position
        size = int.from_bytes(body[position : position + 2], "big")
        position += 2 + size
        return body[position - size : position]

    text()
    will = (text().decode(), text()) if flags & 4 else None
    if flags & 0x80:
        text()
    password = text().decode() if flags & 0x40 else None
    return will, password


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> MqttBroker:
    """The fake network."""
    return MqttBroker(faults, seed)
