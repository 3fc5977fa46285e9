"""Nova SDS011: PM2.5 and PM10 by laser scattering, UART 9600 baud.

Replies of 10 bytes: AA C0 PM2.5(LE) PM10(LE) id(2) sum AB, in 0.1 ug/m3; C5 answers a command.
Source: Nova Fitness, Laser Dust Sensor Control Protocol V1.3.
"""

from errno import ETIMEDOUT

from firmware.sensors.base import Sensor, bus_of, first_flag, range_quality
from firmware.sensors.common import Input
from protocol.quantity import PM2_5, PM10
from protocol.wire import Q_MISSING, Q_SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.bus import Entry, Hal, Options, Uart, Work

LENGTH = 10
DATA = 0xC0
NO_VALUE = 0xFFFF
LARGEST = 9999
STUCK_AFTER = 60
STUCK_ABOVE = 50
REPLY_MS = 150


def command(*data: int) -> bytes:
    """A command of 19 bytes to whatever sensor is on the line."""
    body = bytes(data) + bytes(13 - len(data)) + b"\xff\xff"
    return b"\xaa\xb4" + body + bytes((sum(body) & 255, 0xAB))


ASK = command(4)
QUERY_MODE = command(2, 1, 1)
WORK = command(6, 1, 1)
SLEEP = command(6, 1, 0)
NO_PERIOD = command(8, 1, 0)


def checked(frame: "Any") -> bool:
    """Whether the sum and the tail of a 10-byte reply are right."""
    return bool(frame[9] == 0xAB and sum(frame[2:8]) & 255 == frame[8])


def values(frame: "Any") -> "tuple[int, int]":
    """(PM2.5, PM10) of a data reply, in 0.1 ug/m3."""
    return frame[2] | frame[3] << 8, frame[4] | frame[5] << 8


class Sds011(Sensor):
    """Asked at the instant. Option "warm_up_s": sleep between instants and wake so long before."""

    CHANNELS = ((PM10, None), (PM2_5, None))
    ANSWER_MS = 1300
    WARM_UP_MS = 15000

    def __init__(self, bus: "Uart", options: "Options", now_ms: int = 0) -> None:
        self.input = Input(bus, 2 * LENGTH)
        self.duty_ms = options.get("warm_up_s", 0) * 1000
        if self.duty_ms:
            self.LEAD_MS = self.duty_ms
        super().__init__(bus, options, now_ms)

    def setup(self) -> "Work":
        """Wake it, and make it speak only when asked; the settings of earlier owners persist."""
        for order in (WORK, QUERY_MODE, NO_PERIOD):
            self.bus.write(order)
            yield 20
        if self.duty_ms:
            yield 20
            self.bus.write(SLEEP)

    def measure(self) -> "Work":
        """Ask up to three times, or wait for a second of its own stream if it obeys no command."""
        if self.duty_ms:
            self.bus.write(WORK)
            self.warm_ms = self.now_ms + self.duty_ms
            yield self.duty_ms
        speaks_unasked = self.bus.any() > 0
        self.input.clear()
        for _ in range(8 if speaks_unasked else 3):
            self.bus.write(ASK)
            until_ms = self.now_ms + REPLY_MS
            while self.now_ms < until_ms:
                yield 10
                if self._take():
                    if self.duty_ms:
                        self.bus.write(SLEEP)
                    return
        raise OSError(ETIMEDOUT)

    def _take(self) -> bool:
        received = self.input
        received.receive()
        while True:
            received.seek(0xAA)
            if received.count < LENGTH:
                return False
            frame = received.view(LENGTH)
            if checked(frame):
                found = frame[1] == DATA
                if found:
                    self._keep(values(frame))
                received.drop(LENGTH)
                if found:
                    return True
            else:
                self.checksum_errors += 1
                received.drop(1)

    def _keep(self, pair: "tuple[int, int]") -> None:
        fine, coarse = pair
        quality = self.warming()
        if coarse < fine < NO_VALUE:
            quality = first_flag(quality, Q_SUSPECT)
        if fine > STUCK_ABOVE:
            quality = first_flag(quality, self.stuck(pair, STUCK_AFTER))
        for index, value in enumerate((coarse, fine)):
            if value == NO_VALUE:
                self.put(index, 0, Q_MISSING)
            else:
                self.put(index, value, first_flag(range_quality(value, 0, LARGEST), quality))


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Sds011:
    """Build it from an entry of board.json."""
    return Sds011(bus_of(entry, hal), entry.get("options", {}), now_ms)
