"""Bosch BME280 (temperature, humidity, pressure) and BMP280 (no humidity), I2C.

Forced mode: one conversion at each instant, asleep otherwise, so it hardly heats itself. Pressure
at 16x (0.2 Pa steps; at 1x they would be 2.6 Pa), temperature at 2x. Compensation in integers
after the data sheets (BST-BME280-DS002 4.2.3, BST-BMP280-DS001 3.11.3).
"""

from errno import ENODEV, ETIMEDOUT
from struct import unpack

from firmware.sensors.base import Sensor, bus_of, first_flag, range_quality
from protocol.quantity import HUMIDITY, PRESSURE, TEMPERATURE
from protocol.wire import Q_FAULT, Q_MISSING, Q_OK, Q_SUSPECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.sensors.bus import Entry, Hal, I2c, Options, Work

BME280 = 0x60
BMP280 = (0x56, 0x57, 0x58)
CTRL_HUM, STATUS, CTRL_MEAS, CONFIG, DATA = 0xF2, 0xF3, 0xF4, 0xF5, 0xF7
FORCED = 2 << 5 | 5 << 2 | 1
CONVERSION_MS = 47
SKIPPED_20, SKIPPED_16 = 0x80000, 0x8000
NOMINAL_FINE = 128000
STUCK_AFTER = 30
JUMP_PA, JUMP_MS = 10000, 60000


def calibration(low: bytes, high: bytes) -> "list[int]":
    """The 18 words T1..T3, P1..P9, H1..H6 of the registers 0x88..0xA1 and 0xE1..0xE7."""
    words = list(unpack("<HhhHhhhhhhhhxB", low))
    h2, h3, e4, e5, e6, h6 = unpack("<hBbBbb", high)
    words += [h2, h3, e4 << 4 | e5 & 15, e6 << 4 | e5 >> 4, h6]
    return words


def fine_temperature(words: "list[int]", adc: int) -> int:
    """The data sheet's t_fine: temperature in 1/5120 degC."""
    t1, t2, t3 = words[0], words[1], words[2]
    first = ((adc >> 3) - (t1 << 1)) * t2 >> 11
    second = (((adc >> 4) - t1) * ((adc >> 4) - t1) >> 12) * t3 >> 14
    return first + second


def temperature(fine: int) -> int:
    """Temperature in 0.01 degC."""
    return fine * 5 + 128 >> 8


def pressure(words: "list[int]", adc: int, fine: int) -> "int | None":
    """Pressure in Pa; None for words that would divide by zero."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = words[3:12]
    var1 = fine - 128000
    var2 = var1 * var1 * p6 + (var1 * p5 << 17) + (p4 << 35)
    var1 = (var1 * var1 * p3 >> 8) + (var1 * p2 << 12)
    var1 = ((1 << 47) + var1) * p1 >> 33
    if var1 == 0:
        return None
    value = ((1048576 - adc << 31) - var2) * 3125 // var1
    var1 = p9 * (value >> 13) * (value >> 13) >> 25
    var2 = p8 * value >> 19
    value = (value + var1 + var2 >> 8) + (p7 << 4)
    return value + 128 >> 8


def humidity(words: "list[int]", adc: int, fine: int) -> int:
    """Relative humidity in 0.01 %, 0..10000."""
    h1, h2, h3, h4, h5, h6 = words[12:18]
    x = fine - 76800
    left = (adc << 14) - (h4 << 20) - h5 * x + 16384 >> 15
    right = ((x * h6 >> 10) * ((x * h3 >> 11) + 32768) >> 10) + 2097152
    value = left * (right * h2 + 8192 >> 14)
    value -= ((value >> 15) * (value >> 15) >> 7) * h1 >> 4
    value = min(max(value, 0), 419430400)
    return (value >> 12) * 100 + 512 >> 10


class Bme280(Sensor):
    """Channels temperature, humidity, pressure. Option "address": 0x76 (default) or 0x77."""

    CHANNELS: "tuple[tuple[int, int | None], ...]" = (
        (TEMPERATURE, None),
        (HUMIDITY, None),
        (PRESSURE, None),
    )
    WITH_HUMIDITY = True
    ANSWER_MS = 300

    def __init__(self, bus: "I2c", options: "Options", now_ms: int = 0) -> None:
        self.address = options.get("address", 0x76)
        self.words: "list[int]" = []
        self.chip = 0
        self.fine = NOMINAL_FINE
        self.data = bytearray(8)
        self.pressure_pa = 0
        self.pressure_ms = 0
        super().__init__(bus, options, now_ms)

    def setup(self) -> "Work":
        """Who is there, and its calibration words."""
        bus, address = self.bus, self.address
        self.chip = bus.readfrom_mem(address, 0xD0, 1)[0]
        if self.chip != BME280 and self.chip not in BMP280:
            raise OSError(ENODEV)
        low = bus.readfrom_mem(address, 0x88, 26)
        high = bus.readfrom_mem(address, 0xE1, 7) if self.chip == BME280 else bytes(7)
        self.words = calibration(low, high)
        if self.words[0] == 0 or self.words[3] == 0:
            raise OSError(ENODEV)
        return
        yield 0

    def measure(self) -> "Work":
        """One forced conversion; humidity's setting counts only once ctrl_meas is written."""
        bus, address, data = self.bus, self.address, self.data
        bus.writeto_mem(address, CONFIG, b"\x00")
        bus.writeto_mem(address, CTRL_HUM, b"\x01")
        bus.writeto_mem(address, CTRL_MEAS, bytes((FORCED,)))
        yield CONVERSION_MS
        tries = 0
        while bus.readfrom_mem(address, STATUS, 1)[0] & 8:
            tries += 1
            if tries > 10:
                raise OSError(ETIMEDOUT)
            yield 10
        bus.readfrom_mem_into(address, DATA, data)
        self._keep(
            data[0] << 12 | data[1] << 4 | data[2] >> 4,
            data[3] << 12 | data[4] << 4 | data[5] >> 4,
            data[6] << 8 | data[7],
        )

    def _keep(self, adc_p: int, adc_t: int, adc_h: int) -> None:
        stuck = self.stuck((adc_p, adc_t, adc_h), STUCK_AFTER)
        last = 2 if self.WITH_HUMIDITY else 1
        if adc_t == SKIPPED_20:
            self.put(0, 0, Q_MISSING)
            stuck = Q_SUSPECT
        else:
            self.fine = fine_temperature(self.words, adc_t)
            value = temperature(self.fine)
            self.put(0, value, first_flag(range_quality(value, -4000, 8500), stuck))
        if self.WITH_HUMIDITY:
            self._keep_humidity(adc_h, stuck)
        value_pa = None if adc_p == SKIPPED_20 else pressure(self.words, adc_p, self.fine)
        if value_pa is None:
            self.put(last, 0, Q_MISSING)
        else:
            flag = first_flag(stuck, self._jump(value_pa))
            self.put(last, value_pa, first_flag(range_quality(value_pa, 30000, 110000), flag))

    def _keep_humidity(self, adc_h: int, flag: int) -> None:
        if self.chip != BME280:
            self.put(1, self.values[1], Q_FAULT)
        elif adc_h == SKIPPED_16:
            self.put(1, 0, Q_MISSING)
        else:
            self.put(1, humidity(self.words, adc_h, self.fine), flag)

    def _jump(self, value: int) -> int:
        """Suspect when the pressure changed by more than weather can in a minute."""
        far = abs(value - self.pressure_pa) > JUMP_PA
        soon = self.pressure_pa and self.now_ms - self.pressure_ms <= JUMP_MS
        self.pressure_pa, self.pressure_ms = value, self.now_ms
        return Q_SUSPECT if far and soon else Q_OK


class Bmp280(Bme280):
    """Channels temperature and pressure."""

    CHANNELS = ((TEMPERATURE, None), (PRESSURE, None))
    WITH_HUMIDITY = False


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Bme280:
    """Build it from an entry of board.json."""
    kind = Bmp280 if entry["driver"] == "bmp280" else Bme280
    return kind(bus_of(entry, hal), entry.get("options", {}), now_ms)
