"""u-blox NEO-6M: position and time from its NMEA 0183 sentences RMC and GGA, UART 9600 baud, 1 Hz.

Everything is integers: 1e-5 degree, decimetres. Source: u-blox 6 Receiver Description, NMEA.
"""

from errno import ETIMEDOUT

from firmware.sensors.base import Sensor, bus_of, range_quality
from firmware.sensors.common import Input, date_seconds
from protocol.quantity import ALTITUDE, HORIZONTAL_ACCURACY, LATITUDE, LONGITUDE
from protocol.wire import CLOCK_GPS, Q_MISSING, Q_OK, Q_SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.sensors.bus import Entry, Hal, Options, Uart, Work

LINE_MAX = 120
YEAR_MIN = 2024
DILUTION_MAX = 500
ACCURACY_DM = 25
TIME_ERROR_MS = 1000


def checked(line: bytes) -> bool:
    """Whether a sentence from "$" to its two checksum digits is whole."""
    star = len(line) - 3
    if star < 6 or line[0] != 0x24 or line[star] != 0x2A:
        return False
    total = 0
    for byte in line[1:star]:
        total ^= byte
    return b"%02X" % total == line[star + 1 :].upper()


def decimal(field: bytes, digits: int) -> int:
    """A decimal number as an integer with so many digits after its point; else ValueError."""
    whole, _, fraction = field.partition(b".")
    return int(whole + (fraction + b"0" * digits)[:digits])


def coordinate(field: bytes, hemisphere: bytes) -> int:
    """Degrees and minutes (dddmm.mmmm) and one of N S E W as 1e-5 degree."""
    minutes = decimal(field, 5)
    degrees, minutes = divmod(minutes, 10000000)
    value = degrees * 100000 + (minutes + 30) // 60
    return -value if hemisphere in (b"S", b"W") else value


def moment(time: bytes, date: bytes) -> int:
    """Unix ms of RMC's hhmmss.ss and ddmmyy; 0 for a date that cannot be."""
    year = 2000 + int(date[4:6])
    if year < YEAR_MIN:
        return 0
    second = date_seconds(
        year, int(date[2:4]), int(date[:2]), int(time[:2]), int(time[2:4]), int(time[4:6])
    )
    if not second:
        return 0
    return second * 1000 + (decimal(time[6:], 3) if len(time) > 7 else 0)


class Neo6m(Sensor):
    """Position at the instant, from the first whole pair of RMC and GGA after begin().

    take_time() gives what the clock may be set from. The board cuts home zones out afterwards.
    """

    CHANNELS = (
        (LATITUDE, None),
        (LONGITUDE, None),
        (ALTITUDE, None),
        (HORIZONTAL_ACCURACY, None),
    )
    LEAD_MS = 600
    ANSWER_MS = 1900

    def __init__(self, bus: "Uart", options: "Options", now_ms: int = 0) -> None:
        self.input = Input(bus, 2 * LINE_MAX)
        self._time: "tuple[int, int, int, int] | None" = None
        self._position: "tuple[int, int] | None" = None
        super().__init__(bus, options, now_ms)

    def take_time(self) -> "tuple[int, int, int, int] | None":
        """(Unix ms, uptime ms, error ms, source) once for each time heard; None when none."""
        time, self._time = self._time, None
        return time

    def measure(self) -> "Work":
        """Listen until RMC and GGA of one epoch have come."""
        self.input.clear()
        heard = 0
        until_ms = self.now_ms + self.LEAD_MS + self.ANSWER_MS
        while self.now_ms < until_ms:
            yield 50
            line = self._line()
            while line is not None:
                kind = self._take(line)
                if kind == 1 or (kind == 2 and heard == 1):
                    heard = kind
                if heard == 2:
                    return
                line = self._line()
        raise OSError(ETIMEDOUT)

    def _line(self) -> "bytes | None":
        """The next whole sentence; a line without end is given up."""
        received = self.input
        received.receive()
        while True:
            received.seek(0x24)
            end = 0
            while end < received.count and received.data[end] != 0x0A:
                end += 1
            if end == received.count:
                if received.count >= LINE_MAX:
                    received.drop(1)
                    continue
                return None
            line = bytes(received.view(end)).strip()
            received.drop(end + 1)
            if checked(line):
                return line
            self.checksum_errors += 1

    def _take(self, line: bytes) -> int:
        """Use a sentence: 1 for RMC, 2 for GGA, 0 for others and for nonsense in them."""
        fields = line[:-3].split(b",")
        try:
            if line[3:6] == b"RMC" and len(fields) >= 10:
                self._recommended(fields)
                return 1
            if line[3:6] == b"GGA" and len(fields) >= 10:
                self._fix(fields)
                return 2
        except ValueError:
            self.checksum_errors += 1
        return 0

    def _recommended(self, fields: "list[bytes]") -> None:
        self._position = None
        if fields[2] != b"A":
            return
        self._position = (coordinate(fields[3], fields[4]), coordinate(fields[5], fields[6]))
        unix_ms = moment(fields[1], fields[9])
        if unix_ms:
            self._time = (unix_ms, self.now_ms, TIME_ERROR_MS, CLOCK_GPS)

    def _fix(self, fields: "list[bytes]") -> None:
        if self._position is None or fields[6] in (b"", b"0"):
            self.flag_all(Q_MISSING)
            return
        latitude, longitude = self._position
        dilution = decimal(fields[8], 2) if fields[8] else 9999
        flag = Q_SUSPECT if dilution >= DILUTION_MAX else Q_OK
        self.put(0, latitude, range_quality(latitude, -9000000, 9000000) or flag)
        self.put(1, longitude, range_quality(longitude, -18000000, 18000000) or flag)
        if fields[9]:
            self.put(2, decimal(fields[9], 1), flag)
        else:
            self.put(2, 0, Q_MISSING)
        self.put(3, dilution * ACCURACY_DM // 100, flag)


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Neo6m:
    """Build it from an entry of board.json."""
    return Neo6m(bus_of(entry, hal), entry.get("options", {}), now_ms)
