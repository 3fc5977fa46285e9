"""What each network calls our quantities, and in which unit: one row per quantity and network.

Names are the registry's. A quantity without a row cannot be sent to that network; `sinks explain`
lists those. A network's value is ours times `factor`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from collector.readings.observation import Channel, PublicNode
from collector.sinks.base import Sink
from protocol.registry import REGISTRY

FIRST_BAND = 13


class Name(NamedTuple):
    """A quantity's name upstream, and what to multiply our value by."""

    name: str
    factor: float = 1.0


class Pin(NamedTuple):
    """A value_type of sensor.community and the pin its sensor is registered under."""

    value_type: str
    pin: int


class HomeAssistantName(NamedTuple):
    """A Home Assistant device class (None where none fits), unit, and factor."""

    device_class: str | None
    unit: str | None
    factor: float = 1.0


class NgsiName(NamedTuple):
    """An attribute of a Smart Data Model; own names are not in its context."""

    attribute: str
    unit_code: str
    factor: float = 1.0
    own: bool = False


class OpenSenseMapName(NamedTuple):
    """Titles that boxes give to this quantity's sensor, the first one when we create it."""

    titles: tuple[str, ...]
    unit: str
    factors: Mapping[str, float] = MappingProxyType({})


SENSOR_COMMUNITY: Mapping[str, Pin] = {
    "pm1": Pin("P0", 1),
    "pm2_5": Pin("P2", 1),
    "pm4": Pin("P4", 1),
    "pm10": Pin("P1", 1),
    "number_0_5": Pin("N05", 1),
    "number_1": Pin("N1", 1),
    "number_2_5": Pin("N25", 1),
    "number_4": Pin("N4", 1),
    "number_10": Pin("N10", 1),
    "particle_size": Pin("TS", 1),
    "temperature": Pin("temperature", 11),
    "humidity": Pin("humidity", 11),
    "pressure": Pin("pressure", 11),
    "co2": Pin("co2_ppm", 17),
    "laeq": Pin("noise_LAeq", 15),
    "lafmin": Pin("noise_LA_min", 15),
    "lafmax": Pin("noise_LA_max", 15),
}
"""As the airRohr firmware sends them."""

SENSOR_COMMUNITY_PUBLISHED: Mapping[str, str | None] = {
    "pm4": None,
    "co2": None,
    "laeq": "noise_Leq",
}
"""Where the published server knows another name, or none."""

MADAVI_PREFIXES: Mapping[int, str] = {1: "SPS30_", 11: "BME280_", 15: "DNMS_", 17: "SCD30_"}
"""By the pin of sensor.community; a configuration names the sensor that is really there."""

OPENSENSEMAP: Mapping[str, OpenSenseMapName] = {
    "pm1": OpenSenseMapName(("PM1", "PM1.0"), "µg/m³"),
    "pm2_5": OpenSenseMapName(("PM2.5",), "µg/m³"),
    "pm4": OpenSenseMapName(("PM4",), "µg/m³"),
    "pm10": OpenSenseMapName(("PM10",), "µg/m³"),
    "co2": OpenSenseMapName(("CO2", "CO₂"), "ppm"),
    "temperature": OpenSenseMapName(("Temperatur", "Temperature"), "°C"),
    "humidity": OpenSenseMapName(("rel. Luftfeuchte", "Luftfeuchtigkeit", "Humidity"), "%"),
    "pressure": OpenSenseMapName(
        ("Luftdruck", "Pressure"), "Pa", MappingProxyType({"hPa": 0.01, "kPa": 0.001})
    ),
    "laeq": OpenSenseMapName(("Schalldruckpegel", "Schallpegel", "LAeq"), "db (A)"),
    "lafmin": OpenSenseMapName(("Schalldruckpegel min", "LAFmin"), "db (A)"),
    "lafmax": OpenSenseMapName(("Schalldruckpegel max", "LAFmax"), "db (A)"),
    "la10": OpenSenseMapName(("LA10",), "db (A)"),
    "la50": OpenSenseMapName(("LA50",), "db (A)"),
    "la90": OpenSenseMapName(("LA90",), "db (A)"),
    "lcpeak": OpenSenseMapName(("LCpeak",), "db (C)"),
    "voc_index": OpenSenseMapName(("VOC Index",), "1"),
    "nox_index": OpenSenseMapName(("NOx Index",), "1"),
    "battery_voltage": OpenSenseMapName(
        ("Battery", "Batteriespannung"), "mV", MappingProxyType({"V": 0.001})
    ),
    "rssi": OpenSenseMapName(("RSSI",), "dBm"),
}

SMART_CITIZEN: Mapping[str, Mapping[str, Name]] = {
    "common": {
        "co2": Name("158"),
        "voc_index": Name("205"),
        "nox_index": Name("206"),
        "temperature": Name("55"),
        "humidity": Name("56"),
        "pressure": Name("58", 0.001),
        "laeq": Name("53"),
        "lceq": Name("217"),
        "battery_voltage": Name("222", 0.001),
        "rssi": Name("220"),
        "latitude": Name("125"),
        "longitude": Name("126"),
        "altitude": Name("127"),
    },
    "plantower": {"pm1": Name("89"), "pm2_5": Name("87"), "pm10": Name("88")},
    "sps30": {
        "pm1": Name("182"),
        "pm2_5": Name("183"),
        "pm4": Name("184"),
        "pm10": Name("185"),
        "number_0_5": Name("186", 100),
        "number_1": Name("187", 100),
        "number_2_5": Name("188", 100),
        "number_4": Name("189", 100),
        "number_10": Name("190", 100),
        "particle_size": Name("191"),
    },
    "sen5x": {
        "pm1": Name("193"),
        "pm2_5": Name("194"),
        "pm4": Name("195"),
        "pm10": Name("196"),
        "number_0_5": Name("197", 100),
        "number_1": Name("198", 100),
        "number_2_5": Name("199", 100),
        "number_4": Name("200", 100),
        "number_10": Name("201", 100),
        "humidity": Name("203"),
        "temperature": Name("204"),
    },
}
"""Sensor ids by particle sensor; pressure there is kPa, counts are per 0.1 litre."""

NGSI_AIR: Mapping[str, NgsiName] = {
    "pm1": NgsiName("pm1", "GQ"),
    "pm2_5": NgsiName("pm25", "GQ"),
    "pm4": NgsiName("pm4", "GQ"),
    "pm10": NgsiName("pm10", "GQ"),
    "co2": NgsiName("co2", "59"),
    "temperature": NgsiName("temperature", "CEL"),
    "humidity": NgsiName("relativeHumidity", "C62", 0.01),
    "pressure": NgsiName("pressure", "A97", 0.01),
    "voc_index": NgsiName("vocIndex", "C62", own=True),
    "nox_index": NgsiName("noxIndex", "C62", own=True),
}
NGSI_NOISE: Mapping[str, NgsiName] = {
    "laeq": NgsiName("LAeq", "2N"),
    "lafmax": NgsiName("LAmax", "2N"),
    "lafmin": NgsiName("LAmin", "2N", own=True),
    "la10": NgsiName("LA10", "2N", own=True),
    "la50": NgsiName("LA50", "2N", own=True),
    "la90": NgsiName("LA90", "2N", own=True),
    "lceq": NgsiName("LCeq", "2N", own=True),
    "lcpeak": NgsiName("LCpeak", "2N", own=True),
}

HOME_ASSISTANT: Mapping[str, HomeAssistantName] = {
    "pm1": HomeAssistantName("pm1", "\u00b5g/m³"),
    "pm2_5": HomeAssistantName("pm25", "\u00b5g/m³"),
    "pm4": HomeAssistantName(None, "\u00b5g/m³"),
    "pm10": HomeAssistantName("pm10", "\u00b5g/m³"),
    "co2": HomeAssistantName("carbon_dioxide", "ppm"),
    "voc_index": HomeAssistantName(None, None),
    "nox_index": HomeAssistantName(None, None),
    "temperature": HomeAssistantName("temperature", "°C"),
    "humidity": HomeAssistantName("humidity", "%"),
    "pressure": HomeAssistantName("atmospheric_pressure", "Pa"),
    "laeq": HomeAssistantName("sound_pressure", "dBA"),
    "lafmax": HomeAssistantName("sound_pressure", "dBA"),
    "lafmin": HomeAssistantName("sound_pressure", "dBA"),
    "la10": HomeAssistantName("sound_pressure", "dBA"),
    "la50": HomeAssistantName("sound_pressure", "dBA"),
    "la90": HomeAssistantName("sound_pressure", "dBA"),
    "lcpeak": HomeAssistantName("sound_pressure", "dB"),
    "lceq": HomeAssistantName("sound_pressure", "dB"),
    "battery_voltage": HomeAssistantName("voltage", "V", 0.001),
    "rssi": HomeAssistantName("signal_strength", "dBm"),
}


class Explanation(NamedTuple):
    """One channel at one sink: what it is called there, None when it cannot be sent."""

    node: str
    channel: str
    upstream: str | None


def registry_channels(node: PublicNode) -> list[Channel]:
    """A channel for each quantity of the registry, as this node might have it."""
    return [
        Channel(node, row, band=FIRST_BAND if row.shape == "bands" else None)
        for row in REGISTRY.values()
        if row.kind != "time"
    ]


def explain(
    sink: Sink, nodes: Sequence[PublicNode], channels: Sequence[Channel] = ()
) -> list[Explanation]:
    """What a sink calls every channel, of the registry or of those given."""
    asked = channels or [channel for node in nodes for channel in registry_channels(node)]
    return [
        Explanation(channel.node.name, channel.key, sink.upstream_name(channel))
        for channel in asked
    ]


def names_table(sink: Sink, node: PublicNode) -> str:
    """Markdown: what each quantity of the registry is called there, and what cannot be sent."""
    rows = explain(sink, [node])
    sent = [f"| {row.channel} | {row.upstream} |" for row in rows if row.upstream is not None]
    unsent = ", ".join(row.channel for row in rows if row.upstream is None)
    table = "\n".join(["| quantity | there |", "| --- | --- |", *sent])
    return f"{table}\n\nCannot be sent: {unsent or 'nothing'}.\n"


async def provision(
    sink: Sink, nodes: Sequence[PublicNode], channels: Sequence[Channel], *, dry_run: bool
) -> Sequence[str]:
    """Creates or finds again what a sink needs upstream; returns a line for each entity.

    A dry run asks nothing of the network. Raises SinkError.
    """
    named = [channel for channel in channels if sink.upstream_name(channel) is not None]
    lines = sink.plan(named)
    if not dry_run:
        try:
            await sink.prepare(nodes)
            await sink.provision(named)
            lines = sink.plan(named)
        finally:
            await sink.close()
    return lines
