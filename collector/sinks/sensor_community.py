"""sensor.community: one POST for each sensor and time, no batches, no memory of duplicates.

Live only unless `backfill` is set, which their operators should be asked about first. A reading
without `backfill` gets the server's time of receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from collector.forward.mapping import SENSOR_COMMUNITY, SENSOR_COMMUNITY_PUBLISHED
from collector.readings.observation import Channel, Observation
from collector.sinks._http import HTTP_DEFAULTS, HttpClient, HttpSettings, check_url, common_error
from collector.sinks._nodes import of_node
from collector.sinks._numbers import decimal
from collector.sinks._times import iso_ms
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
from collector.structure import KeyFault, Length, Range

SOFTWARE = "OSN-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "sensor_community": which of our nodes is which node there.

    uids: our address, name or UUID to the uid registered there, such as "raspi-0123abcd". names:
    "airrohr" for what today's firmware sends, "published" for what the published server takes.
    pins: quantity to pin, where a sensor is registered under another than the usual one.
    """

    url: Annotated[str, Length(8, 500)] = "https://api.sensor.community/v1/push-sensor-data/"
    uids: Mapping[str, str]
    names: Literal["airrohr", "published"] = "airrohr"
    pins: Mapping[str, int] = field(default_factory=dict)
    backfill: bool = False
    interval_s: Annotated[float, Range(1, 86_400)] = 145.0
    http: HttpSettings = HTTP_DEFAULTS

    def __post_init__(self) -> None:
        check_url(self.url, self.http)
        if not self.url.endswith("/"):
            raise KeyFault("url", "must end with /, for without it the server loses the readings")
        for quantity in self.pins:
            if quantity not in SENSOR_COMMUNITY:
                raise KeyFault("pins", f"{quantity!r} is not sent to sensor.community")


class SensorCommunity(Sink):
    """Pushes to one server."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        per_s = 1 / config.interval_s
        self.capabilities = Capabilities(
            backlog=config.backfill,
            latest_only=not config.backfill,
            interval_s=0.0 if config.backfill else config.interval_s,
            fresh_s=300.0,
            network_rate=Rate(per_s=2.0, burst=10),
            address_rate=None if config.backfill else Rate(per_s=per_s, burst=3),
        )
        self._config = config
        self._http = HttpClient(config.url, config.http, {})

    def upstream_name(self, channel: Channel) -> str | None:
        named = self._value_type(channel)
        uid = of_node(self._config.uids, channel.node)
        return f"{uid} pin {named[1]} {named[0]}" if named and uid else None

    def split(self, observations: Sequence[Observation]) -> Iterable[Group]:
        groups: dict[tuple[int, str], list[Observation]] = {}
        for observation in observations:
            groups.setdefault((observation.time_ms, self._address(observation)), []).append(
                observation
            )
        for (_, address), readings in sorted(groups.items(), key=lambda item: item[0]):
            yield Group(address, readings)

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        uid, pin = self._address(batch[0]).rsplit("/", 1)
        document: dict[str, object] = {
            "software_version": SOFTWARE,
            "sensordatavalues": [
                {"value_type": self._named(o.channel)[0], "value": decimal(o.value)} for o in batch
            ],
        }
        if self._config.backfill:
            document["timestamp"] = iso_ms(batch[0].time_ms)
        answer = await self._http.request(
            "POST", "/", document=document, headers={"X-Sensor": uid, "X-Pin": pin}
        )
        if answer.status != 201:
            raise common_error(answer)
        return [ACCEPTED] * len(batch)

    async def close(self) -> None:
        await self._http.close()

    def _value_type(self, channel: Channel) -> tuple[str, int] | None:
        quantity = channel.quantity.name
        row = SENSOR_COMMUNITY.get(quantity)
        if row is None or channel.instance or channel.formula:
            return None
        value_type: str | None = row.value_type
        if self._config.names == "published" and quantity in SENSOR_COMMUNITY_PUBLISHED:
            value_type = SENSOR_COMMUNITY_PUBLISHED[quantity]
        return (value_type, self._config.pins.get(quantity, row.pin)) if value_type else None

    def _named(self, channel: Channel) -> tuple[str, int]:
        named = self._value_type(channel)
        if named is None:
            raise LookupError(f"{channel.key} is not sent to sensor.community")
        return named

    def _address(self, observation: Observation) -> str:
        uid = of_node(self._config.uids, observation.channel.node)
        return f"{uid}/{self._named(observation.channel)[1]}"


def build(config: Config, name: str, ids: IdStore) -> SensorCommunity:
    """The sink of a configuration."""
    return SensorCommunity(name, config)
