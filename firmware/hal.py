"""The machine below the firmware, from MicroPython's own modules: an ESP32 or the VM with shims."""

import gc
import random
import time as _time

from firmware.files import BoardFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.settings import Settings
    from firmware.types import Files, Nvs, Rom, Transport

time: "Any" = _time  # its ticks are plain integers, which its stubs do not allow

UART_BUFFER_BYTES = 2048
NVS_NAMESPACE = "osn"


class BoardHal:
    """firmware.types.Hal on a board; board is board.json's content.

    Buses are made once and shared by the drivers that name them.
    """

    def __init__(self, board: "dict[str, Any]", root: str = "") -> None:
        import esp32

        self.board = board
        self.files: "Files" = BoardFiles(root)
        self.nvs: "Nvs" = esp32.NVS(NVS_NAMESPACE)
        self._buses: "dict[str, Any]" = {}
        self._watchdog: "Any" = None

    def ticks_ms(self) -> int:
        """Milliseconds of a counter that wraps."""
        return int(time.ticks_ms())

    def ticks_diff(self, a: int, b: int) -> int:
        """a - b over the wrap."""
        return int(time.ticks_diff(a, b))

    def ticks_add(self, a: int, delta: int) -> int:
        """a + delta over the wrap."""
        return int(time.ticks_add(a, delta))

    def sleep_ms(self, duration_ms: int) -> None:
        """Give the processor away."""
        time.sleep_ms(duration_ms)

    def random_bits(self, count: int) -> int:
        """Random bits, at most 32."""
        return random.getrandbits(count)

    def unique_id(self) -> bytes:
        """The chip's number."""
        import machine

        return machine.unique_id()

    def reset(self) -> None:
        """Start anew, as after power-on."""
        import machine

        machine.reset()

    def deepsleep(self, duration_ms: int) -> None:
        """Sleep and start anew; RTC memory survives."""
        import machine

        machine.deepsleep(duration_ms)

    def reset_cause(self) -> int:
        """Why the chip started: machine.reset_cause()."""
        import machine

        return machine.reset_cause()

    def free_heap(self) -> int:
        """Free bytes of MicroPython's heap."""
        return gc.mem_free()

    def idf_heap(self) -> "int | None":
        """Free bytes of the system's heap, from which Wi-Fi and TLS take theirs."""
        import esp32

        free = 0
        for region in esp32.idf_heap_info(esp32.HEAP_DATA):
            free += region[1]
        return free

    def chip_temperature(self) -> "int | None":
        """The chip's own temperature in whole degrees Celsius, None where it cannot tell."""
        import esp32

        if hasattr(esp32, "mcu_temperature"):
            degrees: int = esp32.mcu_temperature()
            return degrees
        if hasattr(esp32, "raw_temperature"):
            return (esp32.raw_temperature() - 32) * 5 // 9
        return None

    def start_watchdog(self, timeout_ms: int) -> None:
        """Reset the chip unless watchdog_feed() is called within timeout_ms from now on."""
        import machine

        self._watchdog = machine.WDT(timeout=timeout_ms)

    def watchdog_feed(self) -> None:
        """Tell the watchdog that all is well."""
        if self._watchdog is not None:
            self._watchdog.feed()

    def set_rtc(self, unix_s: int) -> None:
        """Set the system's clock, which TLS looks at."""
        import machine

        second = unix_s - (946_684_800 if time.gmtime(0)[0] == 2000 else 0)
        year, month, day, hour, minute, second, weekday = time.gmtime(second)[:7]
        machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))

    def rtc_memory(self, data: "bytes | None" = None) -> bytes:
        """Read, or write and read, the memory that survives deep sleep."""
        import machine

        memory = machine.RTC()
        if data is not None:
            memory.memory(data)
        return memory.memory()

    def rom(self) -> "Rom | None":
        """Flash for code in place, None where the image maps none."""
        from firmware import slices

        return slices.find()

    def uart(self, name: str, **spec: int) -> "Any":
        """The UART that board.json names; spec overrides its baud rate."""
        import machine

        key = "uart:" + name
        if key not in self._buses:
            entry = self.board["uart"][name]
            self._buses[key] = machine.UART(
                entry["id"],
                spec.get("baud", entry["baud"]),
                tx=entry["tx"],
                rx=entry["rx"],
                txbuf=UART_BUFFER_BYTES,
                rxbuf=UART_BUFFER_BYTES,
                timeout=0,
            )
        return self._buses[key]

    def i2c(self, name: str) -> "Any":
        """The I2C bus that board.json names."""
        import machine

        key = "i2c:" + name
        if key not in self._buses:
            entry = self.board["i2c"][name]
            self._buses[key] = machine.I2C(
                entry["id"],
                scl=machine.Pin(entry["scl"]),
                sda=machine.Pin(entry["sda"]),
                freq=entry.get("hz", 100_000),
            )
        return self._buses[key]

    def i2s(self, spec: "dict[str, int]") -> "Any":
        """A receiving I2S port: spec has id, sck, ws, sd, and may have bits, rate, buffer."""
        import machine

        return machine.I2S(
            spec["id"],
            sck=machine.Pin(spec["sck"]),
            ws=machine.Pin(spec["ws"]),
            sd=machine.Pin(spec["sd"]),
            mode=machine.I2S.RX,
            bits=spec.get("bits", 32),
            format=machine.I2S.MONO,
            rate=spec.get("rate", 48_000),
            ibuf=spec.get("buffer", 40_000),
        )

    def pin(self, number: int) -> "Any":
        """An output pin."""
        import machine

        return machine.Pin(number, machine.Pin.OUT)

    def link(self, settings: "Settings") -> "Transport":
        """The transport that the settings name."""
        if settings["transport"] == "serial":
            from firmware.transports.serial import open_link

            return open_link(self, settings)
        from firmware.transports.mqtt import MqttTransport
        from firmware.transports.wifi import Wifi

        return MqttTransport(settings, Wifi(settings), self, self._node())

    def _node(self) -> int:
        from firmware import identity

        found = identity.load(self.nvs)
        return found.node if found else 0
