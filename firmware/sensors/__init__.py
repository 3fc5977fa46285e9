"""Drivers by name; a module is imported when a board names it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.base import Sensor
    from firmware.sensors.bus import Entry, Hal

# Name in board files, module, number in DESCRIPTORS (protocol.registry.SENSOR_MODELS).
_DRIVERS = (
    ("sds011", "sds011", 1),
    ("pms5003", "pms5003", 2),
    ("pms7003", "pms5003", 3),
    ("sps30", "sps30", 4),
    ("sps30_uart", "sps30_uart", 4),
    ("bme280", "bme280", 16),
    ("bmp280", "bme280", 17),
    ("sht31", "sht31", 18),
    ("sht40", "sht4x", 19),
    ("sht41", "sht4x", 19),
    ("sht45", "sht4x", 19),
    ("scd40", "scd4x", 32),
    ("scd41", "scd4x", 32),
    ("sgp41", "sgp41", 34),
    ("neo6m", "neo6m", 64),
    ("ds3231", "ds3231", 65),
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
    return "firmware.sensors." + _find(driver)[1]


def load(driver: str) -> "Any":
    """The driver's module, imported now."""
    return __import__(module_name(driver), None, None, ("from_board",))


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> "Sensor":
    """The sensor that an entry of board.json's "sensors" describes; now_ms is uptime."""
    sensor: "Sensor" = load(entry["driver"]).from_board(entry, hal, now_ms)
    sensor.MODEL = _find(entry["driver"])[2]
    return sensor
