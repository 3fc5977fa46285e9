"""Sensirion SCD40 and SCD41 at their commands: idle, periodic, low power, single shot."""

from simulator.devices.base import ENODEV
from simulator.devices.words import WordDevice, ticks

POWER_UP_MS = 1000
WHILE_MEASURING = frozenset({0xEC05, 0xE4B8, 0x3F86, 0xE000})
PERIODS = {0x21B1: 5000, 0x21AC: 30000}
SETTINGS = {0x241D: 0x2318, 0x2427: 0x2322, 0x2416: 0x2313}
"""Command that sets, and the one that reads."""


class Scd40(WordDevice):
    """Commands that are not allowed while it measures are not acknowledged.

    Its housing is warmer than the air: 4 degC less by the default offset leave nothing, as it
    should be; option "self_heating" (degC) adds some. Faults as WordDevice, and zero (CO2 0).
    """

    ADDRESS = 0x62
    QUANTITIES = ("co2",)
    FAULTS = WordDevice.FAULTS | {"zero"}
    SINGLE_SHOT = False
    LARGEST = 40000

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self.settings = {0x241D: ticks(4.0, 175, 0), 0x2427: 0, 0x2416: 1}
        self.pressure_hpa = 0
        self._period_ms = 0
        self._next_ms = 0
        self._sample: tuple[int, ...] | None = None
        self._correction = 0
        self.busy(now_ms, POWER_UP_MS)

    def obey(self, command: int, arguments: tuple[int, ...], now_ms: int) -> None:
        if self._period_ms and command not in WHILE_MEASURING:
            raise OSError(ENODEV, f"{command:04x} is not allowed while it measures")
        self._advance(now_ms)
        if command in PERIODS:
            self._period_ms = PERIODS[command]
            self._next_ms = now_ms + self._period_ms
        elif command == 0x3F86:
            self._period_ms = 0
            self.busy(now_ms, 500)
        elif command == 0xE4B8:
            self.reply(now_ms, 1, 0x8000 if self._sample is None else 0x8006)
        elif command == 0xEC05:
            self._read(now_ms)
        elif command == 0xE000 and arguments:
            self.pressure_hpa = arguments[0]
        elif command == 0x3682:
            self.reply(now_ms, 1, *self.serial)
        elif command in SETTINGS and arguments:
            self.settings[command] = arguments[0]
            self.busy(now_ms, 1)
        elif command in SETTINGS.values():
            setting = next(s for s, reader in SETTINGS.items() if reader == command)
            self.reply(now_ms, 1, self.settings[setting])
        elif command == 0x219D and self.SINGLE_SHOT:
            self.busy(now_ms, 5000)
            self._sample = self._measured(now_ms + 5000)
        elif command == 0x362F and arguments:
            self._recalibrate(arguments[0], now_ms)
        else:
            raise OSError(ENODEV, f"no command {command:04x}")

    def _advance(self, now_ms: int) -> None:
        if self._period_ms and now_ms >= self._next_ms:
            periods = (now_ms - self._next_ms) // self._period_ms
            self._sample = self._measured(self._next_ms + periods * self._period_ms)
            self._next_ms += (periods + 1) * self._period_ms

    def _read(self, now_ms: int) -> None:
        if self._sample is None:
            raise OSError(ENODEV, "nothing to read")
        sample, self._sample = self._sample, None
        self.reply(now_ms, 1, *sample)

    def _recalibrate(self, target: int, now_ms: int) -> None:
        actual = round(self.sense("co2", now_ms) or 0)
        self._correction = target - actual
        self.reply(now_ms, 400, (0x8000 + self._correction) & 0xFFFF)

    def _measured(self, at_ms: int) -> tuple[int, ...]:
        co2 = self.sense("co2", at_ms) or 0.0
        temperature = self.sense("temperature", at_ms)
        humidity = self.sense("humidity", at_ms)
        warmth = float(self.options.get("self_heating", 0.0))
        ppm = 0 if self.broken("zero") else round(co2 + self._correction + self.random.gauss(0, 3))
        return self.held(
            "sample",
            min(max(ppm, 0), self.LARGEST),
            self.noisy(ticks((20.0 if temperature is None else temperature) + warmth, 175, -45), 4),
            self.noisy(ticks(50.0 if humidity is None else humidity, 100, 0), 4),
        )


class Scd41(Scd40):
    """The one with single shots."""

    SINGLE_SHOT = True
