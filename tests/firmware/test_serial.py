"""Frames over a serial line: both ways, both codings, amid noise."""

import random
from collections import deque

import pytest

from firmware.transports.serial import SerialTransport
from protocol import cobs, wire
from tests.firmware.test_spool import make_frame


class Port:
    """A UART whose two ends are byte queues."""

    def __init__(self) -> None:
        self.sent = b""
        self.coming: deque[int] = deque()
        self.broken = False

    def any(self) -> int:
        return len(self.coming)

    def readinto(self, buffer: bytearray) -> int:
        buffer[0] = self.coming.popleft()
        return 1

    def write(self, data: memoryview) -> int:
        if self.broken:
            raise OSError(5)
        self.sent += bytes(data)
        return len(data)


def encoded(frame: bytes, hexadecimal: bool) -> bytes:
    if hexadecimal:
        return b"\0" + frame.hex().encode() + b"\0"
    buffer = bytearray(cobs.encoded_max(len(frame)))
    return bytes(buffer[: cobs.encode_into(frame, len(frame), buffer)])


def everything(transport: SerialTransport) -> list[bytes]:
    frames = []
    while (frame := transport.receive()) is not None:
        frames.append(bytes(frame))
    return frames


def test_what_goes_up_is_stuffed_between_zeros() -> None:
    port = Port()
    transport = SerialTransport(port)
    transport.start(0)
    frame = make_frame(1, 1, 300)
    assert transport.send(memoryview(frame))
    assert port.sent == encoded(frame, False)
    assert transport.secure


@pytest.mark.parametrize("hexadecimal", [False, True])
def test_frames_come_down_amid_noise(hexadecimal: bool) -> None:
    port = Port()
    transport = SerialTransport(port, hexadecimal)
    noise = random.Random(3)
    frames = [make_frame(1, seq, 40 + seq * 8) for seq in range(1, 21)]
    for frame in frames:
        port.coming.extend(b"\0" + bytes(noise.randrange(1, 256) for _ in range(9)))
        port.coming.extend(encoded(frame, hexadecimal))
    got = everything(transport)
    assert [frame for frame in got if frame in frames] == frames


def test_a_stretch_without_zeros_is_dropped_whole() -> None:
    port = Port()
    transport = SerialTransport(port)
    port.coming.extend(b"x" * 5_000)
    frame = make_frame(1, 1, 60)
    port.coming.extend(encoded(frame, False))
    assert everything(transport) == [frame]
    assert transport.ignored >= 1


def test_a_frame_of_the_largest_downlink_fits_as_hex() -> None:
    port = Port()
    transport = SerialTransport(port, True)
    frame = make_frame(1, 1, wire.DOWNLINK_MAX)
    port.coming.extend(encoded(frame, True))
    assert everything(transport) == [frame]


def test_a_port_that_fails_is_no_fault_of_the_node() -> None:
    port = Port()
    transport = SerialTransport(port)
    transport.start(0)
    port.broken = True
    assert not transport.send(memoryview(make_frame(1, 1)))
    assert transport.reason
