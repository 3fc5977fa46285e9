"""Digital microphones (ICS-43434, INMP441) on an I2S bus: 24 bits, left-justified in 32-bit slots.

The sound comes from the stimulus: quantity "laeq" is the true A-weighted level of a shaped noise,
so that what a meter says can be compared with it. A source of one's own gives any sound instead.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.devices.base import Device, Stimulus
from simulator.devices.sound import Noise

Samples = NDArray[np.float64]
"""Sound as a fraction of full scale."""

RATE_HZ = 48_000
FULL_SCALE = 1 << 23
FULL_SCALE_DB = 120.0
START_MS = 85
CHUNK = 256
DMA_FRAME_BYTES = 8


class Source(Protocol):
    """Any sound: samples count samples from sample number first, 1.0 being full scale."""

    def samples(self, first: int, count: int) -> Samples: ...


class FromStimulus:
    """Noise whose A-weighted level follows the stimulus; silence where it has no level."""

    def __init__(self, stimulus: Stimulus, randomness: random.Random) -> None:
        self._stimulus = stimulus
        self._noise = Noise(randomness.getrandbits(32))

    def samples(self, first: int, count: int) -> Samples:
        level_db = self._stimulus.value("laeq", first * 1000 // RATE_HZ)
        sound = self._noise.samples(first, count)
        if level_db is None:
            return np.zeros(count)
        scaled: Samples = sound * 10 ** ((level_db - FULL_SCALE_DB) / 20)
        return scaled


class Microphone(Device):
    """One microphone; its samples are a fixed function of the time, so pauses lose sound.

    Faults: silent (all zero), swapped (it speaks on the other channel), clipped (24 dB too loud),
    offset (a quarter of full scale of DC), half_lost (every other chunk of samples),
    wrong_rate (44.1 kHz), shifted (bits one place too low), shifted_left, gaps (100 ms a second).
    """

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
        self.source: Source = source or FromStimulus(stimulus, self.random)

    def words(self, first: int, count: int) -> NDArray[np.int32]:
        """The 32-bit words of the board's slot, from sample number first since power-on."""
        if self.broken("silent") or self.broken("swapped"):
            return np.zeros(count, dtype=np.int32)
        sound = self.source.samples(first, count)
        if self.broken("clipped"):
            sound = sound * 10 ** (60 / 20)
        if self.broken("offset"):
            sound = sound + 0.25
        codes = np.clip(np.floor(sound * FULL_SCALE + 0.5), -FULL_SCALE, FULL_SCALE - 1)
        starting = START_MS * RATE_HZ // 1000 - first
        if starting > 0:
            codes[:starting] = 0
        words = codes.astype(np.int64) << 8
        if self.broken("shifted"):
            words = words >> 1
        if self.broken("shifted_left"):
            words = words << 1
        return words.astype(np.uint32, casting="unsafe").view(np.int32)


class SimulatedI2s:
    """machine.I2S of a hosted board: readinto() gives at once what has come due.

    The DMA holds ibuf bytes of stereo frames; what does not fit is lost, the oldest first.
    """

    def __init__(
        self, microphone: Microphone, clock: Callable[[], int], ibuf: int = 32_768
    ) -> None:
        self.microphone = microphone
        self.lost = 0
        self._clock = clock
        self._opened_ms = clock()
        self._capacity = ibuf // DMA_FRAME_BYTES
        self._taken = 0
        self._opened_at = (clock() - microphone.powered_ms) * RATE_HZ // 1000

    def _due(self) -> int:
        """Samples that the bus has clocked in since it was opened."""
        rate_hz = 44_100 if self.microphone.broken("wrong_rate") else RATE_HZ
        return (self._clock() - self._opened_ms) * rate_hz // 1000

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
        if self.microphone.broken("half_lost"):
            words = words[positions // CHUNK % 2 == 0]
        if self.microphone.broken("gaps"):
            words = words[positions % RATE_HZ >= RATE_HZ // 10]
        data = words.astype("<i4").tobytes()
        buf[: len(data)] = data
        return len(data)

    def deinit(self) -> None:
        """Stop."""
