"""A board for tests: a Hal in memory with a hand-moved clock, a link in memory, plain sensors."""

import random
from collections import deque
from typing import Any

from firmware import identity
from firmware.node import Node
from firmware.settings import Settings
from protocol import mac
from simulator.faults.filesystem import MemoryFiles, Outcome

TICKS_PERIOD = 1 << 30
KEY = bytes(range(32))
UUID = bytes(range(16))
NODE = 0xA1B2C3D4
BOOT = 1_764_000_000


class MemoryNvs:
    """esp32.NVS in a dictionary; set_blob is durable at commit."""

    def __init__(self) -> None:
        self.durable: dict[str, bytes] = {}
        self._pending: dict[str, bytes] = {}

    def get_blob(self, key: str, buffer: bytearray) -> int:
        if key not in self.durable:
            raise OSError(-0x1102, "not found")
        data = self.durable[key]
        buffer[: len(data)] = data
        return len(data)

    def set_blob(self, key: str, value: bytes) -> None:
        self._pending[key] = bytes(value)

    def commit(self) -> None:
        self.durable.update(self._pending)
        self._pending.clear()


class MemoryRom:
    """firmware.types.Rom in memory: written bits only fall, and each step is one of the files'."""

    def __init__(self, files: MemoryFiles, content: bytes) -> None:
        self.content = bytearray(content)
        self.view = memoryview(self.content).toreadonly()
        self._files = files

    def erase(self, block: int) -> None:
        self._step(block * 4096, b"\xff" * 4096)

    def write(self, block: int, data: bytes, offset: int) -> None:
        assert offset + len(data) <= 4096
        first = block * 4096 + offset
        there = self.content[first : first + len(data)]
        self._step(first, bytes(a & b for a, b in zip(there, data, strict=True)))

    def _step(self, first: int, data: bytes) -> None:
        for happens in self._files.count_operation():
            count = {Outcome.NOTHING: 0, Outcome.PART: len(data) // 2, Outcome.ALL: len(data)}
            self.content[first : first + count[happens]] = data[: count[happens]]


class Link:
    """A transport in memory: what the node sent is in up, what it shall receive goes into down."""

    POLL_MS = 1_000

    def __init__(self) -> None:
        self.connected = False
        self.reason = ""
        self.accepts = True
        self.secure = False
        self.up: list[bytes] = []
        self.down: deque[bytes] = deque()

    def start(self, now_ms: int) -> None:
        self.connected = self.accepts

    def poll(self, now_ms: int) -> None:
        self.connected = self.accepts

    def send(self, frame: memoryview) -> bool:
        if not self.connected:
            return False
        self.up.append(bytes(frame))
        return True

    def receive(self) -> memoryview | None:
        return memoryview(self.down.popleft()) if self.down else None

    def close(self) -> None:
        self.connected = False


class MemoryHal:
    """The machine below a node; now_ms is true time since power-on, ticks wrap at 2**30."""

    def __init__(
        self,
        files: MemoryFiles | None = None,
        nvs: MemoryNvs | None = None,
        mapped: "MemoryRom | None" = None,
    ) -> None:
        self.files = files or MemoryFiles()
        self.mapped = mapped
        self.nvs = nvs or MemoryNvs()
        self.now_ms = 0
        self.first_ticks = TICKS_PERIOD - 5_000
        self.random = random.Random(7)
        self.transport = Link()
        self.fed_ms = 0
        self.resets = 0
        self.cause = 1
        self.rtc = b""
        self.rtc_s: list[int] = []
        self.slept: list[int] = []

    def ticks_ms(self) -> int:
        return (self.first_ticks + self.now_ms) % TICKS_PERIOD

    def ticks_diff(self, a: int, b: int) -> int:
        return (a - b + TICKS_PERIOD // 2) % TICKS_PERIOD - TICKS_PERIOD // 2

    def ticks_add(self, a: int, delta: int) -> int:
        return (a + delta) % TICKS_PERIOD

    def sleep_ms(self, duration_ms: int) -> None:
        self.now_ms += duration_ms

    def random_bits(self, count: int) -> int:
        return self.random.getrandbits(count)

    def unique_id(self) -> bytes:
        return b"\x24\x0a\xc4\x00\x00\x01"

    def reset(self) -> None:
        self.resets += 1

    def deepsleep(self, duration_ms: int) -> None:
        self.slept.append(duration_ms)

    def reset_cause(self) -> int:
        return self.cause

    def free_heap(self) -> int:
        return 40_000

    def idf_heap(self) -> int | None:
        return 90_000

    def watchdog_feed(self) -> None:
        self.fed_ms = self.now_ms

    def set_rtc(self, unix_s: int) -> None:
        self.rtc_s.append(unix_s)

    def rtc_memory(self, data: bytes | None = None) -> bytes:
        if data is not None:
            self.rtc = data
        return self.rtc

    def rom(self) -> "MemoryRom | None":
        return self.mapped

    def uart(self, name: str, **spec: int) -> Any:
        raise OSError(19)

    def i2c(self, name: str) -> Any:
        raise OSError(19)

    def i2s(self, spec: dict[str, int]) -> Any:
        raise OSError(19)

    def pin(self, number: int) -> Any:
        raise OSError(19)

    def link(self, settings: Settings) -> Link:
        return self.transport


class Ramp:
    """A sensor whose value is the number of its reading."""

    LEAD_MS = 0
    ANSWER_MS = 500
    CHANNELS: tuple[tuple[int | None, ...], ...] = ((16, None), (17, None))

    def __init__(self, answers_after_ms: int = 40) -> None:
        self.answers_after_ms = answers_after_ms
        self.ready = False
        self.bus_errors = 0
        self.checksum_errors = 0
        self.silent = False
        self.count = 0
        self._due: int | None = None

    def begin(self, now_ms: int) -> None:
        self.ready = False
        self._due = now_ms + self.answers_after_ms

    def poll(self, now_ms: int) -> int:
        if self._due is None or self.silent:
            return -1
        if now_ms >= self._due:
            self.ready = True
            self._due = None
            return -1
        return self._due - now_ms

    def read(self, row: Any) -> None:
        self.count += 1
        row.put(0, 2000 + self.count)
        row.put(1, 5000 - self.count)
        self.ready = False


def provision(nvs: MemoryNvs) -> None:
    """Give a board its identity, as the technician's tool does."""
    identity.save(nvs, identity.Identity(NODE, BOOT, UUID, KEY))


def make_node(
    hal: MemoryHal | None = None, sensors: list[Any] | None = None, **settings: int | str
) -> Node:
    """A provisioned node over a MemoryHal, with a Ramp unless sensors are given."""
    hal = hal or MemoryHal()
    if "identity" not in hal.nvs.durable:
        provision(hal.nvs)
    table = Settings()
    for name, value in settings.items():
        table.set(name, value)
    pairs = [(sensor, 0) for sensor in (sensors if sensors is not None else [Ramp()])]
    return Node(hal, {"board": "test"}, table, sensors=pairs)


def run(node: Node, duration_ms: int) -> None:
    """Step a node through a stretch of virtual time, or until it resets its board."""
    hal: Any = node.hal
    end = hal.now_ms + duration_ms
    resets = hal.resets
    while hal.now_ms < end and hal.resets == resets:
        wait = node.step()
        hal.now_ms += max(1, min(wait, end - hal.now_ms))


UP = mac.derive(KEY, mac.UP)
DOWN = mac.derive(KEY, mac.DOWN)
