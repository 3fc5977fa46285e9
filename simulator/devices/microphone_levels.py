"""The sound level meter of boards that run in fleets and through days: levels without samples.

It gives what firmware.noise.meter would, from the stimulus' levels themselves, at once. The
firmware's meter over sampled sound is 15 times faster than time under CPython, this one a million
times; a test holds the two together.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from firmware.noise import bands, checks, microphones
from firmware.noise.channels import BANDS, FIRST_BAND, LEVELS, channels
from protocol.wire import Q_OK
from simulator.devices.microphone import Microphone, SimulatedI2s, full_scale_db

POINTS_MAX = 120
DISCARDED_MS = 500
FLUCTUATION_DB = 0.3  # of LAF over shaped noise
C_ABOVE_A_DB = 1.3  # of the simulated noise
PEAK_ABOVE_DB = 14.0
PINK_BELOW_A_DB = 11.8  # a band of the simulated noise, Z-weighted
_FAULTS = {
    "silent": checks.SILENT,
    "swapped": checks.SILENT,
    "half_lost": checks.RATE,
    "wrong_rate": checks.RATE,
    "shifted": checks.SHIFTED,
    "shifted_left": checks.SHIFTED,
    "offset": checks.OFFSET,
    "clipped": checks.OVERLOAD,
}


class LevelPort:
    """Stands where an I2S port would: it hands over a meter instead of samples."""

    def __init__(self, i2s: SimulatedI2s) -> None:
        self._i2s = i2s

    def meter(self, options: Mapping[str, Any], now_ms: int) -> "LevelMeter":
        """The meter on the port's microphone."""
        return LevelMeter(self._i2s.microphone, self._i2s.clock, options)


class LevelMeter:
    """A sensor as the node sees it; clock is the models'."""

    LEAD_MS = 0
    ANSWER_MS = 300

    def __init__(
        self, microphone: Microphone, clock: Callable[[], int], options: Mapping[str, Any]
    ) -> None:
        if options.get("histogram"):
            raise ValueError("levels without samples have no histogram: leave the option out")
        self.CHANNELS = channels(dict(options))
        self.ready = False
        self.bus_errors = 0
        self.checksum_errors = 0
        self.reasons = 0
        self._threshold_db: float | None = options.get("threshold_db")
        self._bands: str | None = options.get("bands")
        self._calibration_db: float = options.get("calibration_db", 0.0)
        self._microphone = microphone
        self._kind = microphones.by_name(options.get("microphone", "flat"))
        self._clock = clock
        self._from_ms = clock() + DISCARDED_MS
        self._to_ms = self._from_ms

    def calibrate(self, calibration_db: float) -> None:
        """Take a new calibration constant: what is added to all levels."""
        self._calibration_db = calibration_db

    def begin(self, now_ms: int) -> None:
        """End the period."""
        self._to_ms = self._clock()
        self.ready = True

    def poll(self, now_ms: int) -> int:
        """Nothing to do between instants."""
        return -1

    def read(self, row: Any) -> None:
        """Give the period's values."""
        period_ms = max(0, self._to_ms - self._from_ms)
        heard = self._levels(period_ms)
        if self._microphone.broken("gaps"):
            period_ms = period_ms * 9 // 10
        code, trusted = self._judge(period_ms)
        values = _statistics(heard) if trusted and heard else [0.0] * len(LEVELS)
        for index, value in enumerate(values):
            row.put(index, round(value * 10), code)
        row.put(len(LEVELS), period_ms, Q_OK)
        if self._threshold_db is not None:
            above = sum(level_db >= self._threshold_db for level_db in heard)
            row.put(len(LEVELS) + 1, period_ms * above // max(1, len(heard)), code)
        index = len(LEVELS) + (1 if self._threshold_db is None else 2)
        if self._bands is not None:
            row.put_vector(index, _spectrum(values[0], self._bands == "a", trusted), code)
        self._from_ms = max(self._from_ms, self._to_ms)
        self.ready = False

    def _levels(self, period_ms: int) -> list[float]:
        count = min(POINTS_MAX, max(1, period_ms // 1000)) if period_ms else 0
        own = 10 ** (self._kind.floor_db / 10)
        levels = []
        for point in range(count):
            at_ms = self._from_ms + period_ms * (2 * point + 1) // (2 * count)
            level_db = self._microphone.sense("laeq", at_ms)
            energy = own if level_db is None else own + 10 ** (level_db / 10)
            limit_db = full_scale_db(self._kind)
            levels.append(min(limit_db, 10 * math.log10(energy)) + self._calibration_db)
        return levels

    def _judge(self, period_ms: int) -> tuple[int, bool]:
        self.reasons = 0 if period_ms else 1 << checks.NO_SOUND
        for name, reason in _FAULTS.items():
            if self._microphone.broken(name):
                self.reasons |= 1 << reason
        return checks.quality(self.reasons)


def _spectrum(level_db: float, a_weighted: bool, trusted: bool) -> list[int]:
    """Half decibels of the bands of the simulated noise: pink from 50 Hz to 16 kHz."""
    found = []
    for band in range(FIRST_BAND, FIRST_BAND + BANDS):
        frequency_hz = bands.center_hz(band)
        band_db = level_db - PINK_BELOW_A_DB
        if a_weighted:
            band_db += bands.a_weighting_db(frequency_hz) - bands.a_weighting_db(1000.0)
        inside = trusted and 45.0 < frequency_hz < 17_000.0
        found.append(round(2 * max(0.0, band_db)) if inside else 0)
    return found


def _statistics(levels: Sequence[float]) -> list[float]:
    """The scalars of firmware.noise.channels.LEVELS."""
    ordered = sorted(levels, reverse=True)
    mean_db = 10 * math.log10(sum(10 ** (level / 10) for level in levels) / len(levels))
    exceeded = [ordered[min(len(ordered) - 1, len(ordered) * n // 100)] for n in (10, 50, 90)]
    return [
        mean_db,
        ordered[0] + FLUCTUATION_DB,
        ordered[-1] - FLUCTUATION_DB,
        *exceeded,
        mean_db + C_ABOVE_A_DB,
        ordered[0] + PEAK_ABOVE_DB,
    ]
