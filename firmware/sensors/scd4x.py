"""Sensirion SCD40 and SCD41: CO2 (photoacoustic), temperature and humidity, I2C 0x62.

Periodic measurement every 5 s, or every 30 s in low power; the SCD41 also single shots. Its
temperature is that of its own housing. Source: Sensirion, Datasheet SCD4x, version 1.4.
"""

from errno import ETIMEDOUT

from firmware.sensors.base import bus_of, first_flag, range_quality
from firmware.sensors.crc8 import WordSensor, scaled
from protocol.quantity import CO2, HUMIDITY, PRESSURE, TEMPERATURE
from protocol.wire import Q_MISSING, Q_OK, Q_STALE, Q_WARMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.base import Sensor
    from firmware.sensors.bus import Entry, Hal, I2c, Options, Work

START = 0x21B1
START_LOW_POWER = 0x21AC
STOP = 0x3F86
READY = 0xE4B8
READ = 0xEC05
SINGLE_SHOT = 0x219D
SERIAL = 0x3682
SET_ALTITUDE = 0x2427
SET_OFFSET = 0x241D
SET_PRESSURE = 0xE000
SET_SELF_CALIBRATION = 0x2416
RECALIBRATE = 0x362F
POWER_UP_MS = 1000
STOP_MS = 500
SHOT_MS = 5000
CO2_MIN = 350
STUCK_AFTER = 30


class Scd4x(WordSensor):
    """Channels CO2, temperature, humidity.

    Options: "mode" ("periodic", "low_power", or "single_shot" on an SCD41), "self_calibration",
    "altitude_m", "offset_centi" (0.01 degC). A pressure sensor on the board goes before altitude.
    """

    CHANNELS = ((CO2, None), (TEMPERATURE, None), (HUMIDITY, None))
    ADDRESS = 0x62
    ANSWER_MS = 500
    EAGER = False

    def __init__(
        self, bus: "I2c", options: "Options", now_ms: int = 0, co2_max: int = 5000
    ) -> None:
        self.co2_max = co2_max
        self.mode = options.get("mode", "periodic")
        self.period_ms = 30000 if self.mode == "low_power" else 5000
        self.barometer: "Sensor | None" = None
        self._heard_ms = 0
        self._heard = 0
        self._recalibrated: "int | None" = None
        if self.mode == "single_shot":
            self.LEAD_MS = SHOT_MS + 100
        super().__init__(bus, options, now_ms)

    def setup(self) -> "Work":
        """Stop it, whatever it does, give it its settings and start it."""
        yield POWER_UP_MS
        self.send(STOP)
        yield STOP_MS
        self.send(SERIAL)
        yield 2
        self.words(3)
        options = self.options
        for name, code in (
            ("self_calibration", SET_SELF_CALIBRATION),
            ("altitude_m", SET_ALTITUDE),
        ):
            if name in options:
                self.send(code, int(options[name]))
                yield 2
        if "offset_centi" in options:
            self.send(SET_OFFSET, options["offset_centi"] * 65535 // 17500)
            yield 2
        self._heard = 0
        self._heard_ms = self.now_ms
        if self.mode != "single_shot":
            self.send(START_LOW_POWER if self.mode == "low_power" else START)

    def measure(self) -> "Work":
        """The newest values; a sensor without any for three periods is started anew."""
        if self.mode == "single_shot":
            self.send(SINGLE_SHOT)
            yield SHOT_MS + 50
        self._tell_pressure()
        self.send(READY)
        yield 2
        if self.words(1)[0] & 0x7FF == 0:
            if self.now_ms - self._heard_ms > 3 * self.period_ms:
                raise OSError(ETIMEDOUT)
            for index in range(3):
                if self.qualities[index] == Q_OK:
                    self.qualities[index] = Q_STALE
            return
        self.send(READ)
        yield 2
        co2, raw_t, raw_h = self.words(3)
        self._heard_ms = self.now_ms
        self._heard += 1
        self._keep(co2, raw_t, raw_h)

    def recalibrate(self, co2: int) -> None:
        """Calibrate to a known concentration (ppm) after 3 minutes in it; see recalibrated()."""
        self._task = self._recalibrate(co2)
        self._measuring = False
        self.configured = False
        self._due_ms = self.now_ms

    def recalibrated(self) -> "int | None":
        """By how many ppm recalibrate() has corrected; None while it has not, or in vain."""
        return self._recalibrated

    def _recalibrate(self, co2: int) -> "Work":
        self._recalibrated = None
        self.send(STOP)
        yield STOP_MS
        self.send(RECALIBRATE, co2)
        yield 400
        answer = self.words(1)[0]
        self._recalibrated = None if answer == 0xFFFF else answer - 0x8000
        yield from self.setup()

    def _tell_pressure(self) -> None:
        pressure = None if self.barometer is None else self.barometer.fresh(PRESSURE)
        if pressure is not None and 70000 <= pressure <= 120000:
            self.send(SET_PRESSURE, (pressure + 50) // 100)

    def _keep(self, co2: int, raw_t: int, raw_h: int) -> None:
        flag = Q_WARMING if self._heard < 2 and self.mode != "single_shot" else Q_OK
        flag = first_flag(flag, self.stuck((co2, raw_t, raw_h), STUCK_AFTER))
        if co2 == 0:
            self.put(0, 0, Q_MISSING)
        else:
            self.put(0, co2, first_flag(range_quality(co2, CO2_MIN, self.co2_max), flag))
        value = scaled(raw_t, 17500, -4500)
        self.put(1, value, first_flag(range_quality(value, -1000, 6000), flag))
        self.put(2, scaled(raw_h, 10000, 0), flag)


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> "Any":
    """Build it from an entry of board.json; ValueError for a single shot on an SCD40."""
    options = entry.get("options", {})
    older = entry["driver"] == "scd40"
    if older and options.get("mode") == "single_shot":
        raise ValueError("scd40 has no single shot: use an scd41, or mode low_power")
    return Scd4x(bus_of(entry, hal), options, now_ms, 2000 if older else 5000)
