"""The firmware's hardware in this CPython process, for one stretch of power."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from simulator.buses import Buses
from simulator.devices.microphone_levels import LevelPort
from simulator.hosted_board import HostedBoard
from simulator.timers import Timers

if TYPE_CHECKING:
    from firmware.types import Nvs

TICKS_PERIOD = 1 << 30
TICKS_HALF = TICKS_PERIOD >> 1
UNIX_MIN_S = 1_388_534_400
"""2014-01-01: recordings are replayed in their own time."""
FREE_HEAP_BYTES = 98_304
CHIP_TEMPERATURE = 41


class Reset(BaseException):
    """machine.reset()."""


class DeepSleep(BaseException):
    """machine.deepsleep(); duration_ms is how long."""

    def __init__(self, duration_ms: int) -> None:
        super().__init__(duration_ms)
        self.duration_ms = duration_ms


class Pin:
    """A pin that remembers its level."""

    def __init__(self, levels: dict[int, int], number: int) -> None:
        self._levels = levels
        self._number = number

    def value(self, level: int | None = None) -> int:
        if level is not None:
            self._levels[self._number] = 1 if level else 0
        return self._levels.get(self._number, 0)

    def on(self) -> None:
        self.value(1)

    def off(self) -> None:
        self.value(0)


class DmaPort:
    """machine.I2S with irq: readinto() returns at once, the handler is called when buf is full."""

    def __init__(self, i2s: Any) -> None:
        self._i2s = i2s
        self._handler: Callable[[DmaPort], None] | None = None
        self._rest: memoryview | None = None

    def irq(self, handler: "Callable[[DmaPort], None]") -> None:
        """Call handler each time that a buffer is full."""
        self._handler = handler

    def readinto(self, buf: bytearray) -> int:
        """Have buf filled from now on."""
        self._rest = memoryview(buf)
        return 0

    def fill(self) -> None:
        """Move what has come due."""
        while self._rest is not None:
            count = self._i2s.readinto(self._rest)
            if not count:
                return
            rest = self._rest[count:]
            self._rest = rest if len(rest) else None
            if self._rest is None and self._handler is not None:
                self._handler(self)


class HostedHal:
    """firmware.types.Hal over virtual time, for one stretch of power."""

    def __init__(
        self,
        loop: Timers,
        board: HostedBoard,
        buses: Buses,
        link: Callable[[], Any],
        cause: int,
        seed: int,
    ) -> None:
        self.board = board.board
        self.built_s = UNIX_MIN_S
        self.files = board.files
        self.nvs: Nvs = board.nvs
        self.ahead_ms = 0
        self.drift_ppm = 0
        self.watchdog_ms: int | None = None
        self.watchdog_fed_ms = 0
        self.rtc_unix_s: int | None = None
        self._loop = loop
        self._hardware = board
        self._buses = buses
        self._link = link
        self._cause = cause
        self._random = Random(seed)
        self._powered_ms = loop.now_ms
        self._sound: DmaPort | None = None
        # Close to the wrap, so that every simulated hour crosses it once.
        self._ticks_at_power = TICKS_PERIOD - 1_800_000

    def elapsed_ms(self) -> int:
        """Milliseconds of this stretch of power by the board's own oscillator."""
        true_ms = self._loop.now_ms - self._powered_ms
        return true_ms + true_ms * self.drift_ppm // 1_000_000 + self.ahead_ms

    def due_ms(self, wait_ms: int) -> int:
        """The loop's first millisecond at which so many of the oscillator's have passed."""
        loop_ms = self._loop.now_ms
        if not self.drift_ppm:
            return loop_ms + wait_ms
        true_ms = loop_ms - self._powered_ms
        wanted_ms = true_ms + true_ms * self.drift_ppm // 1_000_000 + wait_ms
        true_ms = wanted_ms * 1_000_000 // (1_000_000 + self.drift_ppm) - 1
        while true_ms + true_ms * self.drift_ppm // 1_000_000 < wanted_ms:
            true_ms += 1
        return self._powered_ms + true_ms

    def ticks_ms(self) -> int:
        return (self._ticks_at_power + self.elapsed_ms()) & (TICKS_PERIOD - 1)

    def ticks_diff(self, a: int, b: int) -> int:
        return ((a - b + TICKS_HALF) & (TICKS_PERIOD - 1)) - TICKS_HALF

    def ticks_add(self, a: int, delta: int) -> int:
        return (a + delta) & (TICKS_PERIOD - 1)

    def sleep_ms(self, duration_ms: int) -> None:
        """The rest of this step happens later: the world waits for the step to end."""
        self.ahead_ms += max(0, duration_ms)

    def random_bits(self, count: int) -> int:
        return self._random.getrandbits(count)

    def unique_id(self) -> bytes:
        return self._hardware.unique_id

    def reset(self) -> None:
        raise Reset

    def deepsleep(self, duration_ms: int) -> None:
        raise DeepSleep(duration_ms)

    def reset_cause(self) -> int:
        return self._cause

    def free_heap(self) -> int:
        return FREE_HEAP_BYTES

    def idf_heap(self) -> int | None:
        return None

    def idle(self) -> None:
        """What the chip does while the firmware waits: it moves sound into memory."""
        if self._sound is not None:
            self._sound.fill()

    def watchdog_feed(self) -> None:
        self.watchdog_fed_ms = self._loop.now_ms

    def start_watchdog(self, timeout_ms: int) -> None:
        self.watchdog_ms = timeout_ms
        self.watchdog_feed()

    def rom(self) -> None:
        """Hosted boards load their code from folders."""

    def set_rtc(self, unix_s: int) -> None:
        self.rtc_unix_s = unix_s

    def chip_temperature(self) -> int | None:
        return CHIP_TEMPERATURE

    def rtc_memory(self, data: bytes | None = None) -> bytes:
        if data is not None:
            self._hardware.rtc_memory = bytes(data)
        return self._hardware.rtc_memory

    def uart(self, name: str, **spec: int) -> Any:
        return self._buses.uart(name)

    def i2c(self, name: str) -> Any:
        return self._buses.i2c(name)

    def i2s(self, spec: dict[str, int]) -> Any:
        port = self._buses.i2s(spec)
        if not self._hardware.sampled_sound:
            return LevelPort(port)
        self._sound = DmaPort(port)
        return self._sound

    def pin(self, number: int) -> Pin:
        return Pin(self._hardware.pins, number)

    def link(self, settings: Any) -> Any:
        return self._link()
