"""Sensirion SHT31: temperature and relative humidity, I2C 0x44 or 0x45.

Single shots of high repeatability. Source: Sensirion, Datasheet SHT3x-DIS, version 7.
"""

from errno import EIO

from firmware.sensors.base import bus_of, first_flag, range_quality
from firmware.sensors.crc8 import WordSensor, scaled
from protocol.quantity import HUMIDITY, TEMPERATURE
from protocol.wire import Q_MAINTENANCE, Q_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.bus import Entry, Hal, Work

RESET = 0x30A2
STATUS = 0xF32D
CLEAR_STATUS = 0x3041
SINGLE_SHOT = 0x2400
HEATER_ON = 1 << 13
STUCK_AFTER = 30


def temperature(raw: int) -> int:
    """Temperature in 0.01 degC."""
    return scaled(raw, 17500, -4500)


def humidity(raw: int) -> int:
    """Relative humidity in 0.01 %."""
    return scaled(raw, 10000, 0)


class Sht31(WordSensor):
    """Channels temperature and humidity. Option "address": 0x44 (default) or 0x45."""

    CHANNELS = ((TEMPERATURE, None), (HUMIDITY, None))
    ADDRESS = 0x44
    ANSWER_MS = 300

    def setup(self) -> "Work":
        """A reset, and what it says of itself."""
        self.send(RESET)
        yield 3
        self.send(STATUS)
        yield 2
        self.words(1)
        self.send(CLEAR_STATUS)

    def measure(self) -> "Work":
        """A single shot; one whose CRC is wrong is repeated once."""
        try:
            status, raw_t, raw_h = yield from self._shot()
        except OSError as fault:
            if fault.args[0] != EIO:
                raise
            status, raw_t, raw_h = yield from self._shot()
        flag = Q_MAINTENANCE if status & HEATER_ON else Q_OK
        flag = first_flag(flag, self.stuck((raw_t, raw_h), STUCK_AFTER))
        value = temperature(raw_t)
        self.put(0, value, first_flag(range_quality(value, -4000, 12500), flag))
        self.put(1, humidity(raw_h), flag)

    def _shot(self) -> "Any":
        self.send(STATUS)
        yield 2
        status = self.words(1)[0]
        self.send(SINGLE_SHOT)
        yield 17
        raw_t, raw_h = self.words(2)
        return status, raw_t, raw_h


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Sht31:
    """Build it from an entry of board.json."""
    return Sht31(bus_of(entry, hal), entry.get("options", {}), now_ms)
