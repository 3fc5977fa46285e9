"""Madavi: a second chart for sensor.community nodes; a whole board in one body, live only.

The server stamps what it gets with its own time and knows no registration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from collector.readings.observation import Channel, Observation
from collector.sinks._airrohr import AirRohrSink, live, pin_of
from collector.sinks._http import HTTP_DEFAULTS, HttpSettings, check_url, common_error
from collector.sinks._values import of_node
from collector.sinks.base import ACCEPTED, IdStore, Outcome, SinkConfig
from collector.structure import Length, Range

PREFIXES: Mapping[int, str] = {1: "SPS30_", 11: "BME280_", 15: "DNMS_", 17: "SCD30_"}
"""By the pin of sensor.community; a configuration names the sensor that is really there."""


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


class Madavi(AirRohrSink):
    """Posts whole boards."""

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, live(config.interval_s), config.url, config.http)
        self._config = config

    def upstream_name(self, channel: Channel) -> str | None:
        value_type = self.value_type(channel)
        return f"{self.address(channel)} {value_type}" if value_type else None

    def address(self, channel: Channel) -> str:
        node = channel.node
        return of_node(self._config.uids, node) or f"raspi-{node.hex}"

    def value_type(self, channel: Channel) -> str | None:
        row = pin_of(channel)
        if row is None:
            return None
        return self._config.prefixes.get(channel.quantity.name, PREFIXES[row.pin]) + row.value_type

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        headers = {"X-Sensor": self.address(batch[0].channel)}
        answer = await self._http.request(
            "POST", "", document=self.document(batch), headers=headers
        )
        if answer.status != 200 or answer.body.strip()[:2].lower() != b"ok":
            raise common_error(answer)
        return [ACCEPTED] * len(batch)


def build(config: Config, name: str, ids: IdStore) -> Madavi:
    """The sink of a configuration."""
    return Madavi(name, config)
