"""Faults of a network, each one a small rule; a network asks all of them in turn.

A rule sees one frame, or one moment, of one node. It draws from the random generator that it is
given, so the same seed gives the same faults. Times are virtual milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from protocol.serial_stream import RawFrame, SerialStream, stuffed

UP = "up"
DOWN = "down"

Passing = tuple[int, bytes]
"""A frame on its way: how many ms it still takes, and its bytes."""


class NetworkFault:
    """A network without fault; rules override what they change."""

    def reachable(self, node: int, now_ms: int) -> bool:
        """Whether a connection can exist now; False ends the one that exists."""
        return True

    def connect_ms(self, node: int, now_ms: int) -> int:
        """How much longer a connection takes to come about."""
        return 0

    def deaf(self, node: int, now_ms: int) -> bool:
        """True while the connection seems to exist but nothing arrives (half-open)."""
        return False

    def carry(
        self, direction: str, node: int, passing: Passing, now_ms: int, random: Random
    ) -> Sequence[Passing]:
        """What becomes of a frame: nothing, itself, itself changed, several of it."""
        return (passing,)


@dataclass(frozen=True)
class Span:
    """A stretch of virtual time, for some nodes or, without any named, for all."""

    start_ms: int
    end_ms: int
    nodes: frozenset[int] = frozenset()

    def holds(self, node: int, now_ms: int) -> bool:
        return self.start_ms <= now_ms < self.end_ms and (not self.nodes or node in self.nodes)


ALWAYS = Span(0, 1 << 62)


@dataclass(frozen=True)
class Loss(NetworkFault):
    """Frames vanish with a probability."""

    probability: float
    span: Span = ALWAYS
    direction: str = ""

    def carry(
        self, direction: str, node: int, passing: Passing, now_ms: int, random: Random
    ) -> Sequence[Passing]:
        if self.direction not in ("", direction) or not self.span.holds(node, now_ms):
            return (passing,)
        return () if random.random() < self.probability else (passing,)


@dataclass(frozen=True)
class Duplicate(NetworkFault):
    """Frames arrive again, up to `later_ms` after the first time."""

    probability: float
    later_ms: int = 5_000
    span: Span = ALWAYS

    def carry(
        self, direction: str, node: int, passing: Passing, now_ms: int, random: Random
    ) -> Sequence[Passing]:
        if not self.span.holds(node, now_ms) or random.random() >= self.probability:
            return (passing,)
        delay_ms, raw = passing
        return (passing, (delay_ms + random.randint(1, self.later_ms), raw))


@dataclass(frozen=True)
class Delay(NetworkFault):
    """Every frame takes between two times; different times reorder frames."""

    least_ms: int
    most_ms: int
    span: Span = ALWAYS

    def carry(
        self, direction: str, node: int, passing: Passing, now_ms: int, random: Random
    ) -> Sequence[Passing]:
        if not self.span.holds(node, now_ms):
            return (passing,)
        delay_ms, raw = passing
        return ((delay_ms + random.randint(self.least_ms, self.most_ms), raw),)


@dataclass(frozen=True)
class Corrupt(NetworkFault):
    """Some bytes of a frame change, or its end is missing."""

    probability: float
    span: Span = ALWAYS

    def carry(
        self, direction: str, node: int, passing: Passing, now_ms: int, random: Random
    ) -> Sequence[Passing]:
        if not self.span.holds(node, now_ms) or random.random() >= self.probability:
            return (passing,)
        delay_ms, raw = passing
        return ((delay_ms, corrupted(raw, random)),)


def corrupted(raw: bytes, random: Random) -> bytes:
    """A frame with one to four bytes changed, or cut short."""
    if random.random() < 0.2:
        return raw[: random.randrange(len(raw))]
    damaged = bytearray(raw)
    for _ in range(random.randint(1, 4)):
        damaged[random.randrange(len(damaged))] ^= random.randint(1, 255)
    return bytes(damaged)


@dataclass
class Cable(NetworkFault):
    """A serial cable: stuffed frames amid what the board prints, and bytes that change on the way.

    garbled is the probability that a byte changes, chatter that a line of boot text comes before a
    frame. What arrives is what the collector's own reader finds in the stream.
    """

    garbled: float
    chatter: float = 0.3
    span: Span = ALWAYS
    _streams: dict[tuple[str, int], SerialStream] = field(default_factory=dict)

    def carry(
        self, direction: str, node: int, passing: Passing, now_ms: int, random: Random
    ) -> Sequence[Passing]:
        if not self.span.holds(node, now_ms):
            return (passing,)
        delay_ms, raw = passing
        line = stuffed(raw)
        if random.random() < self.chatter:
            line = random.choice(BOOT_TEXT) + line
        if self.garbled:
            line = bytes(
                byte ^ random.randint(1, 255) if random.random() < self.garbled else byte
                for byte in line
            )
        stream = self._streams.setdefault((direction, node), SerialStream())
        return [(delay_ms, item.raw) for item in stream.feed(line) if isinstance(item, RawFrame)]


BOOT_TEXT = (
    b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n",
    b"entry 0x400805f8\r\n",
    b'Traceback (most recent call last):\r\n  File "main.py", line 7, in <module>\r\n',
    b"E (8312) wifi: esp_wifi_connect 1190\r\n\0\0",
    b"\xff\xfe\x80\x00\x03O",
)
"""What else a board's serial line carries: boot ROM, tracebacks, drivers, a changed baud rate."""


@dataclass(frozen=True)
class Partition(NetworkFault):
    """No connection for a while: Wi-Fi off, a broker that is down, a captive portal."""

    span: Span

    def reachable(self, node: int, now_ms: int) -> bool:
        return not self.span.holds(node, now_ms)


@dataclass(frozen=True)
class HalfOpen(NetworkFault):
    """The connection stands, but nothing passes it either way."""

    span: Span

    def deaf(self, node: int, now_ms: int) -> bool:
        return self.span.holds(node, now_ms)


@dataclass(frozen=True)
class SlowConnect(NetworkFault):
    """Names resolve slowly, handshakes hang: a connection takes this much longer."""

    extra_ms: int
    span: Span = ALWAYS

    def connect_ms(self, node: int, now_ms: int) -> int:
        return self.extra_ms if self.span.holds(node, now_ms) else 0


@dataclass(frozen=True)
class Flapping(NetworkFault):
    """The connection comes and goes with a period; nodes are out of step with each other."""

    period_ms: int
    off_ms: int
    span: Span = ALWAYS

    def reachable(self, node: int, now_ms: int) -> bool:
        if not self.span.holds(node, now_ms):
            return True
        return (now_ms + node * 7919) % self.period_ms >= self.off_ms
