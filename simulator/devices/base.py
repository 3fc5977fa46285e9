"""Sensors on the simulator's side of the wire: bytes in, bytes out, at a given time.

A model turns a stimulus (what is really in the air) into what the sensor would say about it.
"""

import random
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

ENODEV = 19
RECEIVED_MAX = 4096
PENDING_MAX = 4096


class Stimulus(Protocol):
    """What surrounds the sensors. Times are ms on the models' clock."""

    def value(self, quantity_name: str, now_ms: int) -> float | None:
        """A registry quantity in its unit; None: the sensor gives no value for it now."""


class Steady:
    """A stimulus that stays as it is; quantities that are not named are None."""

    def __init__(self, **values: float | None) -> None:
        self.values: dict[str, float | None] = dict(values)

    def value(self, quantity_name: str, now_ms: int) -> float | None:
        return self.values.get(quantity_name)


class Device:
    """A sensor with its stimulus, its own randomness and its faults.

    FAULTS names what can be broken. A fault holds with a probability each time it could show: 1
    for always. Raises ValueError for a fault that the model does not have.
    """

    FAULTS: ClassVar[frozenset[str]] = frozenset({"silent"})

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        self.stimulus = stimulus
        self.random = randomness
        self.options = dict(options or {})
        self.faults: dict[str, float] = {}
        self.powered_ms = now_ms

    def break_down(self, *names: str, probability: float = 1.0) -> None:
        """Switch faults on."""
        for name in names:
            if name not in self.FAULTS:
                known = ", ".join(sorted(self.FAULTS))
                raise ValueError(f"{type(self).__name__} has no fault {name!r}; it has: {known}")
            self.faults[name] = probability

    def mend(self, *names: str) -> None:
        """Switch faults off; all of them without a name."""
        for name in names or tuple(self.faults):
            self.faults.pop(name, None)

    def broken(self, name: str) -> bool:
        """Whether a fault shows this time."""
        probability = self.faults.get(name, 0.0)
        return probability >= 1.0 or (probability > 0.0 and self.random.random() < probability)

    def power_cycle(self, now_ms: int) -> None:
        """Lose power and get it back."""
        self.powered_ms = now_ms

    def sense(self, name: str, now_ms: int) -> float | None:
        """What the stimulus says now."""
        return self.stimulus.value(name, now_ms)

    def gives_nothing(self, names: Iterable[str], now_ms: int) -> bool:
        """Whether none of the quantities has a value: the recorded sensor did not answer."""
        return all(self.sense(name, now_ms) is None for name in names)


class UartDevice(Device):
    """A sensor on a serial line; what it says is due at a time and waits until it is fetched."""

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self.received = bytearray()
        self._pending: list[tuple[int, bytes]] = []

    def receive(self, data: bytes, now_ms: int) -> None:
        """Take bytes that the board has sent."""
        self.received += data
        del self.received[:-RECEIVED_MAX]
        if self.broken("silent"):
            self.received.clear()
            return
        self.advance(now_ms)
        self.handle(now_ms)

    def transmit(self, now_ms: int) -> bytes:
        """All bytes that have come due and were not yet fetched."""
        self.advance(now_ms)
        due = [data for at, data in self._pending if at <= now_ms]
        self._pending = [(at, data) for at, data in self._pending if at > now_ms]
        return b"" if self.broken("silent") else b"".join(due)

    def say(self, data: bytes, due_ms: int) -> None:
        """Have bytes arrive at the board at a time; a buffer that is full loses them."""
        if self.broken("bad_checksum"):
            spoilt = bytearray(data)
            spoilt[self.random.randrange(2, len(data) - 1)] ^= 0x55
            data = bytes(spoilt)
        if self.broken("torn"):
            data = data[: self.random.randrange(1, len(data))]
        if sum(len(waiting) for _, waiting in self._pending) + len(data) <= PENDING_MAX:
            self._pending.append((due_ms, data))

    def handle(self, now_ms: int) -> None:
        """Act upon what is in self.received, and take it out."""
        self.received.clear()

    def advance(self, now_ms: int) -> None:
        """Say what the sensor says unasked up to a time."""


class I2cDevice(Device):
    """A sensor on an I2C bus. OSError(ENODEV) is what a missing acknowledgement looks like."""

    address = 0

    def write(self, data: bytes, now_ms: int) -> None:
        """Take a write transaction."""
        raise OSError(ENODEV, "no answer")

    def read(self, count: int, now_ms: int) -> bytes:
        """Answer a read transaction with exactly count bytes."""
        raise OSError(ENODEV, "no answer")

    def present(self, now_ms: int) -> bool:
        """Whether the sensor acknowledges its address."""
        return not self.broken("silent")
