"""Maxim DS3231 at its registers."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from simulator.devices.base import I2cDevice, Stimulus

START_UNIX_MS = 1_767_225_600_000


def bcd(value: int) -> int:
    """0..99 as BCD."""
    return int(str(value), 16)


class Ds3231(I2cDevice):
    """Goes on without power. Options: start_unix_ms, drift_ppm, twelve_hours.

    Faults: stopped (its oscillator stood still, as with an empty battery).
    """

    FAULTS: ClassVar[frozenset[str]] = frozenset({"silent", "stopped"})

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self.address = int(self.options.get("address", 0x68))
        self.drift_ppm = float(self.options.get("drift_ppm", randomness.uniform(-2, 2)))
        self._unix_ms = int(self.options.get("start_unix_ms", START_UNIX_MS))
        self._set_at_ms = now_ms
        self._pointer = 0

    def unix_ms(self, now_ms: int) -> int:
        """What the clock shows."""
        passed = now_ms - self._set_at_ms
        return self._unix_ms + passed + round(passed * self.drift_ppm / 1e6)

    def write(self, data: bytes, now_ms: int) -> None:
        self._pointer = data[0]
        rest = data[1:]
        if self._pointer == 0 and len(rest) >= 7:
            self._set(rest[:7], now_ms)
        elif self._pointer == 0x0F and rest and not rest[0] & 0x80:
            self.mend("stopped")

    def _set(self, fields: bytes, now_ms: int) -> None:
        second, minute, hour, _, day, month, year = (int(f"{field:02x}") for field in fields)
        when = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
        self._unix_ms = round(when.timestamp()) * 1000
        self._set_at_ms = now_ms

    def read(self, count: int, now_ms: int) -> bytes:
        registers = bytearray(0x13)
        registers[0:7] = self._date(now_ms)
        registers[0x0F] = 0x80 if self.broken("stopped") else 0
        quarters = round((self.sense("chip_temperature", now_ms) or 21.0) * 4)
        registers[0x11:0x13] = ((quarters & 0x3FF) << 6).to_bytes(2, "big")
        answer = bytes(registers[self._pointer : self._pointer + count])
        return answer + bytes(count - len(answer))

    def _date(self, now_ms: int) -> bytes:
        when = datetime.fromtimestamp(self.unix_ms(now_ms) // 1000, UTC)
        hour = bcd(when.hour)
        if self.options.get("twelve_hours"):
            hour = 0x40 | (0x20 if when.hour >= 12 else 0) | bcd(when.hour % 12 or 12)
        return bytes(
            (
                bcd(when.second),
                bcd(when.minute),
                hour,
                when.isoweekday(),
                bcd(when.day),
                bcd(when.month),
                bcd(when.year % 100),
            )
        )
