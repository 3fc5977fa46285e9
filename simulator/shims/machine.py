"""The ESP32's machine module for a MicroPython VM whose hardware is played by the host.

Names and signatures are those of the ESP32 port; a test compares them with its stubs.
"""

import struct as _struct
import sys as _sys

import _host

from simulator import bridge as _bridge

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5
DEEPSLEEP = 4
SLEEP = 2
TIMER_WAKE = 4


def unique_id():
    return bytes.fromhex(_host.boot()["unique_id"])


def reset_cause():
    return _host.boot()["reset_cause"]


def wake_reason():
    return TIMER_WAKE if reset_cause() == DEEPSLEEP_RESET else 0


def reset():
    _host.call(_bridge.RESET, answer=False)
    _sys.exit(0)


def soft_reset():
    _host.call(_bridge.RESET, 0, SOFT_RESET, answer=False)
    _sys.exit(0)


def deepsleep(time_ms=-1):
    _host.call(_bridge.DEEPSLEEP, 0, time_ms, answer=False)
    _sys.exit(0)


def lightsleep(time_ms=0):
    _host.call(_bridge.SLEEP, 0, time_ms)


def idle():
    _host.run_idle_hooks()


def freq(hz=None):
    return 160000000 if hz is None else None


def disable_irq():
    return 0


def enable_irq(state):
    pass


class Pin:
    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2

    def __init__(self, id, mode=-1, pull=-1, *, value=None, drive=None, alt=None):
        self._number = id._number if isinstance(id, Pin) else id
        if value is not None:
            self.value(value)

    def init(self, mode=-1, pull=-1, *, value=None, drive=None, alt=None):
        if value is not None:
            self.value(value)

    def value(self, x=None):
        if x is None:
            return _host.call(_bridge.PIN_READ, self._number)[0]
        _host.call(_bridge.PIN_WRITE, self._number, 1 if x else 0)
        return None

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self.value())

    def __call__(self, x=None):
        return self.value(x)


class UART:
    INV_TX = 32
    INV_RX = 4

    def __init__(
        self,
        id,
        baudrate=115200,
        bits=8,
        parity=None,
        stop=1,
        *,
        tx=None,
        rx=None,
        txbuf=None,
        rxbuf=None,
        timeout=None,
        timeout_char=None,
        invert=None,
        flow=None,
        rts=None,
        cts=None,
    ):
        self._id = id
        self._open(baudrate, rxbuf)

    def init(
        self,
        baudrate=115200,
        bits=8,
        parity=None,
        stop=1,
        *,
        tx=None,
        rx=None,
        txbuf=None,
        rxbuf=None,
        timeout=None,
        timeout_char=None,
        invert=None,
        flow=None,
        rts=None,
        cts=None,
    ):
        self._open(baudrate, rxbuf)

    def _open(self, baudrate, rxbuf):
        _host.call(_bridge.UART_OPEN, self._id, baudrate, _struct.pack("<H", rxbuf or 256))

    def deinit(self):
        pass

    def any(self):
        return _host.call(_bridge.UART_ANY, self._id)[0]

    def read(self, nbytes=-1):
        if nbytes < 0 or nbytes > _bridge.PAYLOAD_MAX:
            nbytes = _bridge.PAYLOAD_MAX
        data = _host.call(_bridge.UART_READ, self._id, nbytes)[1]
        return bytes(data) if data else None

    def readinto(self, buf, nbytes=-1):
        if nbytes < 0 or nbytes > len(buf):
            nbytes = len(buf)
        data = _host.call(_bridge.UART_READ, self._id, min(nbytes, _bridge.PAYLOAD_MAX))[1]
        if not data:
            return None
        buf[: len(data)] = data
        return len(data)

    def readline(self):
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = self.read(1)
            if byte is None:
                break
            line.extend(byte)
        return bytes(line) if line else None

    def write(self, buf):
        view = memoryview(buf)
        for start in range(0, len(view), _bridge.PAYLOAD_MAX):
            _host.call(_bridge.UART_WRITE, self._id, 0, view[start : start + _bridge.PAYLOAD_MAX])
        return len(view)

    def flush(self):
        pass

    def txdone(self):
        return True

    def sendbreak(self):
        pass


class I2C:
    def __init__(self, id=-1, *, scl=None, sda=None, freq=400000, timeout=50000):
        self._id = id

    def init(self, *, scl=None, sda=None, freq=400000):
        pass

    def scan(self):
        return list(_host.call(_bridge.I2C_SCAN, self._id)[1])

    def writeto(self, addr, buf, stop=True):
        return _host.call(_bridge.I2C_WRITE, self._id, addr, buf)[0]

    def writevto(self, addr, vector, stop=True):
        return self.writeto(addr, b"".join(bytes(part) for part in vector))

    def readfrom(self, addr, nbytes, stop=True):
        return bytes(_host.call(_bridge.I2C_READ, self._id, addr | nbytes << 8)[1])

    def readfrom_into(self, addr, buf, stop=True):
        buf[:] = _host.call(_bridge.I2C_READ, self._id, addr | len(buf) << 8)[1]

    def readfrom_mem(self, addr, memaddr, nbytes, *, addrsize=8):
        return bytes(
            _host.call(
                _bridge.I2C_EXCHANGE,
                self._id,
                addr | nbytes << 8,
                memaddr.to_bytes(addrsize // 8, "big"),
            )[1]
        )

    def readfrom_mem_into(self, addr, memaddr, buf, *, addrsize=8):
        buf[:] = self.readfrom_mem(addr, memaddr, len(buf), addrsize=addrsize)

    def writeto_mem(self, addr, memaddr, buf, *, addrsize=8):
        self.writeto(addr, memaddr.to_bytes(addrsize // 8, "big") + bytes(buf))


class SoftI2C(I2C):
    def __init__(self, scl, sda, *, freq=400000, timeout=50000):
        super().__init__(255, scl=scl, sda=sda, freq=freq, timeout=timeout)


class I2S:
    RX = 1
    TX = 2
    MONO = 0
    STEREO = 1

    def __init__(self, id, *, sck, ws, sd, mck=None, mode, bits, format, rate, ibuf):
        self._id = id
        self._handler = None
        self._target = None
        self._filled = 0
        import wide_viper

        wide_viper.install()
        _host.call(_bridge.I2S_OPEN, id, rate, _struct.pack("<BBI", bits, format + 1, ibuf))
        _host.idle_hooks.append(self._fill)

    def init(self, *, sck, ws, sd, mck=None, mode, bits, format, rate, ibuf):
        _host.call(_bridge.I2S_OPEN, self._id, rate, _struct.pack("<BBI", bits, format + 1, ibuf))

    def irq(self, handler):
        self._handler = handler

    def _take(self, view):
        data = _host.call(_bridge.I2S_READ, self._id, min(len(view), _bridge.PAYLOAD_MAX))[1]
        view[: len(data)] = data
        return len(data)

    def _fill(self):
        """Move what the DMA holds into the buffer of a pending readinto; call back when full."""
        while self._target is not None:
            count = self._take(self._target[self._filled :])
            if not count:
                return
            self._filled += count
            if self._filled == len(self._target):
                self._target = None
                self._handler(self)

    def readinto(self, buf):
        if self._handler is not None:
            self._target = memoryview(buf)
            self._filled = 0
            return 0
        import time

        view = memoryview(buf)
        filled = 0
        while filled < len(view):
            count = self._take(view[filled:])
            if not count:
                time.sleep_ms(1)
            filled += count
        return filled

    def write(self, buf):
        return len(buf)

    def deinit(self):
        self._target = None
        if self._fill in _host.idle_hooks:
            _host.idle_hooks.remove(self._fill)

    @staticmethod
    def shift(*, buf, bits, shift):
        size = bits // 8
        code = "<h" if size == 2 else "<i"
        mask = (1 << bits) - 1
        for offset in range(0, len(buf), size):
            value = _struct.unpack_from(code, buf, offset)[0]
            value = value << shift if shift > 0 else value >> -shift
            value &= mask
            if value >> (bits - 1):
                value -= 1 << bits
            _struct.pack_into(code, buf, offset, value)


class RTC:
    def __init__(self, id=0, *, datetime=None):
        if datetime is not None:
            self.datetime(datetime)

    def memory(self, data=None):
        if data is None:
            return bytes.fromhex(_host.boot()["rtc_memory"])
        kept = bytes(data)
        _host.boot()["rtc_memory"] = kept.hex()
        _host.call(_bridge.RTC_MEMORY, 0, 0, kept)
        return None

    def datetime(self, datetimetuple=None):
        import time

        if datetimetuple is not None:
            stamp = time.mktime(
                (
                    datetimetuple[0],
                    datetimetuple[1],
                    datetimetuple[2],
                    datetimetuple[4],
                    datetimetuple[5],
                    datetimetuple[6],
                    0,
                    0,
                )
            )
            self._offset_s = stamp - time.time()
            return None
        stamp = time.time() + getattr(self, "_offset_s", 0)
        year, month, day, hour, minute, second, weekday, _ = time.gmtime(stamp)[:8]
        return (year, month, day, weekday, hour, minute, second, 0)


class WDT:
    def __init__(self, *, id=0, timeout=5000):
        _host.call(_bridge.WATCHDOG_START, id, timeout)

    def feed(self):
        _host.call(_bridge.WATCHDOG_FEED)


class ADC:
    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3

    def __init__(self, id, *, sample_ns=0, atten=0):
        self._pin = id if isinstance(id, Pin) else Pin(id)

    def atten(self, atten):
        pass

    def read_uv(self):
        return self._pin.value() * 1000000

    def read_u16(self):
        return min(65535, self.read_uv() * 65535 // 3300000)
