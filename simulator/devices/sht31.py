"""Sensirion SHT31 at its commands."""

from simulator.devices.base import ENODEV
from simulator.devices.words import WordDevice, ticks

SINGLE_SHOTS = {0x2400: 15.5, 0x240B: 6.0, 0x2416: 4.0}


class Sht31(WordDevice):
    """Single shots, status, heater, reset. Faults as WordDevice, and heater: it is left on."""

    ADDRESS = 0x44
    QUANTITIES = ("temperature", "humidity")
    FAULTS = WordDevice.FAULTS | {"heater"}

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self._status = 0x8010
        self._heater = False

    def obey(self, command: int, arguments: tuple[int, ...], now_ms: int) -> None:
        if command in SINGLE_SHOTS:
            self.reply(now_ms, SINGLE_SHOTS[command], *self._shot(now_ms))
        elif command == 0xF32D:
            heater = self._heater or self.broken("heater")
            self.reply(now_ms, 0.5, self._status | (1 << 13 if heater else 0))
        elif command == 0x3041:
            self._status = 0
        elif command == 0x30A2:
            self._status, self._heater = 0x8010, False
            self.busy(now_ms, 1.5)
        elif command in (0x306D, 0x3066):
            self._heater = command == 0x306D
        else:
            raise OSError(ENODEV, f"no command {command:04x}")

    def _shot(self, now_ms: int) -> tuple[int, ...]:
        temperature = self.sense("temperature", now_ms)
        humidity = self.sense("humidity", now_ms)
        return self.held(
            "shot",
            self.noisy(ticks(20.0 if temperature is None else temperature, 175, -45), 1),
            self.noisy(ticks(50.0 if humidity is None else humidity, 100, 0), 1),
        )
