"""Streams of a serial line and what is in them."""

from collections.abc import Iterator
from typing import Any

from protocol.serial_stream import stuffed
from tests.protocol.good_frames import all_frames
from tests.protocol.refusals import sealed, section

Case = tuple[str, bytes, list[list[Any]], bool]

BOOT_LOG = (
    b"ets Jun  8 2016 00:22:57\r\n\r\nrst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
    b"configsip: 0, SPIWP:0xee\r\n"
)
TRACEBACK = (
    b'Traceback (most recent call last):\r\n  File "main.py", line 12, in <module>\r\n'
    b"OSError: [Errno 19] ENODEV\r\nMicroPython v1.27.0 on 2025-12-10; ESP32\r\n>>> "
)


def lines_of(text: bytes) -> list[list[Any]]:
    parts = text.replace(b"\r\n", b"\n").split(b"\n")
    return [["line", part.decode()] for part in parts[:-1]]


def all_streams() -> Iterator[Case]:
    """(name, bytes, items, whether some bytes are neither frame nor text)."""
    frames = {name: frame for name, frame, _ in all_frames()}
    first, second = frames["HELLO with everything"], frames["LIVE of a new board"]
    one, two = stuffed(first), stuffed(second)
    good = [["frame", first.hex()], ["frame", second.hex()]]
    yield "two frames", one + two, good, False
    yield "one zero between frames", one + two[1:], good, False
    yield "many zeros", b"\0\0\0" + one + b"\0\0" + two + b"\0", good, False
    yield "a boot log before a frame", BOOT_LOG + one, [*lines_of(BOOT_LOG), good[0]], False
    torn = one[: len(one) // 2]
    yield "a frame torn by a reset", torn + b"\0" + two, [good[1]], True
    items = [good[0], *lines_of(TRACEBACK), ["line", ">>> "], good[1]]
    yield "a traceback between frames", one + TRACEBACK + two, items, False
    long = sealed(section(0x3A, bytes(range(1, 255)) * 3 + bytes(300)))
    yield "groups of 254", stuffed(long), [["frame", long.hex()]], False
    damaged = bytearray(one)
    damaged[2] ^= 0x10
    yield "a bit error in the magic", bytes(damaged) + two, [good[1]], True
    yield "a line that is UTF-8", "Grüße\n".encode() + one, [["line", "Grüße"], good[0]], False
