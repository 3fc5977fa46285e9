"""The host's end of the bridge: plays the hardware of one MicroPython VM.

No files and no time in here: requests come in as bytes, replies go out as bytes, and what the
caller has to do itself (sleep, reset) is said in `Ended` and `Sleeping`.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from simulator import bridge
from simulator.buses import Buses

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_NO_AP_FOUND = 201
STAT_GOT_IP = 1010
WIFI_CONNECT_MS = 1500
EIO = 5
ENODEV = 19


@dataclass(frozen=True)
class Sleeping:
    """The VM waits for so many milliseconds; reply with `Chip.awake()` when they are over."""

    duration_ms: int


@dataclass(frozen=True)
class Ended:
    """The firmware gave up the processor: a reset (duration 0) or a deep sleep."""

    cause: int
    duration_ms: int


Answer = bytes | Sleeping | Ended


class Chip:
    """One simulated ESP32: its buses, Wi-Fi, watchdog and RTC memory.

    now_ms counts from power-on. `stepped` says whether sleep is the host's matter.
    """

    def __init__(
        self,
        board: dict[str, Any],
        buses: Buses,
        now_ms: Callable[[], int],
        unique_id: bytes,
        *,
        stepped: bool,
        cause: int,
        rtc_memory: bytes = b"",
        link: Any = None,
        seed: int = 0,
    ) -> None:
        self.rtc_memory = rtc_memory
        self.wifi_on = True
        self.pins: dict[int, int] = {}
        self.watchdog_ms: int | None = None
        self.watchdog_fed_ms = 0
        self.requests = 0
        self._board = board
        self._buses = buses
        self._now_ms = now_ms
        self._unique_id = unique_id
        self._stepped = stepped
        self._cause = cause
        self._link = link
        self._random = Random(seed)
        self._uart_names = {e["id"]: n for n, e in board.get("uart", {}).items()}
        self._i2c_names = {e["id"]: n for n, e in board.get("i2c", {}).items()}
        self._i2s: dict[int, Any] = {}
        self._associated_ms: int | None = None

    def watchdog_expired(self) -> bool:
        """Whether the firmware has left its watchdog unfed."""
        return (
            self.watchdog_ms is not None
            and self._now_ms() - self.watchdog_fed_ms > self.watchdog_ms
        )

    def awake(self) -> bytes:
        """The reply to a request that was answered with Sleeping."""
        return self._reply(0)

    def handle(self, operation: int, unit: int, value: int, payload: bytes) -> Answer:
        """Answer one request."""
        self.requests += 1
        if operation == bridge.SLEEP:
            return Sleeping(max(0, value)) if self._stepped else self._reply(0)
        if operation == bridge.RESET:
            return Ended(value or 2, 0)
        if operation == bridge.DEEPSLEEP:
            return Ended(4, value)
        try:
            return self._answer(operation, unit, value, payload)
        except OSError as error:
            return self._reply(-(error.errno or EIO))

    def _answer(self, operation: int, unit: int, value: int, payload: bytes) -> bytes:
        if operation in _UART:
            return self._uart(operation, unit, value, payload)
        if operation in _I2C:
            return self._i2c(operation, unit, value, payload)
        if operation in _I2S:
            return self._sound(operation, unit, value, payload)
        if operation in _NETWORK:
            return self._network(operation, payload)
        return self._chip(operation, unit, value, payload)

    def _chip(self, operation: int, unit: int, value: int, payload: bytes) -> bytes:
        if operation == bridge.BOOT:
            facts = {
                "unique_id": self._unique_id.hex(),
                "reset_cause": self._cause,
                "rtc_memory": self.rtc_memory.hex(),
            }
            return self._reply(0, json.dumps(facts).encode())
        if operation == bridge.RESYNC:
            return self._reply(0, payload)
        if operation == bridge.RANDOM:
            return self._reply(0, struct.pack("<I", self._random.getrandbits(value)))
        if operation == bridge.PIN_WRITE:
            self.pins[unit] = value
        elif operation == bridge.PIN_READ:
            return self._reply(self.pins.get(unit, 0))
        elif operation == bridge.WATCHDOG_START:
            self.watchdog_ms = value
            self.watchdog_fed_ms = self._now_ms()
        elif operation == bridge.WATCHDOG_FEED:
            self.watchdog_fed_ms = self._now_ms()
        elif operation == bridge.RTC_MEMORY:
            self.rtc_memory = payload
        elif operation != bridge.NOW:
            raise OSError(ENODEV, f"no operation {operation}")
        return self._reply(0)

    def _uart(self, operation: int, unit: int, value: int, payload: bytes) -> bytes:
        name = self._uart_names.get(unit)
        if name is None:
            raise OSError(ENODEV, f"no UART {unit} on this board")
        uart = self._buses.uart(name)
        if operation == bridge.UART_WRITE:
            return self._reply(uart.write(payload) or 0)
        if operation == bridge.UART_ANY:
            return self._reply(min(uart.any(), 32_767))
        if operation == bridge.UART_READ:
            waiting = min(value, uart.any(), bridge.PAYLOAD_MAX)
            return self._reply(0, uart.read(waiting) or b"" if waiting else b"")
        return self._reply(0)

    def _i2c(self, operation: int, unit: int, value: int, payload: bytes) -> bytes:
        name = self._i2c_names.get(unit)
        if name is None:
            raise OSError(ENODEV, f"no I2C {unit} on this board")
        bus = self._buses.i2c(name)
        if operation == bridge.I2C_SCAN:
            return self._reply(0, bytes(bus.scan()))
        address, count = value & 0xFF, value >> 8
        if operation == bridge.I2C_WRITE:
            return self._reply(bus.writeto(address, payload) or 0)
        buffer = bytearray(count)
        if operation == bridge.I2C_READ:
            bus.readfrom_into(address, buffer)
        else:
            bus.readfrom_mem_into(
                address, int.from_bytes(payload, "big"), buffer, addrsize=8 * len(payload)
            )
        return self._reply(0, bytes(buffer))

    def _sound(self, operation: int, unit: int, value: int, payload: bytes) -> bytes:
        if operation == bridge.I2S_OPEN:
            bits, channels, buffer_bytes = struct.unpack("<BBI", payload)
            spec = {
                "id": unit, "rate": value, "bits": bits,
                "channels": channels, "ibuf": buffer_bytes,
            }  # fmt: skip
            self._i2s[unit] = self._buses.i2s(spec)
            return self._reply(0)
        microphone = self._i2s.get(unit)
        if microphone is None:
            raise OSError(ENODEV, f"I2S {unit} is not open")
        buffer = bytearray(min(value, bridge.PAYLOAD_MAX))
        count = microphone.readinto(buffer) or 0
        return self._reply(0, bytes(buffer[:count]))

    def _network(self, operation: int, payload: bytes) -> bytes:
        if operation == bridge.WLAN_CONNECT:
            self._associated_ms = self._now_ms() + WIFI_CONNECT_MS
        elif operation == bridge.WLAN_DISCONNECT:
            self._associated_ms = None
        elif operation == bridge.WLAN_STATUS:
            return self._reply(self._wifi_status())
        elif operation == bridge.WLAN_RSSI:
            return self._reply(61)
        elif self._link is None:
            raise OSError(ENODEV, "this node has no simulated link")
        elif operation == bridge.LINK_SEND:
            return self._reply(1 if self._link.send(payload) else 0)
        elif operation == bridge.LINK_RECEIVE:
            frame = self._link.receive()
            return self._reply(0, bytes(frame) if frame else b"")
        else:
            self._link.poll(self._now_ms())
            return self._reply(1 if self._link.connected else 0)
        return self._reply(0)

    def _wifi_status(self) -> int:
        if self._associated_ms is None:
            return STAT_IDLE
        if not self.wifi_on:
            self._associated_ms = self._now_ms() + WIFI_CONNECT_MS
            return STAT_NO_AP_FOUND
        return STAT_GOT_IP if self._now_ms() >= self._associated_ms else STAT_CONNECTING

    def _reply(self, status: int, payload: bytes = b"") -> bytes:
        now_ms = self._now_ms()
        head = struct.pack(
            bridge.REPLY, status, len(payload), now_ms & 0xFFFFFFFF, now_ms >> 32 & 0xFFFF
        )
        return head + payload


_UART = frozenset((bridge.UART_OPEN, bridge.UART_WRITE, bridge.UART_READ, bridge.UART_ANY))
_I2C = frozenset((bridge.I2C_WRITE, bridge.I2C_READ, bridge.I2C_EXCHANGE, bridge.I2C_SCAN))
_I2S = frozenset((bridge.I2S_OPEN, bridge.I2S_READ))
_NETWORK = frozenset(
    (
        bridge.WLAN_CONNECT,
        bridge.WLAN_DISCONNECT,
        bridge.WLAN_STATUS,
        bridge.WLAN_RSSI,
        bridge.LINK_SEND,
        bridge.LINK_RECEIVE,
        bridge.LINK_CONNECTED,
    )
)
