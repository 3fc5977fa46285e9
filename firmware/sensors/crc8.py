"""Sensirion's CRC-8 (polynomial 0x31, start 0xFF, not reflected), one after each 16-bit word."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def crc8(data: "Any") -> int:
    """CRC of bytes."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ 0x131 if crc & 0x80 else crc << 1
    return crc


def word(view: "Any", index: int) -> "int | None":
    """The index-th 16-bit word of an answer; None when its CRC does not fit."""
    at = index * 3
    if crc8(view[at : at + 2]) != view[at + 2]:
        return None
    return int(view[at]) << 8 | int(view[at + 1])


def command(code: int, *arguments: int) -> bytes:
    """A command of 16 bits and its arguments, each followed by its CRC."""
    message = bytearray((code >> 8, code & 255))
    for argument in arguments:
        pair = bytes((argument >> 8, argument & 255))
        message.extend(pair)
        message.append(crc8(pair))
    return bytes(message)
