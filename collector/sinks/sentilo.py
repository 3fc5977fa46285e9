"""Sentilo, the sensor platform of Barcelona and other cities.

Sensors are registered in the provider's catalogue, then observations are put for all of them at
once. A request has a largest size, and nothing is promised about duplicates, so an unknown outcome
is read back. Times are whole seconds.

A sensor that was just registered is unknown to the platform for half a minute (404), and so is one
that somebody removed. Of a request with an unknown sensor a part may be stored: it is read back,
and such sensors go out in requests of their own until they are known, so that they hold up nobody.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from collector.readings.observation import Channel, Observation, Place, PublicNode
from collector.secret import Secret
from collector.sinks._http import (
    HTTP_DEFAULTS,
    Answer,
    HttpClient,
    HttpSettings,
    check_url,
    common_error,
    objects,
    whole_number,
)
from collector.sinks._values import decimal
from collector.sinks.base import (
    ACCEPTED,
    AccessDenied,
    Capabilities,
    Group,
    IdStore,
    NoAnswer,
    NotSent,
    Outcome,
    Refused,
    Retry,
    Sink,
    SinkConfig,
    SinkError,
    held,
)
from collector.structure import KeyFault, Length, Range

OBSERVATION_BYTES = 60
SENSOR_BYTES = 110
READ_BACK_LIMIT = 1000
UNKNOWN_RETRY_S = 15.0
_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "sentilo".

    types: quantity to a sensor type of that installation; only quantities named here go out.
    component_type: one of its component types. body_bytes: its largest request.
    """

    url: Annotated[str, Length(8, 500)]
    token: Secret
    provider: Annotated[str, Length(1, 60)]
    types: Mapping[str, str]
    component_type: Annotated[str, Length(1, 60)] = "generic"
    prefix: Annotated[str, Length(0, 20)] = "OSN"
    public: bool = True
    body_bytes: Annotated[int, Range(512, 10_000_000)] = 4096
    http: HttpSettings = HTTP_DEFAULTS
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_url(self.url, self.http)
        for key in ("provider", "prefix"):
            if getattr(self, key) and not _ID.fullmatch(getattr(self, key)):
                raise KeyFault(key, "may hold letters, digits, _ and - only")


class Sentilo(Sink):
    """One provider's sensors."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.capabilities = Capabilities(reads_back=True, largest_batch=10_000)
        self._config = config
        self._http = HttpClient(
            config.url, config.http, {**config.headers, "IDENTITY_KEY": config.token.reveal()}
        )
        self._known: set[str] | None = None
        self._unsure: set[Channel] = set()
        """Channels whose sensor the platform did not know, or may not know yet."""

    def upstream_name(self, channel: Channel) -> str | None:
        if channel.quantity.name not in self._config.types:
            return None
        return self.sensor_id(channel)

    def sensor_id(self, channel: Channel) -> str:
        """`OSN-a1b2c3d4-PM2_5`: unique within the provider."""
        key = re.sub(r"[^A-Za-z0-9_-]", "-", channel.key).upper()
        return f"{self._component(channel.node)}-{key}"

    def _component(self, node: PublicNode) -> str:
        return f"{self._config.prefix}-{node.hex}" if self._config.prefix else node.hex

    def plan(self, channels: Sequence[Channel]) -> Sequence[str]:
        return [f"sensor {self.sensor_id(channel)}: {self._state(channel)}" for channel in channels]

    def _state(self, channel: Channel) -> str:
        known = self._known is not None and self.sensor_id(channel) in self._known
        return "registered" if known else "to be found or registered"

    async def provision(self, channels: Sequence[Channel]) -> None:
        known = await self._catalogue()
        missing = [channel for channel in channels if self.sensor_id(channel) not in known]
        for part in self._by_size(missing):
            document = {"sensors": [self._entry(channel) for channel in part]}
            self._known = None
            answer = await self._http.request(
                "POST", f"/catalog/{self._config.provider}", document=document
            )
            if not 200 <= answer.status < 300:
                raise _error(answer)
            known.update(self.sensor_id(channel) for channel in part)
            self._known = known
            self._unsure.update(part)

    def split(self, observations: Sequence[Observation]) -> Iterable[Group]:
        """As many as fit the installation's largest request; unsure sensors apart."""
        apart: dict[Channel, list[Observation]] = {}
        together: list[Observation] = []
        for observation in observations:
            unsure = observation.channel in self._unsure
            (apart.setdefault(observation.channel, []) if unsure else together).append(observation)
        for readings in (together, *apart.values()):
            yield from self._split_by_size(readings)

    def _split_by_size(self, observations: Sequence[Observation]) -> Iterable[Group]:
        group: list[Observation] = []
        sensors: set[Channel] = set()
        size = 16
        for observation in observations:
            more = OBSERVATION_BYTES + 40 * observation.channel.node.mobile
            if observation.channel not in sensors:
                more += SENSOR_BYTES
            if group and size + more > self._config.body_bytes:
                yield Group("", group)
                group, sensors, size = [], set(), 16
                more = OBSERVATION_BYTES + SENSOR_BYTES + 40 * observation.channel.node.mobile
            group.append(observation)
            sensors.add(observation.channel)
            size += more
        if group:
            yield Group("", group)

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        sensors: dict[Channel, list[dict[str, str]]] = {}
        for observation in batch:
            record = {
                "value": decimal(observation.value),
                "timestamp": sentilo_time(observation.time_ms),
            }
            if observation.channel.node.mobile and observation.place is not None:
                record["location"] = location(observation.place)
            sensors.setdefault(observation.channel, []).append(record)
        document = {
            "sensors": [
                {"sensor": self.sensor_id(channel), "observations": records}
                for channel, records in sensors.items()
            ]
        }
        answer = await self._http.request(
            "PUT", f"/data/{self._config.provider}", document=document
        )
        if answer.status == 404:
            return await self._unknown(sensors, batch)
        if answer.status != 200:
            raise _error(answer)
        if answer.body.strip() or answer.unreadable:
            raise NoAnswer("status 200 with a body, which a platform does not send")
        self._unsure.difference_update(sensors)
        return [ACCEPTED] * len(batch)

    async def _unknown(
        self, channels: Collection[Channel], batch: Sequence[Observation]
    ) -> Sequence[Outcome]:
        """Outcomes when the platform does not know one of these sensors.

        Registers what the catalogue lost. A request of several sensors is stored in part.
        """
        self._unsure.update(channels)
        self._known = None
        try:
            await self.provision(tuple(channels))
        except Refused as refusal:
            raise AccessDenied(f"a sensor cannot be registered: {refusal.reason}") from None
        if len(channels) > 1:
            raise NoAnswer("a sensor is not known yet: what was stored is read back")
        return [Retry("the sensor is not known yet", UNKNOWN_RETRY_S)] * len(batch)

    async def read_back(self, batch: Sequence[Observation]) -> Sequence[bool] | None:
        return await held(batch, self._times, lambda o: sentilo_time(o.time_ms))

    async def close(self) -> None:
        await self._http.close()

    async def _times(self, channel: Channel, readings: Sequence[Observation]) -> set[str]:
        wanted = sorted({o.time_ms // 1000 * 1000 for o in readings})
        found: set[str] = set()
        path = f"/data/{self._config.provider}/{self.sensor_id(channel)}"
        for start in range(0, len(wanted), READ_BACK_LIMIT // 2):
            part = wanted[start : start + READ_BACK_LIMIT // 2]
            query = {
                "from": sentilo_time(part[0] - 1000),
                "to": sentilo_time(part[-1] + 1000),
                "limit": str(READ_BACK_LIMIT),
            }
            answer = await self._http.request("GET", path, query=query)
            if answer.status == 404 and answer.document().get("code") == 404:
                return set()
            if answer.status != 200:
                raise _error(answer)
            rows = objects(answer.document().get("observations"))
            if len(rows) >= READ_BACK_LIMIT:
                raise NoAnswer("the observations cannot be read back")
            found.update(str(row.get("timestamp", ""))[:19] for row in rows)
        return found

    async def _catalogue(self) -> set[str]:
        """Ids of the provider's sensors, read once."""
        if self._known is None:
            answer = await self._http.request("GET", f"/catalog/{self._config.provider}")
            if answer.status == 404:
                raise AccessDenied(f"no provider {self._config.provider} there")
            if answer.status != 200:
                raise _error(answer)
            self._known = {
                str(sensor.get("sensor"))
                for provider in objects(answer.document().get("providers"))
                for sensor in objects(provider.get("sensors", []))
            }
        return self._known

    def _entry(self, channel: Channel) -> dict[str, Any]:
        node = channel.node
        entry: dict[str, Any] = {
            "sensor": self.sensor_id(channel),
            "description": f"{channel.quantity.title}, {node.name}",
            "type": self._config.types[channel.quantity.name],
            "dataType": "number",
            "unit": channel.quantity.unit,
            "component": self._component(node),
            "componentType": self._config.component_type,
            "publicAccess": str(self._config.public).lower(),
            "componentPublicAccess": str(self._config.public).lower(),
            "additionalInfo": {"uuid": str(node.uuid), "channel": channel.key},
        }
        if node.place is not None:
            entry["location"] = location(node.place)
        return entry

    def _by_size(self, channels: Sequence[Channel]) -> Iterable[list[Channel]]:
        part: list[Channel] = []
        size = 16
        for channel in channels:
            more = len(json.dumps(self._entry(channel))) + 2
            if part and size + more > self._config.body_bytes:
                yield part
                part, size = [], 16
            part.append(channel)
            size += more
        if part:
            yield part


def sentilo_time(time_ms: int) -> str:
    """dd/MM/yyyyTHH:mm:ss in UTC."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_ms // 1000)
    return f"{moment:%d/%m/%YT%H:%M:%S}"


def location(place: Place) -> str:
    """Latitude, a blank, longitude."""
    return f"{place.latitude:.6f} {place.longitude:.6f}"


def _error(answer: Answer) -> SinkError:
    """Its 429 says in minutes when to come back."""
    if answer.status == 429:
        minutes = whole_number(answer.headers.get("X-RateLimit-Inbound-Reset", ""))
        after_s = None if minutes is None else 60.0 * minutes
        return NotSent("status 429: over the hourly limit", after_s)
    return common_error(answer)


def build(config: Config, name: str, ids: IdStore) -> Sentilo:
    """The sink of a configuration."""
    return Sentilo(name, config)
