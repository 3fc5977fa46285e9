"""Home Assistant by MQTT discovery: a device for each node, an entity for each channel.

Home Assistant dates a state by its receipt, so only the newest reading of each channel goes out,
and only while it is fresh. Units are those that its device classes ask for.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from collector.readings.observation import Channel, Observation, PublicNode
from collector.sinks._mqtt import MQTT_DEFAULTS, Message, Publisher, PublisherSettings, Will
from collector.sinks._values import decimal
from collector.sinks.base import Accepted, Capabilities, IdStore, NotSent, Outcome, Sink, SinkConfig
from collector.structure import Length, Range

ONLINE, OFFLINE = "online", "offline"


class EntityKind(NamedTuple):
    """A Home Assistant device class (None where none fits), unit, and factor."""

    device_class: str | None
    unit: str | None
    factor: float = 1.0


ENTITY_KINDS: Mapping[str, EntityKind] = {
    "pm1": EntityKind("pm1", "\u00b5g/m³"),
    "pm2_5": EntityKind("pm25", "\u00b5g/m³"),
    "pm4": EntityKind(None, "\u00b5g/m³"),
    "pm10": EntityKind("pm10", "\u00b5g/m³"),
    "co2": EntityKind("carbon_dioxide", "ppm"),
    "voc_index": EntityKind(None, None),
    "nox_index": EntityKind(None, None),
    "temperature": EntityKind("temperature", "°C"),
    "humidity": EntityKind("humidity", "%"),
    "pressure": EntityKind("atmospheric_pressure", "Pa"),
    "laeq": EntityKind("sound_pressure", "dBA"),
    "lafmax": EntityKind("sound_pressure", "dBA"),
    "lafmin": EntityKind("sound_pressure", "dBA"),
    "la10": EntityKind("sound_pressure", "dBA"),
    "la50": EntityKind("sound_pressure", "dBA"),
    "la90": EntityKind("sound_pressure", "dBA"),
    "lcpeak": EntityKind("sound_pressure", "dB"),
    "lceq": EntityKind("sound_pressure", "dB"),
    "battery_voltage": EntityKind("voltage", "V", 0.001),
    "rssi": EntityKind("signal_strength", "dBm"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "home_assistant": the broker that Home Assistant listens to."""

    mqtt: PublisherSettings = MQTT_DEFAULTS
    discovery: Annotated[str, Length(1, 100)] = "homeassistant"
    topic: Annotated[str, Length(1, 100)] = "osn/ha"
    expire_after_s: Annotated[int, Range(10, 86_400)] = 900


class HomeAssistant(Sink):
    """Publishes discovery, states and availability."""

    capabilities = Capabilities(
        idempotent=True, backlog=False, latest_only=True, fresh_s=300.0, largest_batch=500
    )

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self._config = config
        self._client = Publisher(config.mqtt, name, Will(self._status_topic, OFFLINE))
        self._channels: dict[PublicNode, dict[str, Channel]] = {}

    @property
    def _status_topic(self) -> str:
        return f"{self._config.topic}/status"

    def upstream_name(self, channel: Channel) -> str | None:
        if channel.band is not None or channel.quantity.name not in ENTITY_KINDS:
            return None
        return f"sensor {_unique_id(channel)}"

    def plan(self, channels: Sequence[Channel]) -> Sequence[str]:
        return [f"entity {_unique_id(channel)}" for channel in channels]

    async def prepare(self, nodes: Sequence[PublicNode]) -> None:
        await self._announce()

    async def provision(self, channels: Sequence[Channel]) -> None:
        for channel in channels:
            self._channels.setdefault(channel.node, {})[_object_id(channel)] = channel
        await self._announce(dict.fromkeys(channel.node for channel in channels))

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        if not self._client.connected:
            await self._announce(self._channels)
        return await self._client.publish(
            [
                Message(
                    self._state_topic(o.channel),
                    decimal(round(o.value * _row(o.channel).factor, 6)),
                )
                for o in batch
            ]
        )

    async def close(self) -> None:
        if self._client.connected:
            await self._client.publish([Message(self._status_topic, OFFLINE, True)])
        await self._client.close()

    async def _announce(self, nodes: Sequence[PublicNode] | dict[PublicNode, Any] = ()) -> None:
        """Says that we are here, and which entities there are."""
        messages = [Message(self._status_topic, ONLINE, True)]
        messages += [
            Message(
                f"{self._config.discovery}/device/osn_{n.uuid.hex}/config", self._device(n), True
            )
            for n in nodes
        ]
        said = await self._client.publish(messages)
        if not all(isinstance(outcome, Accepted) for outcome in said):
            raise NotSent("the broker did not confirm the discovery")

    def _device(self, node: PublicNode) -> dict[str, Any]:
        return {
            "dev": {
                "ids": [f"osn_{node.uuid.hex}"],
                "name": node.name,
                "mf": "Open Cities",
                "mdl": node.board or "board",
            },
            "o": {"name": "opencities-osn"},
            "avty_t": self._status_topic,
            "qos": 1,
            "cmps": {
                object_id: self._component(channel)
                for object_id, channel in self._channels[node].items()
            },
        }

    def _component(self, channel: Channel) -> dict[str, Any]:
        row = _row(channel)
        component: dict[str, Any] = {
            "p": "sensor",
            "uniq_id": _unique_id(channel),
            "name": _title(channel),
            "stat_t": self._state_topic(channel),
            "stat_cla": "measurement",
            "exp_aft": self._config.expire_after_s,
        }
        if row.device_class is not None:
            component["dev_cla"] = row.device_class
        if row.unit is not None:
            component["unit_of_meas"] = row.unit
        return component

    def _state_topic(self, channel: Channel) -> str:
        return f"{self._config.topic}/{channel.node.hex}/{_object_id(channel)}"


def _row(channel: Channel) -> EntityKind:
    return ENTITY_KINDS[channel.quantity.name]


def _object_id(channel: Channel) -> str:
    """Letters, digits, _ and - only, as discovery topics want."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", channel.key)


def _unique_id(channel: Channel) -> str:
    return f"osn_{channel.node.uuid.hex}_{_object_id(channel)}"


def _title(channel: Channel) -> str:
    title = channel.quantity.title.split(",")[0]
    if channel.instance:
        title += f" {channel.instance + 1}"
    return f"{title} ({channel.formula})" if channel.formula else title


def build(config: Config, name: str, ids: IdStore) -> HomeAssistant:
    """The sink of a configuration."""
    return HomeAssistant(name, config)
