"""Sensirion SHT40, SHT41, SHT45 at their one-byte commands."""

from simulator.devices.base import ENODEV
from simulator.devices.words import WordDevice, ticks

MEASUREMENTS = {0xFD: 8.3, 0xF6: 4.5, 0xE0: 1.6}
HEATERS = {0x39: 1100, 0x32: 110, 0x2F: 1100, 0x24: 110, 0x1E: 1100, 0x15: 110}


class Sht4x(WordDevice):
    """Measurements, heater pulses, serial number, reset."""

    ADDRESS = 0x44
    COMMAND_BYTES = 1
    QUANTITIES = ("temperature", "humidity")

    def obey(self, command: int, arguments: tuple[int, ...], now_ms: int) -> None:
        if command in MEASUREMENTS:
            self.reply(now_ms, MEASUREMENTS[command], *self._shot(now_ms, 0.0))
        elif command in HEATERS:
            self.reply(now_ms, HEATERS[command], *self._shot(now_ms, 20.0))
        elif command == 0x89:
            self.reply(now_ms, 0.5, *self.serial[:2])
        elif command == 0x94:
            self.busy(now_ms, 1)
        else:
            raise OSError(ENODEV, f"no command {command:02x}")

    def _shot(self, now_ms: int, warmer: float) -> tuple[int, ...]:
        temperature = self.sense("temperature", now_ms)
        humidity = self.sense("humidity", now_ms)
        return self.held(
            "shot",
            self.noisy(ticks((20.0 if temperature is None else temperature) + warmer, 175, -45), 1),
            self.noisy(ticks(50.0 if humidity is None else humidity, 125, -6), 1),
        )
