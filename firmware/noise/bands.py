"""One-third-octave bands from 20 Hz to 20 kHz by transforms of three decimated tiers.

    tier   rate     points   bin       bands            heard
    high   48 kHz   1024     46.9 Hz   800 Hz - 20 kHz  21 ms of every 170 ms
    middle  6 kHz   1024      5.9 Hz   100 Hz - 630 Hz  all
    low   750 Hz     576      1.3 Hz    20 Hz - 80 Hz   all

One complex transform serves a frame of the high tier and one of the middle tier. The low tier is
summed bin by bin as samples come, so that no sound is held for longer than 170 ms. All windows are
Hann's; bins at a band's edge count by the share that lies inside (IEC 61260-1:2014, base ten).
"""

from array import array
from math import cos, log10, pi, sin

from firmware.noise.channels import BANDS, FIRST_BAND
from firmware.noise.levels import energy_level
from firmware.noise.state import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.noise.microphones import Microphone

POINTS = 1024
HEARD = 1020  # samples of a frame: 17 blocks of the middle tier
FRAME_BLOCKS = 17
SLOW_POINTS = 576
RATIO = 8
ORDER = 4
HIGH, MIDDLE, LOW = 0, 1, 2
_FIRST_OF = (29, 20, 13)
_LAST_OF = (43, 28, 19)
_RATE_HZ = (48000.0, 6000.0, 750.0)
_POINTS_OF = (POINTS, POINTS, SLOW_POINTS)
_A_BLOCK = BLOCK // RATIO
_RAW_SHIFT = 12  # of the left-justified samples into the first decimator
_NEXT_SHIFT = 12
_WORDS = 7
_RISE = 10  # energies are kept << 10
_BITS = 15
_FULL_SCALE_BITS = 23
# amplitude of a tone in the tiers' transforms, relative to its amplitude in 24-bit samples:
# the first two come out of split() doubled
_GAIN_BITS = (1, 9, -1)
_POLES_HZ = (20.598997, 107.65265, 737.86223, 12194.217)


def center_hz(band: int) -> float:
    """Exact mid-band frequency."""
    return float(10 ** (band / 10))


def edges(band: int, bin_hz: float) -> "tuple[int, int, int]":
    """(first bin, number of bins, shares of the first and of the last bin in 256ths, << 16)."""
    half = 10 ** (1 / 20)
    low = center_hz(band) / half / bin_hz + 0.5
    high = center_hz(band) * half / bin_hz + 0.5
    first, last = int(low), int(high)
    below = round((1 - (low - first)) * 256)
    above = round((high - last) * 256)
    return first, last - first + 1, below | above << 16


def droop_db(frequency_hz: float, rate_hz: float) -> float:
    """What one decimator does to a frequency, dB."""
    angle = pi * frequency_hz / rate_hz
    return 20 * ORDER * log10(sin(RATIO * angle) / (RATIO * sin(angle)))


def a_weighting_db(frequency_hz: float) -> float:
    """A weighting before its normalisation at 1 kHz (IEC 61672-1:2013, annex E)."""
    f2 = frequency_hz * frequency_hz
    gain = f2 * f2
    for pole in _POLES_HZ:
        gain /= (f2 + pole * pole) ** 0.5
    for pole in (_POLES_HZ[0], _POLES_HZ[3]):
        gain /= (f2 + pole * pole) ** 0.5
    return 20 * log10(gain * _POLES_HZ[3] ** 2)


def response_db(microphone: "Microphone", frequency_hz: float) -> float:
    """A microphone's gain, dB re low frequencies without its roll-off."""
    gain_db = 0.0
    if microphone.rolloff_hz:
        gain_db -= 20 * log10(1 + (microphone.rolloff_hz / frequency_hz) ** 2)
    if microphone.resonance is not None:
        ratio = frequency_hz / microphone.resonance[0]
        gain_db -= 10 * log10((1 - ratio * ratio) ** 2 + (ratio / microphone.resonance[1]) ** 2)
    return gain_db


class Bands:
    """Takes blocks of sound, gives levels of the bands over a period.

    kernel: firmware.noise.spectrum_kernel or .spectrum_reference.
    """

    def __init__(self, kernel: "Any", microphone: "Microphone", a_weighted: bool) -> None:
        self._kernel = kernel
        self._order = array("H", [_reversed(place) for place in range(POINTS)])
        self._window = array("H", [_hann(self._order[k], HEARD, 32767) for k in range(POINTS)])
        self._slow_window = array("H", [_hann(k, SLOW_POINTS, 4096) for k in range(SLOW_POINTS)])
        self._turns = array("i", bytes(4 * POINTS))
        for k in range(POINTS // 2):
            self._turns[2 * k] = round(16384 * cos(2 * pi * k / POINTS))
            self._turns[2 * k + 1] = round(-16384 * sin(2 * pi * k / POINTS))
        self._cosines = array("i", bytes(4 * SLOW_POINTS))
        for k in range(SLOW_POINTS):
            self._cosines[k] = round(8192 * cos(2 * pi * k / SLOW_POINTS))
        self._z = array("i", bytes(4 * (2 * POINTS)))
        self._middle_sums = array("i", bytes(4 * 8))
        self._low_sums = array("i", bytes(4 * 8))
        queue = memoryview(array("i", bytes(4 * (_A_BLOCK + 4))))
        self._queue = queue
        self._fresh = (queue[:_A_BLOCK], queue[4:])
        self._slow_samples = array("i", bytes(4 * RATIO))
        self._plans = [self._plan(tier) for tier in (HIGH, MIDDLE, LOW)]
        low = self._plans[LOW]
        self._slow_first = low[0][1]
        self._slow_bins = low[-1][1] + low[-1][2] - self._slow_first
        self._slow = array("i", bytes(4 * (2 * self._slow_bins)))
        book = memoryview(array("i", bytes(4 * (_WORDS * BANDS))))
        self._book = book
        self._energies = [book[_WORDS * k : _WORDS * (k + 1)] for k in range(BANDS)]
        self._frames = [0, 0, 0]
        self._offsets = [
            self._offset_db(FIRST_BAND + k, microphone, a_weighted) for k in range(BANDS)
        ]
        self._known = array("h", bytes(2 * BANDS))
        self.values = array("h", bytes(2 * BANDS))  # half decibels of the period closed last
        self.reset()

    def _plan(self, tier: int) -> "list[tuple[int, int, int, int]]":
        """(place among all bands, first bin, bins, shares) of each band of a tier."""
        bin_hz = _RATE_HZ[tier] / _POINTS_OF[tier]
        plan = []
        for band in range(_FIRST_OF[tier], _LAST_OF[tier] + 1):
            first, count, shares = edges(band, bin_hz)
            plan.append((band - FIRST_BAND, first, count, shares))
        return plan

    def _offset_db(self, band: int, microphone: "Microphone", a_weighted: bool) -> float:
        """What turns a band's mean energy per frame into dB."""
        frequency_hz = center_hz(band)
        tier = _tier(band)
        heard = SLOW_POINTS if tier == LOW else HEARD
        # a full-scale sine: N * (sum of squared window) * amplitude ** 2 / 4, halved by gather()
        full_db = 10 * log10(_POINTS_OF[tier] * 0.375 * heard / 8)
        full_db += 20 * log10(2) * (_FULL_SCALE_BITS + _GAIN_BITS[tier]) + 10 * log10(2) * _RISE
        offset_db = 94.0 - microphone.sensitivity_db - full_db
        offset_db -= response_db(microphone, frequency_hz) - response_db(microphone, 1000.0)
        if tier != HIGH:
            offset_db -= droop_db(frequency_hz, _RATE_HZ[HIGH])
        if tier == LOW:
            offset_db -= droop_db(frequency_hz, _RATE_HZ[MIDDLE])
        if a_weighted:
            offset_db += a_weighting_db(frequency_hz) - a_weighting_db(1000.0)
        return offset_db

    def reset(self) -> None:
        """Sound is missing: begin all frames anew."""
        self._block = 0
        self._bits_high = 0
        self._bits_middle = 0
        self._left_over = 0
        self._slow_place = 0
        for place in range(2 * self._slow_bins):
            self._slow[place] = 0

    def add(self, samples: "Any") -> None:
        """Take 10 ms of sound. Allocates nothing."""
        kernel = self._kernel
        block = self._block
        fresh = self._fresh[1 if self._left_over else 0]
        kernel.decimate(0, 0, samples, _A_BLOCK, self._middle_sums, fresh, _RAW_SHIFT)
        bits = kernel.keep(0, 0, fresh, 0, _A_BLOCK, self._z, self._order, block * _A_BLOCK, 1)
        self._bits_middle = max(self._bits_middle, bits)
        self._low_tier()
        first = BLOCK * (block + 1) - (BLOCK * FRAME_BLOCKS - HEARD)
        if first > 0:
            skipped = max(0, BLOCK - first)
            bits = kernel.keep(
                0, 0, samples, skipped, BLOCK - skipped, self._z, self._order,
                max(0, first - BLOCK), 0,
            )  # fmt: skip
            self._bits_high = max(self._bits_high, bits)
        self._block = block + 1
        if self._block == FRAME_BLOCKS:
            self._transform()
            self._block = self._bits_high = self._bits_middle = 0

    def _low_tier(self) -> None:
        """Decimate what the middle tier has got, and sum up the low tier's bins."""
        kernel = self._kernel
        queue = self._queue
        groups = (self._left_over + _A_BLOCK) // RATIO
        kernel.decimate(0, 0, queue, groups, self._low_sums, self._slow_samples, _NEXT_SHIFT)
        used = groups * RATIO
        rest = self._left_over + _A_BLOCK - used
        kernel.move(queue, used, rest)
        self._left_over = rest
        for index in range(groups):
            place = self._slow_place
            value = kernel.weighted(self._slow_samples, index, self._slow_window, place)
            angle = self._slow_first * place % SLOW_POINTS
            kernel.turn(value, 0, self._slow, self._cosines, place, angle, self._slow_bins)
            self._slow_place = place + 1
            if self._slow_place == SLOW_POINTS:
                self._slow_place = 0
                self._gather(LOW, self._slow, 0)
                for spot in range(2 * self._slow_bins):
                    self._slow[spot] = 0

    def _transform(self) -> None:
        """Transform the frames of the high and of the middle tier at once."""
        kernel = self._kernel
        z = self._z
        for part in range(2):
            bits = self._bits_middle if part else self._bits_high
            left, right = max(0, _BITS - bits), max(0, bits - _BITS)
            kernel.scale(0, 0, z, part, self._window, left, right)
        kernel.quarter(0, 0, z)
        fallen = 0
        wide = 1
        half = 8
        while half <= POINTS:
            fallen += wide
            over = kernel.stage(0, 0, z, self._turns, half, 8192 // half, wide)
            wide = 2 if over else 0
            half += half
        kernel.split(z)
        self._gather(HIGH, z, fallen + self._bits_high - _BITS)
        self._gather(MIDDLE, z, fallen + self._bits_middle - _BITS)

    def _gather(self, tier: int, z: "Any", exponent: int) -> None:
        """Add a frame's bands, whose numbers stand for themselves times 2 ** exponent."""
        kernel = self._kernel
        plan = self._plans[tier]
        first = plan[0][1]
        count = plan[-1][1] + plan[-1][2] - first
        start, stride = 2 * first, 2
        if tier == MIDDLE:
            start, stride = 2 * (POINTS - first), -2
        elif tier == LOW:
            start = 0
        bits = max(
            kernel.size(0, 0, z, start, stride, count),
            kernel.size(0, 0, z, start + 1, stride, count),
        )
        wide = max(0, bits - _BITS)
        rise = 2 * (exponent + wide) + _RISE
        for place, begin, bins, shares in plan:
            at = start + stride * (begin - first)
            kernel.gather(z, at, stride, bins, shares, wide, self._energies[place], rise)
        self._frames[tier] += 1

    def level_db(self, place: int) -> float:
        """Level of a band (0: 20 Hz) since the period began; its tier must have had a frame."""
        frames = self._frames[_tier(FIRST_BAND + place)]
        return (
            energy_level(self._energies[place], 0, _WORDS)
            + self._offsets[place]
            - 10 * log10(frames)
        )

    def close(self, calibration_db: float, trusted: bool = True) -> None:
        """End the period: half decibels into .values. A tier without a frame keeps its last.

        Sound that is not to be trusted gives 0 dB in all bands.
        """
        for place in range(BANDS):
            if self._frames[_tier(FIRST_BAND + place)]:
                level_db = self.level_db(place) + calibration_db
                self._known[place] = round(2 * max(0.0, level_db))
            self.values[place] = self._known[place] if trusted else 0
        for word in range(_WORDS * BANDS):
            self._book[word] = 0
        for tier in range(3):
            self._frames[tier] = 0


def _tier(band: int) -> int:
    return HIGH if band >= _FIRST_OF[HIGH] else MIDDLE if band >= _FIRST_OF[MIDDLE] else LOW


def _reversed(place: int) -> int:
    result = 0
    for _ in range(10):
        result = result << 1 | place & 1
        place >>= 1
    return result


def _hann(place: int, heard: int, full: int) -> int:
    return round(full * 0.5 * (1 - cos(2 * pi * (place + 0.5) / heard))) if place < heard else 0
