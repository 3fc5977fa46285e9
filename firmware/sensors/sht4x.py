"""Sensirion SHT40, SHT41 and SHT45: temperature and relative humidity, I2C 0x44 to 0x46.

Source: Sensirion, Datasheet SHT4x, version 6.
"""

from errno import EIO

from firmware.sensors.base import bus_of, first_flag, range_quality
from firmware.sensors.crc8 import WordSensor, scaled
from protocol.quantity import HUMIDITY, TEMPERATURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.sensors.bus import Entry, Hal, Work

RESET = b"\x94"
SERIAL = b"\x89"
MEASURE = b"\xfd"
STUCK_AFTER = 30


def temperature(raw: int) -> int:
    """Temperature in 0.01 degC."""
    return scaled(raw, 17500, -4500)


def humidity(raw: int) -> int:
    """Relative humidity in 0.01 %; the formula goes beyond 0..100 %, the air does not."""
    return min(max(scaled(raw, 12500, -600), 0), 10000)


class Sht4x(WordSensor):
    """Channels temperature and humidity. Option "address": 0x44 (default), 0x45 or 0x46."""

    CHANNELS = ((TEMPERATURE, None), (HUMIDITY, None))
    ADDRESS = 0x44
    ANSWER_MS = 300

    def setup(self) -> "Work":
        """A reset, and its serial number as a sign of life."""
        self.bus.writeto(self.address, RESET)
        yield 2
        self.bus.writeto(self.address, SERIAL)
        yield 2
        self.words(2)

    def measure(self) -> "Work":
        """One measurement of high precision; one whose CRC is wrong is repeated once."""
        for attempt in range(2):
            self.bus.writeto(self.address, MEASURE)
            yield 10
            try:
                raw_t, raw_h = self.words(2)
            except OSError as fault:
                if attempt or fault.args[0] != EIO:
                    raise
                continue
            break
        flag = self.stuck((raw_t, raw_h), STUCK_AFTER)
        value = temperature(raw_t)
        self.put(0, value, first_flag(range_quality(value, -4000, 12500), flag))
        self.put(1, humidity(raw_h), flag)


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Sht4x:
    """Build it from an entry of board.json."""
    return Sht4x(bus_of(entry, hal), entry.get("options", {}), now_ms)
