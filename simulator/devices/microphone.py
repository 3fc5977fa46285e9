"""Digital microphones (ICS-43434, INMP441) on an I2S bus: 24 bits, left-justified in 32-bit slots.

The sound comes from the stimulus: its quantity "laeq" is the true A-weighted level in the air, so
that what a meter says can be compared with it. A source of one's own gives any sound instead.
"""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware.noise import microphones
from simulator.devices.base import Device, Stimulus
from simulator.devices.sound import Noise

Samples = NDArray[np.float64]
"""Sound as a fraction of full scale."""

RATE_HZ = 48_000
SLOW_RATE_HZ = 44_100
FULL_SCALE = 1 << 23
START_MS = 85
LOST_CHUNK = 256
DMA_FRAME_BYTES = 8
LEVEL_SAMPLES = RATE_HZ // 50
CLIPPED_DB = 60.0
OFFSET = 0.25


class Source(Protocol):
    """Any sound as the microphone hands it out: count samples from number first, 1.0 full scale."""

    def samples(self, first: int, count: int) -> Samples: ...


def full_scale_db(kind: microphones.Microphone) -> float:
    """Level of a sine that drives a microphone to full scale."""
    return 94.0 - kind.sensitivity_db


def response(kind: microphones.Microphone, frequency_hz: Samples) -> NDArray[np.complex128]:
    """Complex gain of a microphone, as firmware/noise/microphones.py describes its type."""
    s = 1j * frequency_hz
    gain = np.ones(len(frequency_hz), dtype=np.complex128)
    if kind.rolloff_hz:
        gain *= (s / (s + kind.rolloff_hz)) ** 2
    if kind.resonance is not None:
        resonance_hz, quality = kind.resonance
        gain /= 1 - (frequency_hz / resonance_hz) ** 2 + s / (resonance_hz * quality)
    return gain


class FromStimulus:
    """Noise whose A-weighted level follows the stimulus, above the microphone's own noise.

    The level is that at the beginning of each 20 ms, however many samples are asked for at once.
    """

    def __init__(
        self,
        stimulus: Stimulus,
        kind: microphones.Microphone,
        randomness: random.Random,
        start_ms: int = 0,
    ) -> None:
        self._start_ms = start_ms
        self._stimulus = stimulus
        self._kind = kind
        self._noise = Noise(randomness.getrandbits(32), lambda f: response(kind, f))

    def samples(self, first: int, count: int) -> Samples:
        sound = self._noise.samples(first, count)
        begin = 0
        while begin < count:
            block, into = divmod(first + begin, LEVEL_SAMPLES)
            end = min(count, begin + LEVEL_SAMPLES - into)
            sound[begin:end] *= self._factor(block)
            begin = end
        return sound

    def _factor(self, block: int) -> float:
        at_ms = self._start_ms + block * LEVEL_SAMPLES * 1000 // RATE_HZ
        level_db = self._stimulus.value("laeq", at_ms)
        energy = 10 ** (self._kind.floor_db / 10)
        if level_db is not None:
            energy += 10 ** (level_db / 10)
        return math.sqrt(energy) * 10 ** (-full_scale_db(self._kind) / 20)


class Microphone(Device):
    """One microphone; its samples are a fixed function of the time, so pauses lose sound.

    Faults: silent (all zero), swapped (it speaks on the other channel), clipped (60 dB too loud),
    offset (a quarter of full scale of DC), half_lost (every other 256 samples), wrong_rate
    (44.1 kHz), shifted (bits one place too low), shifted_left, gaps (100 ms of each second).
    """

    KIND: ClassVar[microphones.Microphone] = microphones.FLAT
    FAULTS: ClassVar[frozenset[str]] = frozenset(
        (
            "silent",
            "swapped",
            "clipped",
            "offset",
            "half_lost",
            "wrong_rate",
            "shifted",
            "shifted_left",
            "gaps",
        )
    )

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
        source: Source | None = None,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self._source = source

    @property
    def source(self) -> Source:
        """The sound; made when it is first heard."""
        if self._source is None:
            self._source = FromStimulus(self.stimulus, self.KIND, self.random, self.powered_ms)
        return self._source

    def play(self, source: Source) -> None:
        """Hear this from now on."""
        self._source = source

    def words(self, first: int, count: int) -> NDArray[np.int32]:
        """The 32-bit words of the board's slot, from sample number first since power-on."""
        if self.broken("silent") or self.broken("swapped"):
            return np.zeros(count, dtype=np.int32)
        sound = self.source.samples(first, count)
        if self.broken("clipped"):
            sound = sound * 10 ** (CLIPPED_DB / 20)
        if self.broken("offset"):
            sound = sound + OFFSET
        codes = np.clip(np.floor(sound * FULL_SCALE + 0.5), -FULL_SCALE, FULL_SCALE - 1)
        starting = START_MS * RATE_HZ // 1000 - first
        if starting > 0:
            codes[:starting] = 0
        words = codes.astype(np.int64) << 8
        if self.broken("shifted"):
            words = words >> 1
        if self.broken("shifted_left"):
            words = words << 1
        return (words & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


class Ics43434(Microphone):
    """TDK InvenSense ICS-43434."""

    KIND = microphones.ICS43434


class Inmp441(Microphone):
    """TDK InvenSense INMP441."""

    KIND = microphones.INMP441


class SimulatedI2s:
    """machine.I2S of a hosted board: readinto() gives at once what has come due.

    The DMA holds ibuf bytes of stereo frames; what does not fit is lost, the oldest first.
    """

    def __init__(
        self, microphone: Microphone, clock: Callable[[], int], ibuf: int = 32_768
    ) -> None:
        self.microphone = microphone
        self.lost = 0
        self.clock = clock
        self._opened_ms = clock()
        self._capacity = ibuf // DMA_FRAME_BYTES
        self._taken = 0
        self._opened_at = (clock() - microphone.powered_ms) * RATE_HZ // 1000

    def _due(self) -> int:
        """Samples that the bus has clocked in since it was opened."""
        rate_hz = SLOW_RATE_HZ if self.microphone.broken("wrong_rate") else RATE_HZ
        return (self.clock() - self._opened_ms) * rate_hz // 1000

    def readinto(self, buf: bytearray | memoryview, /) -> int:
        """Fill as much of buf as there is; bytes written."""
        due = self._due()
        if due - self._taken > self._capacity:
            self.lost += due - self._taken - self._capacity
            self._taken = due - self._capacity
        count = min(len(buf) // 4, due - self._taken)
        if count <= 0:
            return 0
        words = self.microphone.words(self._opened_at + self._taken, count)
        positions = self._taken + np.arange(count)
        self._taken += count
        kept = np.ones(count, dtype=bool)
        if self.microphone.broken("half_lost"):
            kept &= positions // LOST_CHUNK % 2 == 0
        if self.microphone.broken("gaps"):
            kept &= positions % RATE_HZ >= RATE_HZ // 10
        data = words[kept].astype("<i4").tobytes()
        buf[: len(data)] = data
        return len(data)

    def deinit(self) -> None:
        """Stop."""
