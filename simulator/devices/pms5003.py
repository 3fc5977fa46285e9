"""Plantower PMS5003 and PMS7003 on their serial line: active and passive mode, sleep, SET pin."""

import random
import struct
from collections.abc import Mapping
from typing import Any, ClassVar

from simulator.devices.base import Stimulus
from simulator.devices.streaming import StreamingDevice

ANSWER_MS = 60
SLOW_MS = 5000
SPIN_UP_MS = 20000
MASSES = ("pm1", "pm2_5", "pm10")
COUNTS = ("count_0_3", "count_0_5", "count_1", "count_2_5", "count_5", "count_10")
TYPICAL = (210.0, 62.0, 11.0, 1.4, 0.45, 0.2)


def checked(body: bytes) -> bytes:
    """Body and its sum."""
    return body + struct.pack(">H", sum(body) & 0xFFFF)


def factory_mass(atmospheric: float) -> float:
    """The CF=1 value that Plantower's firmware would have turned into this atmospheric one."""
    if atmospheric <= 30:
        return atmospheric
    return atmospheric * min(1.5, 1 + (atmospheric - 30) / 140)


class Pms5003(StreamingDevice):
    """Starts in active mode. Without pm1 it takes 0.7 of pm2_5, without counts a usual spectrum.

    Faults: deaf (obeys no command), stuck (the fan stands: repeats its last frame),
    zeros_after_wake (masses without counts for 20 s), slow (answers after 5 s), wrong_variant (a
    PMS5003ST with frames of 40 bytes), error (its error byte is set), torn.
    """

    FAULTS: ClassVar[frozenset[str]] = frozenset(
        {
            "silent",
            "bad_checksum",
            "torn",
            "deaf",
            "stuck",
            "zeros_after_wake",
            "slow",
            "wrong_variant",
            "error",
        }
    )
    COMMAND_START = b"\x42\x4d"
    COMMAND_LENGTH = 7
    QUANTITIES = MASSES
    VERSION = 0x91

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self._last: list[int] | None = None

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self.active = True

    def set_pin(self, level: int, now_ms: int) -> None:
        """SET: 0 sleeps, 1 runs."""
        self.set_sleep(not level, now_ms)

    def is_whole(self, order: bytes) -> bool:
        return checked(order[:5]) == order

    def obey(self, order: bytes, now_ms: int) -> None:
        kind, value = order[2], order[4]
        if self.asleep and kind != 0xE4:
            return
        due_ms = now_ms + (SLOW_MS if self.broken("slow") else ANSWER_MS)
        if kind == 0xE1:
            self.active = value == 1
            self.say(checked(bytes((0x42, 0x4D, 0, 4, kind, value))), due_ms)
        elif kind == 0xE2 and not self.active:
            self.say(self.frame(now_ms), due_ms)
        elif kind == 0xE4:
            self.set_sleep(value == 0, now_ms)

    def set_sleep(self, asleep: bool, now_ms: int) -> None:
        if self.asleep and not asleep:
            self.active = True
        super().set_sleep(asleep, now_ms)

    def frame(self, now_ms: int) -> bytes:
        if self._last is None or not self.broken("stuck"):
            self._last = self._words(now_ms)
        error = 1 if self.broken("error") else 0
        data = [*self._last, self.VERSION << 8 | error]
        if self.broken("wrong_variant"):
            data[12:12] = [21, 250, 500, 0]
        return checked(struct.pack(f">2sH{len(data)}H", b"\x42\x4d", 2 * len(data) + 2, *data))

    def _words(self, now_ms: int) -> list[int]:
        fine = self.sense("pm2_5", now_ms)
        coarse = self.sense("pm10", now_ms)
        fine = (coarse or 0.0) * 0.6 if fine is None else fine
        coarse = fine * 1.5 if coarse is None else coarse
        smallest = self.sense("pm1", now_ms)
        smallest = 0.7 * fine if smallest is None else smallest
        masses = [min(smallest, fine), fine, max(fine, coarse)]
        factory = [self.sense(f"{n}_cf1", now_ms) for n in MASSES]
        shown = [factory_mass(m) if f is None else f for m, f in zip(masses, factory, strict=True)]
        return [*map(_limited, shown), *map(_limited, masses), *self._counts(fine, now_ms)]

    def _counts(self, fine: float, now_ms: int) -> list[int]:
        if now_ms - self.awake_ms < SPIN_UP_MS and self.broken("zeros_after_wake"):
            return [0] * 6
        counts: list[int] = []
        for name, typical in zip(COUNTS, TYPICAL, strict=True):
            mean = self.sense(name, now_ms)
            mean = typical * fine if mean is None else mean
            seen = _limited(self.random.gauss(mean, max(mean, 0.0) ** 0.5))
            counts.append(min(seen, counts[-1]) if counts else max(seen, 1 if fine >= 0.5 else 0))
        return counts


def _limited(value: float) -> int:
    return min(max(round(value), 0), 65535)


class Pms7003(Pms5003):
    """The flat one."""

    VERSION = 0x80
