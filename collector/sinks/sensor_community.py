"""sensor.community: one POST for each sensor and time, no batches, no memory of duplicates.

Live only unless `backfill` is set, which their operators should be asked about first. A reading
without `backfill` gets the server's time of receipt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from collector.readings.observation import Channel, Observation
from collector.sinks._airrohr import FRESH_S, NETWORK_RATE, PINS, AirRohrSink, live, pin_of
from collector.sinks._http import HTTP_DEFAULTS, HttpSettings, check_url, common_error
from collector.sinks._values import iso_ms, of_node
from collector.sinks.base import ACCEPTED, Capabilities, IdStore, Outcome, SinkConfig
from collector.structure import KeyFault, Length, Range

PUBLISHED_NAMES: Mapping[str, str | None] = {
    "pm4": None,
    "co2": None,
    "laeq": "noise_Leq",
}
"""Where the published server knows another name, or none."""


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
            if quantity not in PINS:
                raise KeyFault("pins", f"{quantity!r} is not sent to sensor.community")


class SensorCommunity(AirRohrSink):
    """Pushes sensors, each known by its node's uid and its pin."""

    def __init__(self, name: str, config: Config) -> None:
        dated = Capabilities(fresh_s=FRESH_S, network_rate=NETWORK_RATE)
        capabilities = dated if config.backfill else live(config.interval_s)
        super().__init__(name, capabilities, config.url, config.http)
        self._config = config

    def upstream_name(self, channel: Channel) -> str | None:
        value_type = self.value_type(channel)
        uid = of_node(self._config.uids, channel.node)
        return f"{uid} pin {self._pin(channel)} {value_type}" if value_type and uid else None

    def address(self, channel: Channel) -> str:
        return f"{of_node(self._config.uids, channel.node)}/{self._pin(channel)}"

    def value_type(self, channel: Channel) -> str | None:
        row = pin_of(channel)
        if row is None:
            return None
        if self._config.names == "published":
            return PUBLISHED_NAMES.get(channel.quantity.name, row.value_type)
        return row.value_type

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        uid, pin = self.address(batch[0].channel).rsplit("/", 1)
        document = self.document(batch)
        if self._config.backfill:
            document["timestamp"] = iso_ms(batch[0].time_ms)
        answer = await self._http.request(
            "POST", "/", document=document, headers={"X-Sensor": uid, "X-Pin": pin}
        )
        if answer.status != 201:
            raise common_error(answer)
        return [ACCEPTED] * len(batch)

    def _pin(self, channel: Channel) -> int:
        row = pin_of(channel)
        if row is None:
            raise LookupError(f"{channel.key} is not sent to sensor.community")
        return self._config.pins.get(channel.quantity.name, row.pin)


def build(config: Config, name: str, ids: IdStore) -> SensorCommunity:
    """The sink of a configuration."""
    return SensorCommunity(name, config)
