"""openSenseMap: boxes with sensors; right on both of its servers.

All sensors of a box go in one request at their original times, the backlog before live data, for
the newer server shows the last value of the last request. The older server stores a resend twice,
so an unknown outcome is read back. The newer one answers 500 for what is wrong in a request.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from collector.clock import DAY_MS
from collector.readings.observation import Channel, Observation, PublicNode
from collector.secret import Secret
from collector.sinks._http import (
    HTTP_DEFAULTS,
    HttpClient,
    HttpSettings,
    check_url,
    common_error,
    objects,
)
from collector.sinks._values import decimal, iso_ms, of_node, parse_iso_ms
from collector.sinks.base import (
    ACCEPTED,
    AccessDenied,
    Capabilities,
    Group,
    IdStore,
    NoAnswer,
    NotSent,
    Outcome,
    Rate,
    Refused,
    Rejected,
    Sink,
    SinkConfig,
    by_address,
    held,
)
from collector.structure import KeyFault, Length, Range

MEASUREMENTS_MAX = 2500
READ_BACK_MAX = 10_000
RELOOK_S = 300.0
READ_BACK_MS = 28 * DAY_MS
_ID = re.compile(r"[0-9a-f]{24}")


class SensorTitles(NamedTuple):
    """Titles that boxes give to this quantity's sensor, the first one when we create it."""

    titles: tuple[str, ...]
    unit: str
    factors: Mapping[str, float] = MappingProxyType({})


TITLES: Mapping[str, SensorTitles] = {
    "pm1": SensorTitles(("PM1", "PM1.0"), "µg/m³"),
    "pm2_5": SensorTitles(("PM2.5",), "µg/m³"),
    "pm4": SensorTitles(("PM4",), "µg/m³"),
    "pm10": SensorTitles(("PM10",), "µg/m³"),
    "co2": SensorTitles(("CO2", "CO₂"), "ppm"),
    "temperature": SensorTitles(("Temperatur", "Temperature"), "°C"),
    "humidity": SensorTitles(("rel. Luftfeuchte", "Luftfeuchtigkeit", "Humidity"), "%"),
    "pressure": SensorTitles(
        ("Luftdruck", "Pressure"), "Pa", MappingProxyType({"hPa": 0.01, "kPa": 0.001})
    ),
    "laeq": SensorTitles(("Schalldruckpegel", "Schallpegel", "LAeq"), "db (A)"),
    "lafmin": SensorTitles(("Schalldruckpegel min", "LAFmin"), "db (A)"),
    "lafmax": SensorTitles(("Schalldruckpegel max", "LAFmax"), "db (A)"),
    "la10": SensorTitles(("LA10",), "db (A)"),
    "la50": SensorTitles(("LA50",), "db (A)"),
    "la90": SensorTitles(("LA90",), "db (A)"),
    "lcpeak": SensorTitles(("LCpeak",), "db (C)"),
    "voc_index": SensorTitles(("VOC Index",), "1"),
    "nox_index": SensorTitles(("NOx Index",), "1"),
    "battery_voltage": SensorTitles(
        ("Battery", "Batteriespannung"), "mV", MappingProxyType({"V": 0.001})
    ),
    "rssi": SensorTitles(("RSSI",), "dBm"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A node's box there. `sensors` names sensor ids by channel; others are found by title."""

    id: str
    token: Secret | None = None
    sensors: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise KeyFault("id", "must be the box's 24 hexadecimal digits")
        for channel, sensor in self.sensors.items():
            if not _ID.fullmatch(sensor):
                raise KeyFault("sensors", f"{channel}: must be a sensor's 24 hexadecimal digits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "opensensemap": boxes by our address, name or UUID."""

    boxes: Mapping[str, Box]
    url: Annotated[str, Length(8, 500)] = "https://api.opensensemap.org"
    requests_per_minute: Annotated[float, Range(0.1, 600)] = 10.0
    http: HttpSettings = HTTP_DEFAULTS

    def __post_init__(self) -> None:
        check_url(self.url, self.http)


class _Sensor(NamedTuple):
    id: str
    factor: float


class OpenSenseMap(Sink):
    """Posts measurements into boxes."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.capabilities = Capabilities(
            reads_back=True,
            oldest_first=True,
            largest_batch=MEASUREMENTS_MAX,
            network_rate=Rate(per_s=config.requests_per_minute / 60, burst=2),
        )
        self._config = config
        self._http = HttpClient(config.url, config.http, {})
        self._sensors: dict[tuple[str, str], _Sensor] = {}
        self._looked_at: dict[str, float] = {}
        """Boxes whose sensors are known, and when they were read."""

    def upstream_name(self, channel: Channel) -> str | None:
        box = self._box(channel.node)
        if box is None:
            return None
        sensor = box.sensors.get(channel.key)
        if sensor:
            return f"box {box.id} sensor {sensor}"
        titles = _titles(channel)
        if not titles:
            return None
        if box.id in self._looked_at and (box.id, channel.key) not in self._sensors:
            return None
        return f"box {box.id} sensor titled {' or '.join(titles)}"

    async def prepare(self, nodes: Sequence[PublicNode]) -> None:
        """Looks at boxes, for only then it is known which sensors there are; `provision` judges."""
        for node in nodes:
            box = self._box(node)
            if box is not None:
                with suppress(AccessDenied, Refused):
                    await self._look_at(box)

    async def provision(self, channels: Sequence[Channel]) -> None:
        """Looks at boxes; one that is not there, or not ours, holds up no other."""
        for node in dict.fromkeys(channel.node for channel in channels):
            box = self._box(node)
            if box is None:
                continue
            try:
                await self._look_at(box)
            except AccessDenied as fault:
                raise Refused(fault.reason) from None

    def plan(self, channels: Sequence[Channel]) -> Sequence[str]:
        return [f"{c.node.name} {c.key}: {self.upstream_name(c) or 'no sensor'}" for c in channels]

    def split(self, observations: Sequence[Observation]) -> Iterable[Group]:
        def box_id(node: PublicNode) -> str:
            box = self._box(node)
            return box.id if box else ""

        by_time = sorted(observations, key=lambda o: o.time_ms)
        return by_address(by_time, box_id, MEASUREMENTS_MAX)

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        box = self._box_of(batch)
        await self._look_at(box)
        known = [o for o in batch if self._sensor(box, o.channel) is not None]
        if known:
            await self._post(box, known)
        return [
            ACCEPTED if self._sensor(box, o.channel) else Rejected("no sensor: none of this title")
            for o in batch
        ]

    async def _post(self, box: Box, batch: Sequence[Observation]) -> None:
        headers = {"Authorization": box.token.reveal()} if box.token else {}
        document = [self._measurement(box, o) for o in batch]
        answer = await self._http.request(
            "POST", f"/boxes/{box.id}/data", document=document, headers=headers
        )
        if answer.status == 404:
            raise AccessDenied(f"no box {box.id}")
        if answer.status in (400, 422, 500) and await self._has_changed(box):
            raise NotSent(f"box {box.id} has got other sensors")
        if answer.status != 201:
            raise common_error(answer)

    async def _has_changed(self, box: Box) -> bool:
        """Whether the box has other sensors than we know; asked once in RELOOK_S at most."""
        if asyncio.get_running_loop().time() - self._looked_at.get(box.id, 0.0) < RELOOK_S:
            return False
        before = self._sensors_of(box)
        del self._looked_at[box.id]
        await self._look_at(box)
        return self._sensors_of(box) != before

    def _sensors_of(self, box: Box) -> dict[str, _Sensor]:
        return {key: sensor for (id, key), sensor in self._sensors.items() if id == box.id}

    async def read_back(self, batch: Sequence[Observation]) -> Sequence[bool] | None:
        return await held(batch, self._times, lambda o: o.time_ms)

    async def close(self) -> None:
        await self._http.close()

    async def _times(self, channel: Channel, readings: Sequence[Observation]) -> set[int]:
        """Times of what a sensor holds between the first and the last of these."""
        box = self._box_of(readings)
        await self._look_at(box)
        sensor = self._sensor(box, channel)
        if sensor is None:
            return set()
        wanted = sorted(o.time_ms for o in readings)
        found: set[int] = set()
        while wanted:
            first, end = wanted[0], wanted[0] + READ_BACK_MS
            part = [time_ms for time_ms in wanted if time_ms < end]
            wanted = wanted[len(part) :]
            query = {"from-date": iso_ms(first), "to-date": iso_ms(part[-1] + 1), "format": "json"}
            answer = await self._http.request(
                "GET", f"/boxes/{box.id}/data/{sensor.id}", query=query
            )
            if answer.status != 200:
                raise common_error(answer)
            rows = objects(answer.json())
            if len(rows) >= READ_BACK_MAX:
                raise NoAnswer("too many measurements to read back")
            found.update(map(_created_ms, rows))
        return found

    async def _look_at(self, box: Box) -> None:
        """Reads which sensors a box has."""
        if box.id in self._looked_at:
            return
        answer = await self._http.request("GET", f"/boxes/{box.id}")
        if answer.status in (404, 500):
            raise AccessDenied(f"no box {box.id}")
        if answer.status != 200:
            raise common_error(answer)
        sensors = objects(answer.document().get("sensors"))
        if not all(isinstance(sensor.get("_id"), str) for sensor in sensors):
            raise NoAnswer(f"box {box.id}: a sensor without an id")
        for key in self._sensors_of(box):
            del self._sensors[box.id, key]
        for quantity, row in TITLES.items():
            for sensor in sensors:
                if sensor.get("title") in row.titles:
                    factor = row.factors.get(str(sensor.get("unit")), 1.0)
                    self._sensors[box.id, quantity] = _Sensor(sensor["_id"], factor)
                    break
        units = {s["_id"]: str(s.get("unit")) for s in sensors}
        for key, sensor_id in box.sensors.items():
            named = TITLES.get(key.split(".")[0].split("@")[0].split(":")[0])
            factor = named.factors.get(units.get(sensor_id, ""), 1.0) if named else 1.0
            self._sensors[box.id, key] = _Sensor(sensor_id, factor)
        self._looked_at[box.id] = asyncio.get_running_loop().time()

    def _box(self, node: PublicNode) -> Box | None:
        return of_node(self._config.boxes, node)

    def _box_of(self, batch: Sequence[Observation]) -> Box:
        box = self._box(batch[0].channel.node)
        if box is None:
            raise Refused("no box: the configuration names none for this node")
        return box

    def _sensor(self, box: Box, channel: Channel) -> _Sensor | None:
        return self._sensors.get((box.id, channel.key))

    def _measurement(self, box: Box, observation: Observation) -> dict[str, Any]:
        sensor = self._sensor(box, observation.channel)
        assert sensor is not None
        document: dict[str, Any] = {
            "sensor": sensor.id,
            "value": decimal(round(observation.value * sensor.factor, 6)),
            "createdAt": iso_ms(observation.time_ms),
        }
        place = observation.place
        if observation.channel.node.mobile and place is not None:
            document["location"] = [place.longitude, place.latitude]
            if place.elevation_m is not None:
                document["location"].append(place.elevation_m)
        return document


def _created_ms(row: Mapping[str, Any]) -> int:
    """When a measurement was taken. Raises NoAnswer."""
    try:
        return parse_iso_ms(str(row.get("createdAt")))
    except (ValueError, OverflowError):
        raise NoAnswer("a measurement without its time") from None


def _titles(channel: Channel) -> tuple[str, ...]:
    row = TITLES.get(channel.key)
    return row.titles if row else ()


def build(config: Config, name: str, ids: IdStore) -> OpenSenseMap:
    """The sink of a configuration."""
    return OpenSenseMap(name, config)
