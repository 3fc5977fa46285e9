"""Plantower PMS5003 and PMS7003: particle mass and counts, UART 9600 baud.

Frames of 32 bytes: 42 4D, length 28, 13 words (big-endian), sum. Both of the sensor's conversions
to mass are kept: CF=1 (its factory calibration) and atmospheric. Source: Plantower data manual
series PMS5003, V2.3.
"""

from errno import ETIMEDOUT

from firmware.sensors.base import Sensor, bus_of, first_flag, range_quality
from firmware.sensors.common import Input
from protocol import quantity as q
from protocol.wire import Q_FAULT, Q_OK, Q_SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.bus import Entry, Hal, Options, Uart, Work

LENGTH = 32
LENGTH_MAX = 44
LARGEST = 1000
STUCK_AFTER = 10
REPLY_MS = 800


def command(kind: int, value: int) -> bytes:
    """A command of 7 bytes."""
    body = bytes((0x42, 0x4D, kind, 0, value))
    return body + sum(body).to_bytes(2, "big")


PASSIVE = command(0xE1, 0)
ASK = command(0xE2, 0)
SLEEP = command(0xE4, 0)
WAKE = command(0xE4, 1)


def frame_length(head: "Any") -> int:
    """Length of the frame that starts with these 4 bytes; 0 when they start none."""
    length = (head[2] << 8 | head[3]) + 4
    right = head[0] == 0x42 and head[1] == 0x4D and 8 <= length <= LENGTH_MAX
    return length if right else 0


def checked(frame: "Any") -> bool:
    """Whether the sum of a whole frame is right."""
    return bool(sum(frame[:-2]) == frame[-2] << 8 | frame[-1])


def words(frame: "Any") -> "list[int]":
    """The 13 words of a frame: 3 masses CF=1, 3 atmospheric, 6 counts, version and error."""
    return [frame[at] << 8 | frame[at + 1] for at in range(4, LENGTH - 2, 2)]


def plausible(data: "list[int]") -> bool:
    """Masses must grow with size, counts must fall, and dust without particles there is none."""
    for low in (0, 3):
        if not data[low] <= data[low + 1] <= data[low + 2]:
            return False
    for index in range(6, 11):
        if data[index] < data[index + 1]:
            return False
    return data[6] > 0 or data[5] == 0


class Pms5003(Sensor):
    """Asked at the instant. Option "warm_up_s": sleep between instants and wake so long before;
    with it "set_pin": the chip's pin on SET, for sensors that do not obey the sleep command.
    """

    CHANNELS = (
        (q.PM1_CF1, 0),
        (q.PM2_5_CF1, 0),
        (q.PM10_CF1, 0),
        (q.PM1, 0),
        (q.PM2_5, 0),
        (q.PM10, 0),
        (q.COUNT_0_3, None),
        (q.COUNT_0_5, None),
        (q.COUNT_1, None),
        (q.COUNT_2_5, None),
        (q.COUNT_5, None),
        (q.COUNT_10, None),
    )
    ANSWER_MS = 3000
    WARM_UP_MS = 30000

    def __init__(
        self, bus: "Uart", options: "Options", now_ms: int = 0, set_pin: "Any" = None
    ) -> None:
        self.input = Input(bus, 2 * LENGTH_MAX)
        self.set_pin = set_pin
        self.duty_ms = options.get("warm_up_s", 0) * 1000
        if self.duty_ms:
            self.LEAD_MS = self.duty_ms
        super().__init__(bus, options, now_ms)

    def setup(self) -> "Work":
        """Wake it, and make it speak only when asked."""
        self._wake()
        yield 50
        self.bus.write(PASSIVE)
        yield 50
        if self.duty_ms:
            self._sleep()

    def measure(self) -> "Work":
        """Ask up to three times; a sensor that streams nevertheless is heard as well."""
        if self.duty_ms:
            self._wake()
            self.warm_ms = self.now_ms + self.duty_ms
            yield self.duty_ms - 100
            self.bus.write(PASSIVE)
            yield 100
        self.input.clear()
        for _ in range(3):
            self.bus.write(ASK)
            until_ms = self.now_ms + REPLY_MS
            while self.now_ms < until_ms:
                yield 20
                if self._take():
                    if self.duty_ms:
                        self._sleep()
                    return
        raise OSError(ETIMEDOUT)

    def _wake(self) -> None:
        if self.set_pin is not None:
            self.set_pin.value(1)
        self.bus.write(WAKE)

    def _sleep(self) -> None:
        self.bus.write(SLEEP)
        if self.set_pin is not None:
            self.set_pin.value(0)

    def _take(self) -> bool:
        received = self.input
        received.receive()
        while True:
            received.seek(0x42)
            if received.count < 4:
                return False
            length = frame_length(received.data)
            if length == 0:
                received.drop(1)
                continue
            if received.count < length:
                return False
            frame = received.view(length)
            if not checked(frame):
                self.checksum_errors += 1
                received.drop(1)
                continue
            if length == LENGTH:
                self._keep(words(frame))
            elif length > 8:
                self.flag_all(Q_FAULT)
            received.drop(length)
            if length > 8:
                return True

    def _keep(self, data: "list[int]") -> None:
        flag = Q_FAULT if data[12] & 255 else self.warming()
        flag = first_flag(flag, Q_OK if plausible(data) else Q_SUSPECT)
        if data[6]:
            flag = first_flag(flag, self.stuck(data[:12], STUCK_AFTER))
        for index in range(12):
            limit = LARGEST if index < 6 else 65535
            self.put(index, data[index], first_flag(range_quality(data[index], 0, limit), flag))


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Pms5003:
    """Build it from an entry of board.json."""
    options = entry.get("options", {})
    pin = hal.pin(options["set_pin"]) if "set_pin" in options else None
    return Pms5003(bus_of(entry, hal), options, now_ms, pin)
