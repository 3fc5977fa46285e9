"""Sensirion SGP41 at its commands: conditioning, raw signals, self-test, heater."""

from simulator.devices.base import ENODEV
from simulator.devices.words import WordDevice

CONDITIONING_MAX_MS = 10500
SETTLE_S = 20.0


class Sgp41(WordDevice):
    """Raw signals are the stimuli voc_raw and nox_raw, falling back to 30000 and 16000.

    A cold sensor's signal settles within a minute after its heater is on. harmed counts
    conditioning beyond 10 s, which spoils a real one. Faults as WordDevice, and failed_test.
    """

    ADDRESS = 0x59
    FAULTS = WordDevice.FAULTS | {"failed_test"}

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self.harmed = 0
        self.compensation = (0x8000, 0x6666)
        self._hot_ms: int | None = None
        self._conditioning_ms: int | None = None

    def obey(self, command: int, arguments: tuple[int, ...], now_ms: int) -> None:
        if command in (0x2612, 0x2619) and len(arguments) == 2:
            self.compensation = (arguments[0], arguments[1])
            self._heat(command == 0x2612, now_ms)
            voc, nox = self._signals(now_ms)
            self.reply(now_ms, 50, *((voc,) if command == 0x2612 else (voc, nox)))
        elif command == 0x280E:
            self.reply(now_ms, 320, 0x4B00 if self.broken("failed_test") else 0xD400)
        elif command == 0x3615:
            self._hot_ms = self._conditioning_ms = None
            self.busy(now_ms, 1)
        elif command == 0x3682:
            self.reply(now_ms, 1, *self.serial)
        else:
            raise OSError(ENODEV, f"no command {command:04x}")

    def _heat(self, conditioning: bool, now_ms: int) -> None:
        if self._hot_ms is None:
            self._hot_ms = now_ms
        if not conditioning:
            self._conditioning_ms = None
        elif self._conditioning_ms is None:
            self._conditioning_ms = now_ms
        elif now_ms - self._conditioning_ms > CONDITIONING_MAX_MS:
            self.harmed += 1

    def _signals(self, now_ms: int) -> tuple[int, ...]:
        hot_s = (now_ms - (self._hot_ms or now_ms)) / 1000
        cold = 2500 * 2.0 ** (-hot_s / SETTLE_S)
        voc = self.sense("voc_raw", now_ms)
        nox = self.sense("nox_raw", now_ms)
        return self.held(
            "signals",
            self.noisy(round((30000.0 if voc is None else voc) - cold), 4),
            self.noisy(round((16000.0 if nox is None else nox) - cold / 2), 3),
        )
