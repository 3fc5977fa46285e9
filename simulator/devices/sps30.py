"""Sensirion SPS30: what is common to its two interfaces, and I2C."""

import struct
from typing import Any

from simulator.devices.base import ENODEV, Device
from simulator.devices.words import WordDevice

MASSES = ("pm1", "pm2_5", "pm4", "pm10")
NUMBERS = ("number_0_5", "number_1", "number_2_5", "number_4", "number_10")
SHARES = (0.86, 0.98, 0.995, 0.998, 1.0)
SIZE_UM = 0.55
CLEANING_MS = 10000
FAULTS = frozenset({"silent", "bad_checksum", "stuck", "slow", "fan", "laser", "nonsense"})


class Particles:
    """State machine and values of the sensor: asleep, idle, measuring; cleaning on demand."""

    def __init__(self, device: Device, now_ms: int) -> None:
        self.device = device
        self.asleep = False
        self.measuring = False
        self.cleanings = 0
        self._next_ms = now_ms
        self._cleaning_until_ms = now_ms
        self._last: tuple[float, ...] | None = None

    def start(self, now_ms: int) -> None:
        self.measuring = True
        self._next_ms = now_ms + 1000

    def stop(self) -> None:
        self.measuring = False

    def clean(self, now_ms: int) -> None:
        self.cleanings += 1
        self._cleaning_until_ms = now_ms + CLEANING_MS

    def ready(self, now_ms: int) -> bool:
        return self.measuring and now_ms >= self._next_ms

    def take(self, now_ms: int) -> tuple[float, ...]:
        """The ten floats of the newest second."""
        self._next_ms = now_ms - (now_ms - self._next_ms) % 1000 + 1000
        if self._last is None or not self.device.broken("stuck"):
            self._last = self._values(now_ms)
        return self._last

    def status(self) -> int:
        """The device status register."""
        fan = 1 << 4 if self.device.broken("fan") else 0
        return fan | (1 << 5 if self.device.broken("laser") else 0)

    def _values(self, now_ms: int) -> tuple[float, ...]:
        device = self.device
        if device.broken("nonsense"):
            return (float("nan"),) * 10
        known = {name: device.sense(name, now_ms) for name in (*MASSES, *NUMBERS)}
        fine = known["pm2_5"]
        fine = (known["pm10"] or 0.0) * 0.6 if fine is None else fine
        factor = device.random.uniform(0.98, 1.02)
        if now_ms < self._cleaning_until_ms:
            factor *= 3
        typical = (0.75 * fine, fine, 1.2 * fine, 1.4 * fine)
        masses = _rising(known, MASSES, typical, factor)
        numbers = _rising(known, NUMBERS, tuple(7 * fine * s for s in SHARES), factor)
        size = device.sense("particle_size", now_ms)
        return (*masses, *numbers, SIZE_UM if size is None else size)


def _rising(
    known: dict[str, float | None],
    names: tuple[str, ...],
    typical: tuple[float, ...],
    factor: float,
) -> list[float]:
    """Values of a cumulative distribution: none is less than the one before."""
    found: list[float] = []
    for name, usual in zip(names, typical, strict=True):
        given = known[name]
        value = max((usual if given is None else given) * factor, 0.0)
        found.append(max(value, found[-1]) if found else value)
    return found


class Sps30(WordDevice):
    """Faults: fan and laser (status bits), nonsense (NaN), and those of WordDevice."""

    ADDRESS = 0x69
    QUANTITIES = ("pm1", "pm2_5", "pm10")
    FAULTS = FAULTS

    def power_cycle(self, now_ms: int) -> None:
        super().power_cycle(now_ms)
        self.particles = Particles(self, now_ms)
        self._interface_awake_ms: int | None = None

    @property
    def asleep(self) -> bool:
        return self.particles.asleep

    def write(self, data: bytes, now_ms: int) -> None:
        if self.particles.asleep:
            self._wake(data, now_ms)
            return
        super().write(data, now_ms)

    def _wake(self, data: bytes, now_ms: int) -> None:
        """The first write wakes the interface for 100 ms; the second wakes the sensor."""
        awake = self._interface_awake_ms
        self._interface_awake_ms = now_ms
        if awake is None or now_ms - awake > 100 or data[:2] != b"\x11\x03":
            raise OSError(ENODEV, "asleep")
        self.particles.asleep = False
        self._interface_awake_ms = None
        self.busy(now_ms, 5)

    def obey(self, command: int, arguments: tuple[int, ...], now_ms: int) -> None:
        particles = self.particles
        if command == 0x0010 and arguments == (0x0300,) and not particles.measuring:
            particles.start(now_ms)
            self.busy(now_ms, 20)
        elif command == 0x0104:
            particles.stop()
            self.busy(now_ms, 20)
        elif command == 0x0202:
            self.reply(now_ms, 1, int(particles.ready(now_ms)))
        elif command == 0x0300 and particles.measuring:
            raw = struct.pack(">10f", *particles.take(now_ms))
            self.reply(now_ms, 1, *struct.unpack(">20H", raw))
        elif command == 0x1001 and not particles.measuring:
            particles.asleep = True
        elif command == 0x1103:
            self.busy(now_ms, 1)
        elif command == 0x5607 and particles.measuring:
            particles.clean(now_ms)
        elif command == 0xD206:
            self.reply(now_ms, 1, *divmod(particles.status(), 65536))
        else:
            raise OSError(ENODEV, f"no command {command:04x} in this state")


def float_bytes(values: Any) -> bytes:
    """The reading's ten floats as they go over a wire."""
    return struct.pack(">10f", *values)
