"""Sensirion's I2C manners: 16-bit commands, words with CRC-8, and time that a command takes."""

import math
import random
from collections.abc import Mapping
from typing import Any, ClassVar

from simulator.devices.base import ENODEV, I2cDevice, Stimulus


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc << 1) ^ (0x31 if crc & 0x80 else 0)
            crc &= 0xFF
        table.append(crc)
    return tuple(table)


_TABLE = _crc_table()


def crc8(data: bytes) -> int:
    """CRC-8, polynomial 0x31, start 0xFF."""
    crc = 0xFF
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc


def packed(*words: int) -> bytes:
    """Words with their CRCs."""
    found = b""
    for word in words:
        pair = word.to_bytes(2, "big")
        found += pair + bytes((crc8(pair),))
    return found


def unpacked(data: bytes) -> tuple[int, ...]:
    """The arguments of a command. Raises ValueError for a wrong CRC or length."""
    if len(data) % 3:
        raise ValueError("arguments come in groups of three bytes")
    words = []
    for at in range(0, len(data), 3):
        if crc8(data[at : at + 2]) != data[at + 2]:
            raise ValueError("wrong CRC")
        words.append(int.from_bytes(data[at : at + 2], "big"))
    return tuple(words)


def ticks(value: float, span: float, offset: float) -> int:
    """The 16-bit raw word whose span * raw / 65535 + offset is nearest to value."""
    return min(max(round((value - offset) * 65535 / span), 0), 65535)


class WordDevice(I2cDevice):
    """Answers words when they are ready; while a command runs, nothing is acknowledged.

    Faults: bad_checksum (CRCs are wrong), stuck (raw values repeat), slow (commands take ten
    times as long).
    """

    FAULTS: ClassVar[frozenset[str]] = frozenset({"silent", "bad_checksum", "stuck", "slow"})
    ADDRESS = 0
    COMMAND_BYTES = 2
    QUANTITIES: tuple[str, ...] = ()

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self.address = int(self.options.get("address", self.ADDRESS))
        self.serial = tuple(randomness.randrange(65536) for _ in range(3))
        self._held: dict[str, tuple[int, ...]] = {}
        self.power_cycle(now_ms)

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self._answer: bytes | None = None
        self._busy_until_ms = now_ms

    def present(self, now_ms: int) -> bool:
        if self.QUANTITIES and self.gives_nothing(self.QUANTITIES, now_ms):
            return False
        return super().present(now_ms)

    def write(self, data: bytes, now_ms: int) -> None:
        if now_ms < self._busy_until_ms:
            raise OSError(ENODEV, "busy")
        try:
            arguments = unpacked(data[self.COMMAND_BYTES :])
        except ValueError as fault:
            raise OSError(ENODEV, str(fault)) from None
        self._answer = None
        self.obey(int.from_bytes(data[: self.COMMAND_BYTES], "big"), arguments, now_ms)

    def read(self, count: int, now_ms: int) -> bytes:
        if self._answer is None or now_ms < self._busy_until_ms:
            raise OSError(ENODEV, "nothing to read")
        answer, self._answer = self._answer, None
        if self.broken("bad_checksum"):
            answer = bytes(b ^ 0x5A if at % 3 == 2 else b for at, b in enumerate(answer))
        return (answer + b"\xff" * count)[:count]

    def obey(self, command: int, arguments: tuple[int, ...], now_ms: int) -> None:
        """Act upon a command; OSError(ENODEV) for one that it does not take."""
        raise OSError(ENODEV, f"no command {command:04x}")

    def reply(self, now_ms: int, duration_ms: float, *words: int) -> None:
        """Be busy, then have these words ready."""
        self.busy(now_ms, duration_ms)
        self._answer = packed(*words)

    def busy(self, now_ms: int, duration_ms: float) -> None:
        """Acknowledge nothing for so long."""
        factor = 10 if self.broken("slow") else 1
        self._busy_until_ms = now_ms + math.ceil(duration_ms * factor)

    def held(self, name: str, *raw: int) -> tuple[int, ...]:
        """These raw values, or the ones before while the sensor is stuck."""
        if name not in self._held or not self.broken("stuck"):
            self._held[name] = raw
        return self._held[name]

    def noisy(self, raw: int, spread: int) -> int:
        """A raw word as a real converter gives it."""
        return min(max(raw + self.random.randint(-spread, spread), 0), 65535)
