"""Madavi: a second chart for sensor.community nodes; a whole board in one body, live only.

The server stamps what it gets with its own time and knows no registration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from collector.forward.mapping import MADAVI_PREFIXES, SENSOR_COMMUNITY
from collector.readings.observation import Channel, Observation, PublicNode
from collector.sinks._http import HTTP_DEFAULTS, HttpClient, HttpSettings, check_url, common_error
from collector.sinks._nodes import of_node
from collector.sinks._numbers import decimal
from collector.sinks.base import (
    ACCEPTED,
    Capabilities,
    Group,
    IdStore,
    Outcome,
    Rate,
    Sink,
    SinkConfig,
)
from collector.structure import Length, Range

SOFTWARE = "OSN-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "madavi".

    uids: our address, name or UUID to the name there; nodes that are not named go out as
    raspi-ADDRESS. prefixes: quantity to the sensor's prefix, such as pm10 = "SDS_".
    """

    url: Annotated[str, Length(8, 500)] = "https://api-rrd.madavi.de/data.php"
    uids: Mapping[str, str] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    interval_s: Annotated[float, Range(1, 86_400)] = 145.0
    http: HttpSettings = HTTP_DEFAULTS

    def __post_init__(self) -> None:
        check_url(self.url, self.http)


class Madavi(Sink):
    """Posts to one server."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.capabilities = Capabilities(
            backlog=False,
            latest_only=True,
            interval_s=config.interval_s,
            fresh_s=300.0,
            network_rate=Rate(per_s=2.0, burst=10),
            address_rate=Rate(per_s=1 / config.interval_s, burst=3),
        )
        self._config = config
        self._http = HttpClient(config.url, config.http, {})

    def upstream_name(self, channel: Channel) -> str | None:
        key = self._key(channel)
        return f"{self._uid(channel.node)} {key}" if key else None

    def split(self, observations: Sequence[Observation]) -> Iterable[Group]:
        groups: dict[tuple[int, str], list[Observation]] = {}
        for observation in observations:
            key = (observation.time_ms, self._uid(observation.channel.node))
            groups.setdefault(key, []).append(observation)
        for (_, uid), readings in sorted(groups.items(), key=lambda item: item[0]):
            yield Group(uid, readings)

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        document = {
            "software_version": SOFTWARE,
            "sensordatavalues": [
                {"value_type": self._key(o.channel), "value": decimal(o.value)} for o in batch
            ],
        }
        headers = {"X-Sensor": self._uid(batch[0].channel.node)}
        answer = await self._http.request("POST", "", document=document, headers=headers)
        if answer.status != 200 or answer.body.strip()[:2].lower() != b"ok":
            raise common_error(answer)
        return [ACCEPTED] * len(batch)

    async def close(self) -> None:
        await self._http.close()

    def _uid(self, node: PublicNode) -> str:
        return of_node(self._config.uids, node) or f"raspi-{node.hex}"

    def _key(self, channel: Channel) -> str | None:
        quantity = channel.quantity.name
        row = SENSOR_COMMUNITY.get(quantity)
        if row is None or channel.instance or channel.formula:
            return None
        return self._config.prefixes.get(quantity, MADAVI_PREFIXES[row.pin]) + row.value_type


def build(config: Config, name: str, ids: IdStore) -> Madavi:
    """The sink of a configuration."""
    return Madavi(name, config)
