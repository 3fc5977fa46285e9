"""Sensirion on I2C: 16-bit words, each followed by CRC-8 (0x31, start 0xFF, not reflected)."""

from errno import EIO

from firmware.sensors.base import Sensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.bus import I2c, Options


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


def scaled(raw: int, span: int, offset: int) -> int:
    """span * raw / 65535 + offset, rounded."""
    return (span * raw + 32767) // 65535 + offset


class WordSensor(Sensor):
    """A sensor that takes commands and gives words with CRC."""

    ADDRESS = 0

    def __init__(self, bus: "I2c", options: "Options", now_ms: int = 0) -> None:
        self.address = options.get("address", self.ADDRESS)
        super().__init__(bus, options, now_ms)

    def send(self, code: int, *arguments: int) -> None:
        """Send a command; OSError when nobody takes it."""
        self.bus.writeto(self.address, command(code, *arguments))

    def words(self, count: int) -> "list[int]":
        """Read so many words; OSError without an answer or with a wrong CRC."""
        answer = bytearray(3 * count)
        self.bus.readfrom_into(self.address, answer)
        found = []
        for index in range(count):
            value = word(answer, index)
            if value is None:
                self.checksum_errors += 1
                raise OSError(EIO)
            found.append(value)
        return found
