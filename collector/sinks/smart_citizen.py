"""Smart Citizen: readings of a device by HTTP, or by MQTT where the device's token is used.

HTTP answers 200 whatever happens, and works on what it took later: everything is checked before it
is sent. MQTT tells nothing but that the broker has it. Times there are whole seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from collector.readings.observation import Channel, Observation
from collector.secret import Secret
from collector.sinks._http import (
    HTTP_DEFAULTS,
    HttpClient,
    HttpSettings,
    basic_auth,
    bearer,
    check_url,
    common_error,
)
from collector.sinks._mqtt import Message, Publisher, PublisherSettings
from collector.sinks._values import iso_s, of_node
from collector.sinks.base import (
    ACCEPTED,
    AccessDenied,
    Capabilities,
    Group,
    IdStore,
    Outcome,
    Rate,
    Refused,
    Sink,
    SinkConfig,
    by_address,
)
from collector.structure import KeyFault, Length, Range

READINGS_MAX = 5000
EARLIEST_MS = 1_000_000_000_000


class SensorId(NamedTuple):
    """A quantity's name upstream, and what to multiply our value by."""

    name: str
    factor: float = 1.0


SENSOR_IDS: Mapping[str, Mapping[str, SensorId]] = {
    "common": {
        "co2": SensorId("158"),
        "voc_index": SensorId("205"),
        "nox_index": SensorId("206"),
        "temperature": SensorId("55"),
        "humidity": SensorId("56"),
        "pressure": SensorId("58", 0.001),
        "laeq": SensorId("53"),
        "lceq": SensorId("217"),
        "battery_voltage": SensorId("222", 0.001),
        "rssi": SensorId("220"),
        "latitude": SensorId("125"),
        "longitude": SensorId("126"),
        "altitude": SensorId("127"),
    },
    "plantower": {"pm1": SensorId("89"), "pm2_5": SensorId("87"), "pm10": SensorId("88")},
    "sps30": {
        "pm1": SensorId("182"),
        "pm2_5": SensorId("183"),
        "pm4": SensorId("184"),
        "pm10": SensorId("185"),
        "number_0_5": SensorId("186", 100),
        "number_1": SensorId("187", 100),
        "number_2_5": SensorId("188", 100),
        "number_4": SensorId("189", 100),
        "number_10": SensorId("190", 100),
        "particle_size": SensorId("191"),
    },
    "sen5x": {
        "pm1": SensorId("193"),
        "pm2_5": SensorId("194"),
        "pm4": SensorId("195"),
        "pm10": SensorId("196"),
        "number_0_5": SensorId("197", 100),
        "number_1": SensorId("198", 100),
        "number_2_5": SensorId("199", 100),
        "number_4": SensorId("200", 100),
        "number_10": SensorId("201", 100),
        "humidity": SensorId("203"),
        "temperature": SensorId("204"),
    },
}
"""Sensor ids by particle sensor; pressure there is kPa, counts are per 0.1 litre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A node's device there. `token` is the device's, for MQTT; `ids` overrules sensor ids."""

    id: Annotated[int, Range(1, 10_000_000_000)] | None = None
    token: Secret | None = None
    particles: Literal["plantower", "sps30", "sen5x"] = "plantower"
    ids: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "smart_citizen": devices by our address, name or UUID.

    HTTP needs a token, or user and password, of an account; with [sink.mqtt] readings go by MQTT
    and each device needs its own token.
    """

    devices: Mapping[str, Device]
    url: Annotated[str, Length(8, 500)] = "https://api.smartcitizen.me"
    token: Secret | None = None
    user: str | None = None
    password: Secret | None = None
    requests_per_minute: Annotated[float, Range(1, 600)] = 120.0
    mqtt: PublisherSettings | None = None
    http: HttpSettings = HTTP_DEFAULTS

    def __post_init__(self) -> None:
        check_url(self.url, self.http)
        if (self.user is None) != (self.password is None):
            raise KeyFault("user", "user and password go together")
        if self.mqtt is None and self.token is None and self.user is None:
            raise KeyFault("token", "HTTP needs a token, or a user and a password")
        for name, device in self.devices.items():
            if self.mqtt is not None and device.token is None:
                raise KeyFault("devices", f"{name}: MQTT needs the device's token")
            if self.mqtt is None and device.id is None:
                raise KeyFault("devices", f"{name}: HTTP needs the device's id")


class SmartCitizen(Sink):
    """Sends readings of devices."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.capabilities = Capabilities(
            idempotent=True,
            largest_batch=READINGS_MAX,
            network_rate=Rate(per_s=config.requests_per_minute / 60, burst=10),
        )
        self._config = config
        self._http = HttpClient(config.url, config.http, _credentials(config))
        self._mqtt = Publisher(config.mqtt, name) if config.mqtt else None

    def upstream_name(self, channel: Channel) -> str | None:
        found = self._sensor(channel)
        return f"sensor {found.name}" if found else None

    def split(self, observations: Sequence[Observation]) -> Iterable[Group]:
        return by_address(observations, lambda node: node.hex, READINGS_MAX)

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        device = of_node(self._config.devices, batch[0].channel.node)
        if device is None:
            raise Refused("no device: the configuration names none for this node")
        document = {"data": self._data(batch)}
        if self._mqtt is not None and device.token is not None:
            topic = f"device/sck/{device.token.reveal()}/readings"
            (outcome,) = await self._mqtt.publish([Message(topic, document)])
            return [outcome] * len(batch)
        answer = await self._http.request(
            "POST", f"/v0/devices/{device.id}/readings", document=document
        )
        if answer.status == 404:
            raise AccessDenied(f"no device {device.id}")
        if answer.status != 200:
            raise common_error(answer)
        said = answer.json()
        if not isinstance(said, dict) or said.get("id") != "ok":
            message = said.get("message") if isinstance(said, dict) else None
            raise Refused(f"answered bad: {str(message)[:100]}")
        return [ACCEPTED] * len(batch)

    async def close(self) -> None:
        await self._http.close()
        if self._mqtt is not None:
            await self._mqtt.close()

    def _data(self, batch: Sequence[Observation]) -> list[dict[str, Any]]:
        """One entry a second, each with its time: a missing one would break the whole job."""
        by_time: dict[str, list[dict[str, Any]]] = {}
        for observation in batch:
            if observation.time_ms < EARLIEST_MS:
                raise Refused("bad time: before 2001")
            sensor = self._sensor(observation.channel)
            assert sensor is not None
            value = round(observation.value * sensor.factor, 6)
            by_time.setdefault(iso_s(observation.time_ms), []).append(
                {"id": int(sensor.name), "value": value}
            )
        return [{"recorded_at": time, "sensors": found} for time, found in sorted(by_time.items())]

    def _sensor(self, channel: Channel) -> SensorId | None:
        device = of_node(self._config.devices, channel.node)
        if device is None:
            return None
        if channel.key in device.ids:
            factor = 0.001 if channel.quantity.unit in ("Pa", "mV") else 1.0
            return SensorId(str(device.ids[channel.key]), factor)
        if channel.key != channel.quantity.name:
            return None
        own = SENSOR_IDS[device.particles].get(channel.key)
        return own or SENSOR_IDS["common"].get(channel.key)


def _credentials(config: Config) -> dict[str, str]:
    if config.token is not None:
        return bearer(config.token)
    if config.user is not None and config.password is not None:
        return basic_auth(config.user, config.password)
    return {}


def build(config: Config, name: str, ids: IdStore) -> SmartCitizen:
    """The sink of a configuration."""
    return SmartCitizen(name, config)
