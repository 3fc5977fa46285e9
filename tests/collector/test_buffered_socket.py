"""Reading ahead: messages come out whole and in order, the rest is paho's, and a turn ends."""

from itertools import pairwise
from random import Random
from typing import Any

import pytest

from benchmarks.collector_load import publish
from collector.transports.buffered_socket import READ_BYTES, TURN_S, BufferedSocket

PINGRESP = b"\xd0\x00"


class Network:
    """Gives bytes in parts; then nothing, until more is put in. Its clock goes on with reads."""

    def __init__(self, parts: list[bytes], read_s: float = 0.0, message_s: float = 0.0) -> None:
        self.parts = parts
        self.closed = False
        self.now = 0.0
        self.heard: list[tuple[bytes, bytes, bool]] = []
        self.asked_again = 0
        self._read_s = read_s
        self._message_s = message_s
        self.socket = BufferedSocket(self, self.message, self.again, lambda: self.now)

    def recv(self, size: int) -> bytes:
        self.now += self._read_s
        if self.parts:
            return self.parts.pop(0)
        if self.closed:
            return b""
        raise BlockingIOError

    def message(self, topic: bytes, payload: bytes, retained: bool) -> None:
        self.now += self._message_s
        self.heard.append((topic, payload, retained))

    def again(self) -> None:
        self.asked_again += 1

    def turn(self) -> bytes:
        """What paho gets in one turn of aiomqtt's callback."""
        got = b""
        while True:
            try:
                part = self.socket.recv(1)
            except BlockingIOError:
                part = b""
            got += part
            if not self.socket.pending():
                return got


def cut(stream: bytes, chance: Random, parts: int) -> list[bytes]:
    ends = sorted(chance.choices(range(len(stream) + 1), k=parts))
    return [stream[a:b] for a, b in pairwise([0, *ends, len(stream)]) if b > a]


@pytest.mark.parametrize("seed", range(30))
def test_however_the_stream_is_cut_each_packet_arrives_once(seed: int) -> None:
    chance = Random(seed)
    messages = [
        (b"osn/1/%08x/u" % n, chance.randbytes(chance.choice((0, 1, 40, 130, 5_000))), n % 3 == 0)
        for n in range(40)
    ]
    stream, others = b"", b""
    for topic, payload, retained in messages:
        packet = bytearray(publish(topic.decode(), payload))
        packet[0] |= retained
        stream += bytes(packet)
        if chance.random() < 0.4:
            other = chance.choice(
                (PINGRESP, b"\x90\x03\x00\x01\x00", b"\x32\x09\x00\x03abc\x00\x07hi")
            )
            stream += other
            others += other
    network = Network(cut(stream, chance, chance.choice((0, 5, 200))))
    got = b"".join(network.turn() for _ in range(3))
    assert network.heard == messages
    assert got == others


def test_a_broker_that_never_pauses_does_not_keep_the_loop() -> None:
    packet = publish("osn/1/00000001/u", bytes(50))
    network = Network([packet * 1_000] * 1_000, message_s=TURN_S / 100)
    network.turn()
    heard = len(network.heard)
    assert 0 < heard < 200
    assert network.asked_again == 1, "what is left is read in the next turn"
    network.turn()
    assert heard < len(network.heard) < 400


def test_large_messages_do_not_keep_the_loop_either() -> None:
    packet = publish("osn/1/00000001/u", bytes(READ_BYTES))
    stream = packet * 1_000
    parts = [stream[at : at + READ_BYTES] for at in range(0, len(stream), READ_BYTES)]
    network = Network(parts, read_s=TURN_S / 10)
    got = 0
    while True:
        try:
            got += len(network.socket.recv(READ_BYTES))
        except BlockingIOError:
            break
        if not network.socket.pending():
            break
    assert 0 < got < 12 * READ_BYTES
    assert network.heard == []


@pytest.mark.parametrize(
    "packet",
    [b"\x30\x01\x00", b"\x30\x00", b"\x30\x03\xff\xffa", b"\x30\xff\xff\xff\xff\x01", b"\x00\x00"],
)
def test_what_is_no_packet_is_left_to_paho(packet: bytes) -> None:
    network = Network([packet + PINGRESP])
    assert network.turn()[:1] == packet[:1]
    assert network.heard == []


def test_the_end_of_a_connection_is_told() -> None:
    for rest in (b"", b"\x30", publish("a", b"b")[:-1]):
        network = Network([rest] if rest else [])
        network.closed = True
        assert network.socket.recv(1) == b""


def test_bytes_that_tls_holds_are_pending() -> None:
    class Records(Network):
        def pending(self) -> int:
            return sum(map(len, self.parts))

    network: Any = Records([PINGRESP, PINGRESP])
    assert network.turn() == PINGRESP * 2
