"""Sensirion SPS30 on its serial line, in SHDLC frames."""

import random
from collections.abc import Mapping
from typing import Any

from simulator.devices.base import Stimulus, UartDevice
from simulator.devices.sps30 import FAULTS, Particles, float_bytes

QUANTITIES = ("pm1", "pm2_5", "pm10")
ANSWER_MS = 20
SLOW_MS = 2000
NOT_ALLOWED = 0x43
UNKNOWN = 0x02
STUFFED = {0x7E, 0x7D, 0x11, 0x13}


def frame(body: bytes) -> bytes:
    """Body with its sum, stuffed, between flags."""
    raw = body + bytes((0xFF - sum(body) % 256,))
    stuffed = b"".join(bytes((0x7D, b ^ 0x20)) if b in STUFFED else bytes((b,)) for b in raw)
    return b"\x7e" + stuffed + b"\x7e"


def unframed(raw: bytes) -> bytes | None:
    """What a frame without its flags holds; None when it is not right."""
    body = bytearray()
    pending = False
    for byte in raw:
        if byte == 0x7D and not pending:
            pending = True
        else:
            body.append(byte ^ 0x20 if pending else byte)
            pending = False
    if len(body) < 4 or sum(body) % 256 != 0xFF or body[2] != len(body) - 4:
        return None
    return bytes(body[:-1])


class Sps30Uart(UartDevice):
    """Faults: fan and laser (status bits), nonsense (NaN), slow (answers after 2 s), torn."""

    FAULTS = FAULTS | {"torn"}

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self.power_cycle(now_ms)

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self.particles = Particles(self, now_ms)
        self._interface_awake_ms = -1000

    @property
    def asleep(self) -> bool:
        return self.particles.asleep

    def handle(self, now_ms: int) -> None:
        if self.gives_nothing(QUANTITIES, now_ms):
            self.received.clear()
            return
        if self.particles.asleep and now_ms - self._interface_awake_ms > 100:
            self._interface_awake_ms = now_ms
            self.received.clear()
            return
        while True:
            start = self.received.find(0x7E)
            end = self.received.find(0x7E, start + 1) if start >= 0 else -1
            if start < 0:
                self.received.clear()
            if end < 0:
                return
            raw = bytes(self.received[start + 1 : end])
            del self.received[: end + 1]
            body = unframed(raw)
            if body is not None:
                self._obey(body[1], body[3:], now_ms)

    def _obey(self, command: int, data: bytes, now_ms: int) -> None:
        particles = self.particles
        if particles.asleep:
            if command == 0x11:
                particles.asleep = False
                self._reply(command, now_ms)
            return
        state = 0
        answer = b""
        if command == 0x00 and data == b"\x01\x03":
            state = NOT_ALLOWED if particles.measuring else 0
            if not state:
                particles.start(now_ms)
        elif command == 0x01:
            state = 0 if particles.measuring else NOT_ALLOWED
            particles.stop()
        elif command == 0x03:
            state = 0 if particles.measuring else NOT_ALLOWED
            answer = float_bytes(particles.take(now_ms)) if particles.ready(now_ms) else b""
        elif command == 0x10:
            state = NOT_ALLOWED if particles.measuring else 0
            particles.asleep = not particles.measuring
        elif command == 0x11:
            state = NOT_ALLOWED
        elif command == 0x56:
            state = 0 if particles.measuring else NOT_ALLOWED
            if not state:
                particles.clean(now_ms)
        elif command == 0xD2:
            answer = particles.status().to_bytes(4, "big") + b"\0"
        else:
            state = UNKNOWN
        self._reply(command, now_ms, state, answer)

    def _reply(self, command: int, now_ms: int, state: int = 0, data: bytes = b"") -> None:
        due_ms = now_ms + (SLOW_MS if self.broken("slow") else ANSWER_MS)
        self.say(frame(bytes((0, command, state, len(data))) + data), due_ms)
