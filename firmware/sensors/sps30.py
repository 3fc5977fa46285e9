"""Sensirion SPS30 on I2C 0x69: particle mass and number concentrations, typical size.

Measures all the time, or option "warm_up_s": sleeps between instants and is woken so long before.
The fan is cleaned every "clean_hours" (168) of this uptime, for the sensor's own timer forgets at
power-off. Source: Sensirion, Datasheet SPS30, version 1.0.
"""

from struct import unpack

from firmware.sensors.base import bus_of, first_flag, range_quality
from firmware.sensors.crc8 import WordSensor
from protocol import quantity as q
from protocol.wire import Q_FAULT, Q_MAINTENANCE, Q_MISSING, Q_OK, Q_SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.bus import Entry, Hal, Options, Work

START, FLOATS = 0x0010, 0x0300
READY = 0x0202
READ = 0x0300
STOP = 0x0104
SLEEP = 0x1001
WAKE = 0x1103
CLEAN = 0x5607
STATUS = 0xD206
FAULT_BITS = 1 << 21 | 1 << 5 | 1 << 4
CLEANING_MS = 12000
LARGEST_MASS, LARGEST_NUMBER = 10000, 30000
STUCK_AFTER = 10
TRIES = 13
LIMIT = 1 << 30


def tenths(values: "Any") -> "list[int]":
    """The ten floats of a reading as integers: 0.1 ug/m3, 0.1/cm3, and 0.01 um."""
    found = []
    for index in range(10):
        value = values[index] * (100 if index == 9 else 10)
        # NaN fails both comparisons and is what no value looks like
        found.append(int(value + 0.5) if 0 <= value < LIMIT else -1)
    return found


def plausible(data: "list[int]") -> bool:
    """Masses and numbers are sums up to a size: they cannot fall with it by more than rounding."""
    for low, high in ((0, 3), (4, 8)):
        for index in range(low, high):
            if data[index] > data[index + 1] + 1:
                return False
    return True


class Sps30(WordSensor):
    """Channels PM1, PM2.5, PM4, PM10, numbers up to 0.5, 1, 2.5, 4, 10 um, typical size."""

    CHANNELS = (
        (q.PM1, None),
        (q.PM2_5, None),
        (q.PM4, None),
        (q.PM10, None),
        (q.NUMBER_0_5, None),
        (q.NUMBER_1, None),
        (q.NUMBER_2_5, None),
        (q.NUMBER_4, None),
        (q.NUMBER_10, None),
        (q.PARTICLE_SIZE, None),
    )
    ADDRESS = 0x69
    ANSWER_MS = 2500
    WARM_UP_MS = 30000
    EAGER = False

    def __init__(self, bus: "Any", options: "Options", now_ms: int = 0) -> None:
        self.duty_ms = options.get("warm_up_s", 0) * 1000
        if self.duty_ms:
            self.LEAD_MS = self.duty_ms
        self.clean_ms = options.get("clean_hours", 168) * 3600000
        self._clean_due_ms = now_ms + self.clean_ms
        self._dirty_until_ms = 0
        super().__init__(bus, options, now_ms)

    def setup(self) -> "Work":
        """Out of whatever state it is in, into measuring or, between instants, into sleep."""
        yield from self.wake()
        yield from self.order(STOP, 30)
        if self.duty_ms:
            yield from self.order(SLEEP, 10)
        else:
            yield from self.order(START, 50)
            self.warm_ms = self.now_ms + self.WARM_UP_MS

    def measure(self) -> "Work":
        """The next second's values; the fan is cleaned afterwards when that is due."""
        if self.duty_ms:
            yield from self.wake()
            yield from self.order(START, 50)
            self.warm_ms = self.now_ms + self.duty_ms - 200
            yield self.duty_ms - 200
        yield from self.values_ready()
        fine = yield from self.healthy()
        data = yield from self.fetch()
        self.keep(data, fine)
        if self.clean_ms and self.now_ms >= self._clean_due_ms:
            self._clean_due_ms = self.now_ms + self.clean_ms
            self._dirty_until_ms = self.now_ms + CLEANING_MS
            yield from self.order(CLEAN, 20)
            if self.duty_ms:
                yield CLEANING_MS
        if self.duty_ms:
            yield from self.order(STOP, 30)
            yield from self.order(SLEEP, 10)

    def wake(self) -> "Work":
        """Twice, for the first one only wakes the interface and is not acknowledged."""
        try:
            self.send(WAKE)
        except OSError:
            yield 5
        yield 5
        self.send(WAKE)
        yield 10

    def order(self, code: int, wait_ms: int) -> "Work":
        """A command without an answer."""
        if code == START:
            self.send(START, FLOATS)
        else:
            self.send(code)
        yield wait_ms

    def values_ready(self) -> "Work":
        """Wait for new values; without any for 1.3 s it has been restarted."""
        for _ in range(TRIES):
            self.send(READY)
            yield 2
            if self.words(1)[0] & 1:
                return
            yield 100
        raise OSError(110)

    def healthy(self) -> "Any":
        """Whether fan speed, laser and fan are right."""
        self.send(STATUS)
        yield 2
        high, low = self.words(2)
        return (high << 16 | low) & FAULT_BITS == 0

    def fetch(self) -> "Any":
        """The ten floats, as integers."""
        self.send(READ)
        yield 2
        words = self.words(20)
        raw = bytearray()
        for value in words:
            raw.append(value >> 8)
            raw.append(value & 255)
        return tenths(unpack(">10f", raw))

    def keep(self, data: "list[int]", fine: bool) -> None:
        """Put the values with what is known of them."""
        flag = Q_OK if fine else Q_FAULT
        if self.now_ms < self._dirty_until_ms:
            flag = first_flag(flag, Q_MAINTENANCE)
        flag = first_flag(flag, self.warming())
        flag = first_flag(flag, Q_OK if plausible(data) else Q_SUSPECT)
        if data[4] > 0:
            flag = first_flag(flag, self.stuck(data, STUCK_AFTER))
        for index in range(10):
            value = data[index]
            largest = LARGEST_MASS if index < 4 else LARGEST_NUMBER
            quality = Q_MISSING if value < 0 else range_quality(value, 0, largest)
            self.put(index, value, first_flag(quality, flag))


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Sps30:
    """Build it from an entry of board.json."""
    return Sps30(bus_of(entry, hal), entry.get("options", {}), now_ms)
