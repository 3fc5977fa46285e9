"""Readings on an MQTT broker: a JSON message each, or SenML packs by node and time.

MQTT's QoS 1 delivers at least once: after a lost PUBACK subscribers may see a reading twice, so
each carries its node, channel and time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from collector.readings.observation import Channel, Observation, quality_name
from collector.sinks._mqtt import MQTT_DEFAULTS, Message, Publisher, PublisherSettings
from collector.sinks._values import iso_ms
from collector.sinks.base import Capabilities, IdStore, Outcome, Sink, SinkConfig
from collector.structure import KeyFault, Length

_SENML_UNITS = {"degC": "Cel", "%": "%RH", "dB": "dB", "dBm": "dBm", "deg": "lat", "1": "/"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "mqtt". topic may hold {node}, {uuid}, {name} and, for json, {channel}."""

    mqtt: PublisherSettings = MQTT_DEFAULTS
    format: Literal["json", "senml"] = "json"
    topic: Annotated[str, Length(1, 200)] = "osn/readings/{node}"
    retain: bool = False

    def __post_init__(self) -> None:
        if any(character in self.topic for character in "+#"):
            raise KeyFault("topic", "must not hold + or #")
        try:
            self.topic.format(node="", uuid="", name="", channel="")
        except (KeyError, IndexError, ValueError):
            raise KeyFault("topic", "knows {node}, {uuid}, {name} and {channel} only") from None
        if self.format == "senml" and "{channel}" in self.topic:
            raise KeyFault("topic", "a SenML pack holds several channels: no {channel}")


class Mqtt(Sink):
    """Publishes readings."""

    capabilities = Capabilities(largest_batch=500)

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self._config = config
        self._client = Publisher(config.mqtt, name)

    def upstream_name(self, channel: Channel) -> str | None:
        return self._topic(channel)

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        if self._config.format == "json":
            return await self._client.publish(
                [Message(self._topic(o.channel), _document(o), self._config.retain) for o in batch]
            )
        packs: dict[tuple[str, int], list[Observation]] = {}
        for observation in batch:
            key = (self._topic(observation.channel), observation.time_ms)
            packs.setdefault(key, []).append(observation)
        said = await self._client.publish(
            [Message(topic, senml(part), self._config.retain) for (topic, _), part in packs.items()]
        )
        by_pack = dict(zip(packs, said, strict=True))
        return [by_pack[self._topic(o.channel), o.time_ms] for o in batch]

    async def close(self) -> None:
        await self._client.close()

    def _topic(self, channel: Channel) -> str:
        node = channel.node
        name = "".join(c for c in node.name if c.isprintable() and c not in "+#/$") or node.hex
        return self._config.topic.format(
            node=node.hex, uuid=node.uuid, name=name, channel=channel.key
        )


def _document(observation: Observation) -> dict[str, Any]:
    channel = observation.channel
    document: dict[str, Any] = {
        "node": channel.node.hex,
        "uuid": str(channel.node.uuid),
        "channel": channel.key,
        "time": iso_ms(observation.time_ms),
        "value": observation.value,
        "unit": channel.quantity.unit,
        "quality": quality_name(observation.quality),
    }
    place = observation.place
    if place is not None:
        document["place"] = [place.longitude, place.latitude]
    return document


def senml(readings: Sequence[Observation]) -> list[dict[str, Any]]:
    """RFC 8428: a pack of readings of one node and time."""
    first = readings[0]
    pack: list[dict[str, Any]] = []
    for observation in readings:
        quantity = observation.channel.quantity
        unit = _SENML_UNITS.get(quantity.unit, quantity.unit)
        if quantity.name == "longitude":
            unit = "lon"
        record: dict[str, Any] = {"n": observation.channel.key, "u": unit, "v": observation.value}
        pack.append(record)
    pack[0] = {"bn": f"urn:uuid:{first.channel.node.uuid}/", "bt": first.time_ms / 1000, **pack[0]}
    return pack


def build(config: Config, name: str, ids: IdStore) -> Mqtt:
    """The sink of a configuration."""
    return Mqtt(name, config)
