"""u-blox NEO-6M: NMEA sentences once a second, with a fix some time after power-on."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from simulator.devices.base import Stimulus, UartDevice

PERIOD_MS = 1000
LATENCY_MS = 150
COLD_START_MS = 27000
ROLLOVER = timedelta(weeks=1024)
START_UNIX_MS = 1_767_225_600_000


def sentence(body: str) -> bytes:
    """A sentence with its checksum."""
    total = 0
    for byte in body.encode("ascii"):
        total ^= byte
    return f"${body}*{total:02X}\r\n".encode("ascii")


def angle(degrees: float, digits: int, letters: str) -> str:
    """ddmm.mmmmm and hemisphere, as NMEA wants it; digits is the width of the degrees."""
    letter = letters[0] if degrees >= 0 else letters[1]
    total = round(abs(degrees) * 6_000_000)
    whole, rest = divmod(total, 6_000_000)
    return f"{whole:0{digits}d}{rest // 100_000:02d}.{rest % 100_000:05d},{letter}"


class Neo6m(UartDevice):
    """Unix time is the stimulus "unix_ms", else the option "start_unix_ms" plus the model's time.

    No latitude or longitude in the stimulus: no fix, as under a bridge. Faults: rollover (its date
    is 1024 weeks old), slow (sentences come a second late), poor (HDOP 9), torn.
    """

    FAULTS: ClassVar[frozenset[str]] = frozenset(
        {"silent", "bad_checksum", "torn", "slow", "rollover", "poor"}
    )

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self.start_unix_ms = int(self.options.get("start_unix_ms", START_UNIX_MS))
        self._next_ms = now_ms + PERIOD_MS

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self._next_ms = now_ms + PERIOD_MS

    def advance(self, now_ms: int) -> None:
        if now_ms - self._next_ms > 3 * PERIOD_MS:
            behind = (now_ms - self._next_ms) // PERIOD_MS - 3
            self._next_ms += behind * PERIOD_MS
        late_ms = LATENCY_MS + (1000 if self.broken("slow") else 0)
        while self._next_ms <= now_ms:
            self._epoch(self._next_ms, self._next_ms + late_ms)
            self._next_ms += PERIOD_MS

    def _epoch(self, at_ms: int, due_ms: int) -> None:
        unix_ms = self.sense("unix_ms", at_ms)
        second = round((self.start_unix_ms + at_ms if unix_ms is None else unix_ms) / 1000)
        when = datetime.fromtimestamp(second, UTC)
        if self.broken("rollover"):
            when -= ROLLOVER
        time, date = when.strftime("%H%M%S.00"), when.strftime("%d%m%y")
        latitude, longitude = self.sense("latitude", at_ms), self.sense("longitude", at_ms)
        fixed = at_ms - self.powered_ms >= COLD_START_MS
        if latitude is None or longitude is None or not fixed:
            self.say(sentence(f"GPRMC,{time},V,,,,,,,{date},,,N"), due_ms)
            self.say(sentence(f"GPGGA,{time},,,,,0,00,99.99,,,,,,"), due_ms + 60)
            return
        place = f"{angle(latitude, 2, 'NS')},{angle(longitude, 3, 'EW')}"
        altitude = self.sense("altitude", at_ms) or 0.0
        dilution = 9.0 if self.broken("poor") else 1.2
        accuracy = self.sense("horizontal_accuracy", at_ms)
        dilution = dilution if accuracy is None else accuracy / 2.5
        self.say(sentence(f"GPRMC,{time},A,{place},0.004,77.52,{date},,,A"), due_ms)
        self.say(sentence("GPVTG,77.52,T,,M,0.004,N,0.008,K,A"), due_ms + 40)
        fix = f"{place},1,08,{dilution:.2f},{altitude:.1f},M,46.9,M,,"
        self.say(sentence(f"GPGGA,{time},{fix}"), due_ms + 60)
