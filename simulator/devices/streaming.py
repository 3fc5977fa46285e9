"""Dust sensors that talk unasked: a frame a second while active, commands of fixed length."""

import random
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from simulator.devices.base import Stimulus, UartDevice

STREAM_MS = 1000
BEHIND_MAX = 3
"""Frames that a late host still finds; older ones have left its buffer."""


class StreamingDevice(UartDevice):
    """Splits what it hears into commands and sends its frames when they are due."""

    COMMAND_START: ClassVar[bytes]
    COMMAND_LENGTH: ClassVar[int]
    QUANTITIES: ClassVar[tuple[str, ...]]
    """Without any of these the sensor says nothing."""

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self.active = True
        self.asleep = False
        self.awake_ms = now_ms
        self._next_ms = now_ms + STREAM_MS

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self.asleep = False
        self._wake(now_ms)

    @abstractmethod
    def is_whole(self, order: bytes) -> bool:
        """Whether a command's sum is right."""

    @abstractmethod
    def obey(self, order: bytes, now_ms: int) -> None:
        """Does what a whole command says."""

    @abstractmethod
    def frame(self, now_ms: int) -> bytes:
        """A frame of values."""

    def handle(self, now_ms: int) -> None:
        while True:
            start = self.received.find(self.COMMAND_START)
            if start < 0:
                del self.received[:-1]
                return
            del self.received[:start]
            if len(self.received) < self.COMMAND_LENGTH:
                return
            order = bytes(self.received[: self.COMMAND_LENGTH])
            del self.received[: self.COMMAND_LENGTH]
            if (
                self.is_whole(order)
                and not self.broken("deaf")
                and not self.gives_nothing(self.QUANTITIES, now_ms)
            ):
                self.obey(order, now_ms)

    def advance(self, now_ms: int) -> None:
        if not self.active or self.asleep or now_ms < self._next_ms:
            return
        self._next_ms = max(self._next_ms, now_ms - BEHIND_MAX * STREAM_MS)
        while self._next_ms <= now_ms:
            if not self.gives_nothing(self.QUANTITIES, self._next_ms):
                self.say(self.frame(self._next_ms), self._next_ms)
            self._next_ms += STREAM_MS

    def set_sleep(self, asleep: bool, now_ms: int) -> None:
        """Sleeps, or wakes and starts anew."""
        if self.asleep and not asleep:
            self._wake(now_ms)
        self.asleep = asleep

    def _wake(self, now_ms: int) -> None:
        self.awake_ms = now_ms
        self._next_ms = now_ms + STREAM_MS
