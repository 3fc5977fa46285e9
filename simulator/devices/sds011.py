"""Nova SDS011 on its serial line: settings that persist, active and query mode, sleep."""

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from simulator.devices.base import Stimulus
from simulator.devices.streaming import StreamingDevice

SENSOR_ID = b"\xa1\x60"
ANSWER_MS = 30
SLOW_MS = 1500
SPIN_UP_MS = 10000
NO_VALUE = 0xFFFF


def reply(kind: int, payload: bytes) -> bytes:
    """A reply of 10 bytes: kind C0 (data) or C5, and 6 bytes."""
    return bytes((0xAA, kind)) + payload + bytes((sum(payload) & 255, 0xAB))


def word(value: float | None) -> bytes:
    """A concentration in 0.1 ug/m3; FFFF for none."""
    raw = NO_VALUE if value is None else min(max(round(value * 10), 0), NO_VALUE - 1)
    return raw.to_bytes(2, "little")


class Sds011(StreamingDevice):
    """Starts as it leaves the shop: active mode, one data reply a second.

    Faults: deaf (ignores commands, so stays active), stuck (repeats its last values),
    zeros_after_wake, slow (answers after 1.5 s), wrong_variant (a Plantower on the line), torn.
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
        }
    )

    COMMAND_START = b"\xaa\xb4"
    COMMAND_LENGTH = 19
    QUANTITIES = ("pm10", "pm2_5")

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self.period_min = 0
        self._last: bytes | None = None

    def is_whole(self, order: bytes) -> bool:
        return order[18] == 0xAB and sum(order[2:17]) & 255 == order[17]

    def obey(self, order: bytes, now_ms: int) -> None:
        kind, write, value = order[2], order[3], order[4]
        if self.asleep and kind != 6:
            return
        due_ms = now_ms + (SLOW_MS if self.broken("slow") else ANSWER_MS)
        if kind == 2:
            if write:
                self.active = value == 0
            self._confirm(kind, write, int(not self.active), due_ms)
        elif kind == 4:
            self.say(self.frame(now_ms), due_ms)
        elif kind == 6:
            if write:
                self.set_sleep(value == 0, now_ms)
            self._confirm(kind, write, int(not self.asleep), due_ms)
        elif kind == 7:
            self.say(reply(0xC5, bytes((7, 18, 11, 16)) + SENSOR_ID), due_ms)
        elif kind == 8:
            if write:
                self.period_min = value
            self._confirm(kind, write, self.period_min, due_ms)

    def _confirm(self, kind: int, write: int, value: int, due_ms: int) -> None:
        self.say(reply(0xC5, bytes((kind, write, value, 0)) + SENSOR_ID), due_ms)

    def frame(self, now_ms: int) -> bytes:
        if self.broken("wrong_variant"):
            return b"\x42\x4d\x00\x1c" + bytes(26) + b"\x00\xab"
        fine, coarse = word(self.sense("pm2_5", now_ms)), word(self.sense("pm10", now_ms))
        if now_ms - self.awake_ms < SPIN_UP_MS and self.broken("zeros_after_wake"):
            fine = coarse = b"\0\0"
        if self._last is None or not self.broken("stuck"):
            self._last = fine + coarse
        return reply(0xC0, self._last + SENSOR_ID)
