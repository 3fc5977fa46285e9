"""Home Assistant behind a broker: takes discovery, then states of what was discovered.

It drops unseen what does not fit: a state nobody announced, a unit that is wrong for its class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from simulator.upstream.mqtt import MqttBroker

UNITS: Mapping[str, frozenset[str]] = {
    "pm1": frozenset(("\u00b5g/m³",)),
    "pm25": frozenset(("\u00b5g/m³",)),
    "pm10": frozenset(("\u00b5g/m³",)),
    "carbon_dioxide": frozenset(("ppm",)),
    "sound_pressure": frozenset(("dB", "dBA")),
    "temperature": frozenset(("°C", "°F", "K")),
    "humidity": frozenset(("%",)),
    "atmospheric_pressure": frozenset(("Pa", "hPa", "kPa")),
    "voltage": frozenset(("V", "mV")),
    "signal_strength": frozenset(("dB", "dBm")),
}
_TOPIC = re.compile(r"homeassistant/device/[a-zA-Z0-9_-]+/config")


class HomeAssistant(MqttBroker):
    """`entities` by unique id with their last state; `ignored` has what was dropped, and why."""

    name = "home_assistant"

    def __init__(self, faults: Mapping[str, float] | None = None, seed: int = 0) -> None:
        super().__init__(faults, seed)
        self.entities: dict[str, dict[str, Any]] = {}
        self.ignored: list[str] = []
        self._by_topic: dict[str, str] = {}

    def take(self, topic: str, payload: bytes, retain: bool) -> None:
        super().take(topic, payload, retain)
        if _TOPIC.fullmatch(topic):
            self._discover(json.loads(payload))
        elif topic in self._by_topic:
            self.entities[self._by_topic[topic]]["state"] = float(payload)
            self.arrivals["", topic] += 1
        elif payload not in (b"online", b"offline"):
            self.ignored.append(f"{topic}: not announced")

    def _discover(self, device: dict[str, Any]) -> None:
        if not device.get("dev", {}).get("ids") or not device.get("o", {}).get("name"):
            self.ignored.append("a device without identifiers or origin")
            return
        for entity in device.get("cmps", {}).values():
            unit = entity.get("unit_of_meas")
            kind = entity.get("dev_cla")
            if entity.get("p") != "sensor" or not entity.get("uniq_id"):
                self.ignored.append("a component without platform or unique id")
            elif kind is not None and unit not in UNITS.get(kind, frozenset()):
                self.ignored.append(f"{entity['uniq_id']}: {unit} is wrong for {kind}")
            else:
                known = self.entities.setdefault(entity["uniq_id"], {})
                known.update(entity)
                self._by_topic[entity["stat_t"]] = entity["uniq_id"]


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> HomeAssistant:
    """The fake network."""
    return HomeAssistant(faults, seed)
