"""Bosch BME280 and BMP280 at their registers, with calibration words of their own.

The stimulus is turned into ADC counts by inverting the data sheet's formula in double precision, so
that a board's integer compensation really runs and is checked against another implementation.
"""

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from simulator.devices.base import I2cDevice, Stimulus

NOMINAL_T_FINE = 128000.0
SKIPPED_20, SKIPPED_16 = 0x80000, 0x8000
TYPICAL_T = (27504, 26435, -1000)
TYPICAL_P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
TYPICAL_H = (75, 362, 0, 313, 50, 30)
QUANTITIES = ("temperature", "humidity", "pressure")


@dataclass(frozen=True)
class Words:
    """Calibration words T1..T3, P1..P9, H1..H6, and the data sheet's formulas over them."""

    t: tuple[int, ...]
    p: tuple[int, ...]
    h: tuple[int, ...]

    def t_fine(self, adc: float) -> float:
        """Temperature in 1/5120 degC from 20-bit counts."""
        t1, t2, t3 = self.t
        var1 = (adc / 16384 - t1 / 1024) * t2
        var2 = (adc / 131072 - t1 / 8192) ** 2 * t3
        return var1 + var2

    def pressure(self, adc: float, t_fine: float) -> float:
        """Pressure in Pa from 20-bit counts."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self.p
        var1 = t_fine / 2 - 64000
        var2 = var1 * var1 * p6 / 32768 + var1 * p5 * 2
        var2 = var2 / 4 + p4 * 65536
        var1 = (p3 * var1 * var1 / 524288 + p2 * var1) / 524288
        var1 = (1 + var1 / 32768) * p1
        value = (1048576 - adc - var2 / 4096) * 6250 / var1
        return value + (p9 * value * value / 2147483648 + value * p8 / 32768 + p7) / 16

    def humidity(self, adc: float, t_fine: float) -> float:
        """Relative humidity in %, from 16-bit counts; not limited to 0..100."""
        h1, h2, h3, h4, h5, h6 = self.h
        x = t_fine - 76800
        value = (adc - (h4 * 64 + h5 / 16384 * x)) * (
            h2 / 65536 * (1 + h6 / 67108864 * x * (1 + h3 / 67108864 * x))
        )
        return value * (1 - h1 * value / 524288)

    def low_registers(self) -> bytes:
        """0x88..0xA1."""
        return struct.pack("<HhhHhhhhhhhhxB", *self.t, *self.p, self.h[0])

    def high_registers(self) -> bytes:
        """0xE1..0xE7."""
        _, h2, h3, h4, h5, h6 = self.h
        mixed = (h4 & 15) | (h5 & 15) << 4
        return struct.pack("<hBbBbb", h2, h3, h4 >> 4, mixed, h5 >> 4, h6)


def typical_words(randomness: random.Random) -> Words:
    """Words like those of a real sensor, up to 2 % from the data sheet's example."""

    def near(value: int) -> int:
        return round(value * randomness.uniform(0.98, 1.02))

    return Words(
        tuple(near(value) for value in TYPICAL_T),
        tuple(near(value) for value in TYPICAL_P),
        tuple(near(value) for value in TYPICAL_H),
    )


def invert(formula: Callable[[float], float], wanted: float, bits: int, step: int) -> int:
    """The count, a multiple of step below 2**bits, whose formula value is nearest to wanted.

    The formula must rise or fall steadily; a value that no count gives ends at the nearest limit.
    """
    low, high = 0, ((1 << bits) - 1) // step
    rising = formula(high * step) > formula(0)
    while high - low > 1:
        middle = (low + high) // 2
        if (formula(middle * step) < wanted) == rising:
            low = middle
        else:
            high = middle
    nearer_low = abs(formula(low * step) - wanted) <= abs(formula(high * step) - wanted)
    return (low if nearer_low else high) * step


def conversion_ms(osrs_t: int, osrs_p: int, osrs_h: int) -> float:
    """The longest a conversion takes (data sheet 9.1), settings as register codes."""
    times = [0 if code == 0 else 1 << (min(code, 5) - 1) for code in (osrs_t, osrs_p, osrs_h)]
    total = 1.25 + 2.3 * times[0]
    total += 2.3 * times[1] + 0.575 if times[1] else 0
    total += 2.3 * times[2] + 0.575 if times[2] else 0
    return total


class Bme280(I2cDevice):
    """Register model. A quantity whose stimulus is None gives the code of a skipped channel.

    Faults: stuck (converts no more, repeats its registers), slow (a conversion takes 10 times as
    long), wrong_variant (a BMP280 sold as a BME280), bad_checksum (calibration words read as 0).
    """

    FAULTS: ClassVar[frozenset[str]] = frozenset(
        {"silent", "stuck", "slow", "wrong_variant", "bad_checksum"}
    )
    CHIP = 0x60

    def __init__(
        self,
        stimulus: Stimulus,
        randomness: random.Random,
        options: Mapping[str, Any] | None = None,
        now_ms: int = 0,
    ) -> None:
        super().__init__(stimulus, randomness, options, now_ms)
        self.address = int(self.options.get("address", 0x76))
        self.words = typical_words(randomness)
        self._t_fine = NOMINAL_T_FINE
        self.power_cycle(now_ms)

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self._registers = bytearray(256)
        self._registers[0xF7:0xFF] = b"\x80\0\0\x80\0\0\x80\0"
        self._hum_latched = 0
        self._pointer = 0
        self._busy_until_ms = 0.0
        self._converted: bytes | None = None

    def present(self, now_ms: int) -> bool:
        return super().present(now_ms) and not self.gives_nothing(QUANTITIES, now_ms)

    def write(self, data: bytes, now_ms: int) -> None:
        self._settle(now_ms)
        self._pointer = data[0]
        rest = data[1:]
        for at in range(0, len(rest), 2):
            register = data[0] if at == 0 else rest[at - 1]
            self._set(register, rest[at], now_ms)

    def _set(self, register: int, value: int, now_ms: int) -> None:
        if register == 0xE0 and value == 0xB6:
            self.power_cycle(now_ms)
        elif register in (0xF2, 0xF5):
            self._registers[register] = value
        elif register == 0xF4:
            self._registers[register] = value
            self._hum_latched = self._registers[0xF2] & 7
            if value & 3 in (1, 2):
                self._convert(value, now_ms)

    def read(self, count: int, now_ms: int) -> bytes:
        self._settle(now_ms)
        registers = bytearray(self._registers)
        bmp = self.broken("wrong_variant") or self.CHIP != 0x60
        registers[0xD0] = 0x58 if bmp else 0x60
        if not self.broken("bad_checksum"):
            registers[0x88:0xA2] = self.words.low_registers()
            if bmp:
                registers[0xA1] = 0
            else:
                registers[0xE1:0xE8] = self.words.high_registers()
        registers[0xF3] = 8 if self._converted is not None else 0
        answer = (registers + registers)[self._pointer : self._pointer + count]
        self._pointer = (self._pointer + count) & 255
        return bytes(answer)

    def _convert(self, control: int, now_ms: int) -> None:
        osrs_t, osrs_p = control >> 5, control >> 2 & 7
        duration_ms = conversion_ms(osrs_t, osrs_p, self._hum_latched)
        self._busy_until_ms = now_ms + duration_ms * (10 if self.broken("slow") else 1)
        if self.broken("stuck"):
            self._converted = bytes(self._registers[0xF7:0xFF])
        else:
            self._converted = self._counts(osrs_t, osrs_p, self._hum_latched, now_ms)

    def _settle(self, now_ms: int) -> None:
        if self._converted is not None and now_ms >= self._busy_until_ms:
            self._registers[0xF7:0xFF] = self._converted
            self._converted = None
            self._registers[0xF4] &= 0xFC

    def _counts(self, osrs_t: int, osrs_p: int, osrs_h: int, now_ms: int) -> bytes:
        adc_t, adc_p, adc_h = SKIPPED_20, SKIPPED_20, SKIPPED_16
        wanted = self.sense("temperature", now_ms)
        if osrs_t and wanted is not None:
            step = 1 << (5 - min(osrs_t, 5))
            adc_t = invert(self.words.t_fine, wanted * 5120, 20, step)
            adc_t += step if adc_t == SKIPPED_20 else 0
            self._t_fine = self.words.t_fine(adc_t)
        t_fine = self._t_fine
        wanted = self.sense("pressure", now_ms)
        if osrs_p and wanted is not None:
            step = 1 << (5 - min(osrs_p, 5))
            adc_p = invert(lambda adc: self.words.pressure(adc, t_fine), wanted, 20, step)
            adc_p = min(max(adc_p + step * self.random.randint(-1, 1), 0), 0xFFFFF)
            adc_p += step if adc_p == SKIPPED_20 else 0
        wanted = self.sense("humidity", now_ms)
        if osrs_h and wanted is not None and self.CHIP == 0x60:
            adc_h = invert(lambda adc: self.words.humidity(adc, t_fine), wanted, 16, 1)
            adc_h += 1 if adc_h == SKIPPED_16 else 0
        return struct.pack(
            ">HBHBH", adc_p >> 4, (adc_p & 15) << 4, adc_t >> 4, (adc_t & 15) << 4, adc_h
        )


class Bmp280(Bme280):
    """The sensor without humidity."""

    CHIP = 0x58
    FAULTS = Bme280.FAULTS - {"wrong_variant"}
