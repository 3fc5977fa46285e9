"""Drivers by name; a module is imported when a board names it. Unloaded after the start."""

from protocol.quantity import HUMIDITY, PRESSURE, TEMPERATURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.base import Sensor
    from firmware.sensors.bus import Entry, Hal

# Name in board files, module below firmware, number in protocol.registry.SENSOR_MODELS.
_DRIVERS = (
    ("sds011", "sensors.sds011", 1),
    ("pms5003", "sensors.pms5003", 2),
    ("pms7003", "sensors.pms5003", 3),
    ("sps30", "sensors.sps30", 4),
    ("sps30_uart", "sensors.sps30_uart", 4),
    ("bme280", "sensors.bme280", 16),
    ("bmp280", "sensors.bme280", 17),
    ("sht31", "sensors.sht31", 18),
    ("sht40", "sensors.sht4x", 19),
    ("sht41", "sensors.sht4x", 19),
    ("sht45", "sensors.sht4x", 19),
    ("scd40", "sensors.scd4x", 32),
    ("scd41", "sensors.scd4x", 32),
    ("sgp41", "sensors.sgp41", 34),
    ("inmp441", "sensors.microphone", 48),
    ("ics43434", "sensors.microphone", 49),
    ("neo6m", "sensors.neo6m", 64),
    ("ds3231", "sensors.ds3231", 65),
)


def names() -> "list[str]":
    """All names that a board file may give as driver."""
    return [row[0] for row in _DRIVERS]


def _find(driver: str) -> "tuple[str, str, int]":
    for row in _DRIVERS:
        if row[0] == driver:
            return row
    raise ValueError("no driver %r; there are: %s" % (driver, ", ".join(names())))


def module_name(driver: str) -> str:
    """The module of a driver; ValueError names what would be right."""
    return "firmware." + _find(driver)[1]


def load(driver: str) -> "Any":
    """The driver's module, imported now."""
    return __import__(module_name(driver), None, None, ("from_board",))


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> "Sensor":
    """The sensor that an entry of board.json's "sensors" describes; now_ms is uptime."""
    sensor: "Sensor" = load(entry["driver"]).from_board(entry, hal, now_ms)
    sensor.MODEL = _find(entry["driver"])[2]
    return sensor


def link(sensors: "list[Any]") -> None:
    """Let sensors that compensate for the air around them ask those that measure it.

    For each attribute (climate, barometer) that a sensor has, the first other sensor that gives
    these quantities is set.
    """
    for sensor in sensors:
        for name, wanted in (("climate", (TEMPERATURE, HUMIDITY)), ("barometer", (PRESSURE,))):
            if not hasattr(sensor, name):
                continue
            for other in sensors:
                given = [channel[0] for channel in other.CHANNELS]
                if other is not sensor and all(quantity in given for quantity in wanted):
                    setattr(sensor, name, other)
                    break
