"""Device models by driver name; they answer the drivers byte by byte."""

import importlib
import random
from collections.abc import Mapping
from typing import Any

from simulator.devices.base import Device, I2cDevice, Stimulus, UartDevice

_MODELS = {
    "pms5003": ("pms5003", "Pms5003"),
    "pms7003": ("pms5003", "Pms7003"),
    "sds011": ("sds011", "Sds011"),
    "sps30": ("sps30", "Sps30"),
    "sps30_uart": ("sps30_uart", "Sps30Uart"),
    "scd40": ("scd4x", "Scd40"),
    "scd41": ("scd4x", "Scd41"),
    "sgp41": ("sgp41", "Sgp41"),
    "sht31": ("sht31", "Sht31"),
    "sht40": ("sht4x", "Sht4x"),
    "sht41": ("sht4x", "Sht4x"),
    "sht45": ("sht4x", "Sht4x"),
    "bme280": ("bme280", "Bme280"),
    "bmp280": ("bme280", "Bmp280"),
    "ds3231": ("ds3231", "Ds3231"),
    "ics43434": ("microphone", "Ics43434"),
    "inmp441": ("microphone", "Inmp441"),
    "neo6m": ("neo6m", "Neo6m"),
}


def names() -> list[str]:
    """Drivers that have a model."""
    return sorted(_MODELS)


def model(driver: str) -> type[Device]:
    """The model class of a driver; KeyError names the drivers that have one."""
    try:
        module, name = _MODELS[driver]
    except KeyError:
        raise KeyError(f"no device model for {driver!r}; there are: {', '.join(names())}") from None
    found: type[Device] = getattr(importlib.import_module(f"simulator.devices.{module}"), name)
    return found


def build(
    entry: Mapping[str, Any], stimulus: Stimulus, randomness: random.Random, now_ms: int = 0
) -> Device:
    """The model of an entry of board.json's "sensors": a UartDevice or an I2cDevice."""
    return model(entry["driver"])(stimulus, randomness, entry.get("options"), now_ms)


__all__ = ["Device", "I2cDevice", "Stimulus", "UartDevice", "build", "model", "names"]
