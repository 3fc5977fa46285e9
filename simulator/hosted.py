"""A board whose firmware runs in this CPython process, in virtual time.

`HostedBoard` is what survives a power cut: flash, NVS, serial number. `HostedNode` gives it power,
runs the firmware's steps when they are due, and takes the power away.
"""

import asyncio
import traceback
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from firmware.node import Node
from simulator.devices.microphone_levels import LevelPort
from simulator.faults.filesystem import PowerCut

if TYPE_CHECKING:
    from firmware.types import Nvs

TICKS_PERIOD = 1 << 30
TICKS_HALF = TICKS_PERIOD >> 1

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4

FREE_HEAP_BYTES = 98_304
CHIP_TEMPERATURE = 41
FAULTS_MAX = 10
FAULT_WAIT_MS = 100
RESTART_MS = 5_000
CRASHES_KEPT_MAX = 20
NVS_NOT_FOUND = -0x1102
ENODEV = 19


class Reset(BaseException):
    """machine.reset()."""


class DeepSleep(BaseException):
    """machine.deepsleep(); duration_ms is how long."""

    def __init__(self, duration_ms: int) -> None:
        super().__init__(duration_ms)
        self.duration_ms = duration_ms


class MemoryNvs:
    """esp32.NVS in memory: what was not committed is gone after a power cut.

    on_commit is called before a commit takes effect, and may raise PowerCut.
    """

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}
        self._open: dict[str, bytes] = {}
        self.commits = 0
        self.on_commit: Callable[[], None] | None = None

    def get_blob(self, key: str, buffer: bytearray) -> int:
        """Copy a value into buffer; returns its length. OSError for an unknown key."""
        value = self._open.get(key, self._kept.get(key))
        if value is None:
            raise OSError(NVS_NOT_FOUND, "ESP_ERR_NVS_NOT_FOUND")
        buffer[: len(value)] = value
        return len(value)

    def set_blob(self, key: str, value: bytes) -> None:
        """Set a value; it lasts once it is committed."""
        self._open[key] = bytes(value)

    def erase_key(self, key: str) -> None:
        """Forget a value."""
        self._open.pop(key, None)
        self._kept.pop(key, None)

    def commit(self) -> None:
        """Make what was set last."""
        if self.on_commit is not None:
            self.on_commit()
        self._kept.update(self._open)
        self._open.clear()
        self.commits += 1

    def lose_power(self) -> None:
        """Forget what was not committed."""
        self._open.clear()


class Timers(Protocol):
    """Where time comes from: a VirtualLoop, or RealTime."""

    @property
    def now_ms(self) -> int: ...

    def call_at_ms(self, when_ms: int, callback: Callable[..., object], *arguments: Any) -> Any: ...

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> Any: ...


class RealTime:
    """This machine's clock and the running event loop, for boards hosted in real time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()

    @property
    def now_ms(self) -> int:
        """Milliseconds since this was made."""
        return int((self._loop.time() - self._start_s) * 1000)

    def call_at_ms(self, when_ms: int, callback: Callable[..., object], *arguments: Any) -> Any:
        """Call back at a millisecond."""
        return self._loop.call_at(self._start_s + when_ms / 1000, callback, *arguments)

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> Any:
        """Call back as soon as can be."""
        return self._loop.call_soon(callback, *arguments)


class Links(Protocol):
    """Where a node's connection comes from: the simulated network, or a real broker."""

    def link(self, node: int) -> Any: ...


class Buses(Protocol):
    """The sensors on a board, behind its buses; see simulator/wiring.py."""

    def uart(self, name: str) -> Any: ...

    def i2c(self, name: str) -> Any: ...

    def i2s(self, spec: dict[str, int]) -> Any: ...


class Bare:
    """A board without any bus."""

    def uart(self, name: str) -> Any:
        raise OSError(ENODEV, f"no UART {name}")

    def i2c(self, name: str) -> Any:
        raise OSError(ENODEV, f"no I2C {name}")

    def i2s(self, spec: dict[str, int]) -> Any:
        raise OSError(ENODEV, "no I2S")


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


class HostedBoard:
    """A board without power: its chip number, flash, NVS and the sensors wired to it.

    sampled_sound: its microphone gives samples to the firmware's own meter, 15 times faster than
    time at best; else it gives levels.
    """

    def __init__(self, board: dict[str, Any], files: Any, nvs: MemoryNvs, unique_id: bytes) -> None:
        self.board = board
        self.files = files
        self.nvs = nvs
        self.unique_id = unique_id
        self.rtc_memory = b""
        self.pins: dict[int, int] = {}
        self.sampled_sound = False


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
        self.files = board.files
        self.nvs: Nvs = board.nvs
        self.ahead_ms = 0
        self.drift_ppm = 0
        self.watchdog_ms: int | None = None
        self.watchdog_fed_ms = 0
        self.rtc_unix_s: int | None = None
        self.board = board.board
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


BusesOf = Callable[[], Buses]
NodeOf = Callable[[HostedHal], Node]


class HostedNode:
    """A board under power in virtual time.

    make_node builds the firmware's Node on a Hal, with the board's settings and schedule; buses
    are made anew at power-on, for sensors lose power together with the board.
    """

    def __init__(
        self,
        loop: Timers,
        network: Links,
        address: int,
        board: HostedBoard,
        buses: BusesOf,
        make_node: NodeOf,
        seed: int = 0,
    ) -> None:
        self.address = address
        self.board = board
        self.node: Node | None = None
        self.hal: HostedHal | None = None
        self.starts = 0
        self.steps = 0
        self.crashes: list[str] = []
        self.drift_ppm = 0
        self.on_power: Callable[[HostedNode], None] | None = None
        self.on_started: Callable[[HostedNode], None] | None = None
        self.on_off: Callable[[HostedNode], None] | None = None
        self.on_sleep: Callable[[HostedNode], None] | None = None
        self.on_cut: Callable[[HostedNode], None] | None = None
        self.asleep = False
        self._loop = loop
        self._network = network
        self._buses = buses
        self._make_node = make_node
        self._seed = seed
        self._timer: Any = None
        self._faults = 0

    @property
    def powered(self) -> bool:
        """Whether the firmware is running."""
        return self.node is not None

    def power_on(self, cause: int = PWRON_RESET) -> None:
        """Give power, or wake from deep sleep: the firmware starts."""
        self.asleep = False
        self.starts += 1
        if cause == PWRON_RESET:
            self.board.rtc_memory = b""
        self.hal = HostedHal(
            self._loop, self.board, self._buses(), self._new_link, cause,
            self._seed * 1_000_003 + self.starts,
        )  # fmt: skip
        self.hal.drift_ppm = self.drift_ppm
        self.hal.watchdog_feed()
        if self.on_power is not None:
            self.on_power(self)
        self._guarded(self._start)

    def power_off(self) -> None:
        """Take the power away, between two steps or in deep sleep."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.on_off is not None and (self.node is not None or self.asleep):
            self.on_off(self)
        self.asleep = False
        self._stop()

    def _fall_asleep(self, duration_ms: int) -> None:
        """Only the RTC memory stays under power, and a timer that wakes the board."""
        if self.on_sleep is not None:
            self.on_sleep(self)
        self._stop()
        self.asleep = True
        wake_ms = self._loop.now_ms + duration_ms
        self._timer = self._loop.call_at_ms(wake_ms, self.power_on, DEEPSLEEP_RESET)

    def _stop(self) -> None:
        self.node = None
        self.hal = None
        self.board.nvs.lose_power()

    def wake(self) -> None:
        """Run the next step now: something has arrived."""
        if self.node is not None and self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop.call_soon(self._step)

    def _new_link(self) -> Any:
        link = self._network.link(self.address)
        link.on_frame = self.wake
        return link

    def _start(self) -> None:
        assert self.hal is not None
        self.node = self._make_node(self.hal)
        self.node.start()
        if self.on_started is not None:
            self.on_started(self)
        self._schedule(0)

    def _step(self) -> None:
        self._guarded(self._run_step)

    def _run_step(self) -> None:
        assert self.node is not None
        assert self.hal is not None
        self.hal.ahead_ms = 0
        self.hal.idle()
        self.steps += 1
        wait_ms = self.node.step()
        self._faults = 0
        self._schedule(max(1, wait_ms) + self.hal.ahead_ms)

    def _schedule(self, wait_ms: int) -> None:
        assert self.hal is not None
        self._timer = self._loop.call_at_ms(self.hal.due_ms(wait_ms), self._step)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except PowerCut:
            self.power_off()
            if self.on_cut is not None:
                self.on_cut(self)
        except Reset:
            self.power_off()
            self._loop.call_soon(self.power_on, HARD_RESET)
        except DeepSleep as sleep:
            self._fall_asleep(sleep.duration_ms)
        except Exception as fault:
            self._crashed(fault)

    def _crashed(self, fault: Exception) -> None:
        """As the board's program: a step that raises is noted; ten in a row start it anew."""
        if len(self.crashes) < CRASHES_KEPT_MAX:
            self.crashes.append("".join(traceback.format_exception(fault))[-1500:])
        self._faults += 1
        if self.node is None or self._faults >= FAULTS_MAX:
            self._faults = 0
            self.power_off()
            self._loop.call_at_ms(self._loop.now_ms + RESTART_MS, self.power_on, HARD_RESET)
        else:
            self._schedule(FAULT_WAIT_MS)
