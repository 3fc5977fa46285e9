"""Drivers by name; a module is imported when a board names it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.base import Sensor
    from firmware.sensors.bus import Entry, Hal

# Names in the order of their number in DESCRIPTORS, from 1 on: append only.
_DRIVERS = (
    ("pms5003", "pms5003"),
    ("pms7003", "pms5003"),
    ("sds011", "sds011"),
    ("sps30", "sps30"),
    ("sps30_uart", "sps30_uart"),
    ("scd40", "scd4x"),
    ("scd41", "scd4x"),
    ("sgp41", "sgp41"),
    ("sht31", "sht31"),
    ("sht40", "sht4x"),
    ("sht41", "sht4x"),
    ("sht45", "sht4x"),
    ("bme280", "bme280"),
    ("bmp280", "bme280"),
    ("ds3231", "ds3231"),
    ("neo6m", "neo6m"),
)


def names() -> "list[str]":
    """All names that a board file may give as driver."""
    return [name for name, _ in _DRIVERS]


def model_number(driver: str) -> int:
    """The number that stands for a sensor in DESCRIPTORS; 0 for one that is not listed."""
    for number, (name, _) in enumerate(_DRIVERS, 1):
        if name == driver:
            return number
    return 0


def module_name(driver: str) -> str:
    """The driver's module; ValueError names what would be right."""
    for name, module in _DRIVERS:
        if name == driver:
            return "firmware.sensors." + module
    raise ValueError("no driver %r; there are: %s" % (driver, ", ".join(names())))


def load(driver: str) -> "Any":
    """The driver's module, imported now."""
    return __import__(module_name(driver), None, None, ("from_board",))


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> "Sensor":
    """The sensor that an entry of board.json's "sensors" describes; now_ms is uptime."""
    sensor: "Sensor" = load(entry["driver"]).from_board(entry, hal, now_ms)
    return sensor
