"""UART and I2C of a node that runs under CPython: machine's names over device models."""

from collections.abc import Callable, Iterable

from simulator.devices.base import ENODEV, I2cDevice, UartDevice

Clock = Callable[[], int]
"""Gives the models' time in ms."""

RECEIVE_BUFFER = 2048


class SimulatedUart:
    """machine.UART with one device at its other end, or none (device=None)."""

    def __init__(
        self, device: UartDevice | None, clock: Clock, receive_buffer: int = RECEIVE_BUFFER
    ) -> None:
        self.device = device
        self._clock = clock
        self._limit = receive_buffer
        self._buffer = bytearray()

    def _fetch(self) -> None:
        if self.device is not None:
            data = self.device.transmit(self._clock())
            self._buffer += data[: self._limit - len(self._buffer)]

    def any(self) -> int:
        self._fetch()
        return len(self._buffer)

    def read(self, nbytes: int = -1, /) -> bytes | None:
        self._fetch()
        count = len(self._buffer) if nbytes < 0 else nbytes
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data or None

    def readinto(self, buf: bytearray | memoryview, nbytes: int = -1, /) -> int | None:
        count = len(buf) if nbytes < 0 else min(nbytes, len(buf))
        data = self.read(count)
        if data is None:
            return None
        buf[: len(data)] = data
        return len(data)

    def write(self, buf: bytes | bytearray | memoryview, /) -> int:
        data = bytes(buf)
        if self.device is not None:
            self.device.receive(data, self._clock())
        return len(data)

    def flush(self) -> None:
        pass

    def txdone(self) -> bool:
        return True

    def init(self, baudrate: int = 9600, **settings: int) -> None:
        pass

    def deinit(self) -> None:
        pass


class SimulatedI2c:
    """machine.I2C with any number of devices; an address nobody has raises OSError(ENODEV)."""

    def __init__(self, devices: Iterable[I2cDevice], clock: Clock) -> None:
        self.devices = list(devices)
        self._clock = clock

    def _device(self, address: int) -> I2cDevice:
        now_ms = self._clock()
        for device in self.devices:
            if device.address == address and device.present(now_ms):
                return device
        raise OSError(ENODEV, f"no device at 0x{address:02x}")

    def scan(self) -> list[int]:
        now_ms = self._clock()
        return sorted({d.address for d in self.devices if d.present(now_ms)})

    def writeto(self, addr: int, buf: bytes | bytearray | memoryview, stop: bool = True, /) -> int:
        data = bytes(buf)
        self._device(addr).write(data, self._clock())
        return len(data) + 1

    def writevto(
        self, addr: int, vector: Iterable[bytes | bytearray | memoryview], stop: bool = True, /
    ) -> int:
        return self.writeto(addr, b"".join(bytes(part) for part in vector))

    def readfrom(self, addr: int, nbytes: int, stop: bool = True, /) -> bytes:
        return self._device(addr).read(nbytes, self._clock())

    def readfrom_into(self, addr: int, buf: bytearray | memoryview, stop: bool = True, /) -> None:
        buf[:] = self.readfrom(addr, len(buf))

    def readfrom_mem(self, addr: int, memaddr: int, nbytes: int, /, *, addrsize: int = 8) -> bytes:
        device = self._device(addr)
        device.write(memaddr.to_bytes(addrsize // 8, "big"), self._clock())
        return device.read(nbytes, self._clock())

    def readfrom_mem_into(
        self, addr: int, memaddr: int, buf: bytearray | memoryview, /, *, addrsize: int = 8
    ) -> None:
        buf[:] = self.readfrom_mem(addr, memaddr, len(buf), addrsize=addrsize)

    def writeto_mem(
        self, addr: int, memaddr: int, buf: bytes | bytearray | memoryview, /, *, addrsize: int = 8
    ) -> None:
        self.writeto(addr, memaddr.to_bytes(addrsize // 8, "big") + bytes(buf))
