"""Maxim DS3231: a clock that goes on without power, and its crystal's temperature, I2C 0x68.

Registers 00..06 hold the date in BCD, 0F bit 7 says that it stood still, 11 and 12 the temperature
in 1/4 degC. Source: Maxim, DS3231 data sheet, rev. 10.
"""

from firmware.sensors.base import Sensor, bus_of, range_quality
from firmware.sensors.common import date_seconds, unix_seconds
from protocol.quantity import CHIP_TEMPERATURE
from protocol.wire import CLOCK_RTC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.sensors.bus import Entry, Hal, I2c, Options, Work

STATUS = 0x0F
TEMPERATURE = 0x11
STOOD_STILL = 0x80
YEAR_MIN = 2024
ERROR_MS = 10000
SET_EVERY_MS = 86400000


def number(bcd: int) -> int:
    """A BCD byte as a number."""
    return (bcd >> 4) * 10 + (bcd & 15)


def bcd(number: int) -> int:
    """A number 0..99 as a BCD byte."""
    return number // 10 << 4 | number % 10


def unix_s(registers: "bytes | bytearray") -> int:
    """Unix time of registers 00..06; 0 for a date that cannot be."""
    second, minute = number(registers[0] & 0x7F), number(registers[1] & 0x7F)
    hour = registers[2]
    if hour & 0x40:
        hour = number(hour & 0x1F) % 12 + (12 if hour & 0x20 else 0)
    else:
        hour = number(hour & 0x3F)
    day, month = number(registers[4] & 0x3F), number(registers[5] & 0x1F)
    year = 2000 + number(registers[6])
    return date_seconds(year, month, day, hour, minute, second) if year >= YEAR_MIN else 0


def date_registers(unix_s: int) -> bytes:
    """Registers 00..06 for a Unix time between 2000 and 2099."""
    days, rest = divmod(unix_s, 86400)
    year = 2000
    while unix_seconds(year + 1, 1, 1, 0, 0, 0) <= unix_s:
        year += 1
    month = 1
    while month < 12 and unix_seconds(year, month + 1, 1, 0, 0, 0) <= unix_s:
        month += 1
    day = days - unix_seconds(year, month, 1, 0, 0, 0) // 86400 + 1
    fields = (rest % 60, rest // 60 % 60, rest // 3600, (days + 3) % 7 + 1, day, month, year - 2000)
    return bytes([bcd(field) for field in fields])


class Ds3231(Sensor):
    """Channel chip temperature. take_time() gives its time, set_time() sets it.

    Its error is unknown to it: 10 s stand for two months at 2 ppm.
    """

    CHANNELS = ((CHIP_TEMPERATURE, None),)
    ANSWER_MS = 300

    def __init__(self, bus: "I2c", options: "Options", now_ms: int = 0) -> None:
        self.address = options.get("address", 0x68)
        self._time: "tuple[int, int, int, int] | None" = None
        self._set_due_ms = now_ms
        super().__init__(bus, options, now_ms)

    def setup(self) -> "Work":
        """Read the time at once: a board that starts without a network needs it."""
        self._read_time()
        return
        yield 0

    def measure(self) -> "Work":
        """Time and temperature."""
        self._read_time()
        raw = self.bus.readfrom_mem(self.address, TEMPERATURE, 2)
        quarters = (raw[0] << 2 | raw[1] >> 6) - (1024 if raw[0] & 0x80 else 0)
        value = (quarters * 5 + 1) // 2
        self.put(0, value, range_quality(value, -400, 850))
        return
        yield 0

    def take_time(self) -> "tuple[int, int, int, int] | None":
        """(Unix ms, uptime ms, error ms, source) once for each reading; None without a time."""
        time, self._time = self._time, None
        return time

    def wants_time(self, now_ms: int) -> bool:
        """Whether it was not set for a day, and has nothing else to do."""
        return self._task is None and self.configured and now_ms >= self._set_due_ms

    def set_time(self, unix_ms: int, now_ms: int) -> None:
        """Set it; that happens at the next full second."""
        self._set_due_ms = now_ms + SET_EVERY_MS
        self._task = self._write_time(unix_ms - now_ms)
        self._measuring = False
        self._due_ms = self.now_ms = now_ms

    def _write_time(self, offset_ms: int) -> "Work":
        yield 1000 - (self.now_ms + offset_ms) % 1000
        second = (self.now_ms + offset_ms + 500) // 1000
        self.bus.writeto_mem(self.address, 0, date_registers(second))
        status = self.bus.readfrom_mem(self.address, STATUS, 1)[0]
        self.bus.writeto_mem(self.address, STATUS, bytes((status & ~STOOD_STILL & 0xFF,)))

    def _read_time(self) -> None:
        self._time = None
        status = self.bus.readfrom_mem(self.address, STATUS, 1)[0]
        second = unix_s(self.bus.readfrom_mem(self.address, 0, 7))
        if second and not status & STOOD_STILL:
            self._time = (second * 1000 + 500, self.now_ms, ERROR_MS, CLOCK_RTC)


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Ds3231:
    """Build it from an entry of board.json."""
    return Ds3231(bus_of(entry, hal), entry.get("options", {}), now_ms)
