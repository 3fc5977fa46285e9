"""CKAN DataStore: one long table, a row a reading, its key node, channel and time.

Upserts by that key are idempotent. The resource is looked up by name before it is created, for
CKAN would make another each time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from collector.readings.observation import Channel, Observation, PublicNode, quality_name
from collector.secret import Secret
from collector.sinks._http import (
    HTTP_DEFAULTS,
    Answer,
    HttpClient,
    HttpSettings,
    check_url,
    common_error,
    objects,
)
from collector.sinks._values import iso_ms
from collector.sinks.base import (
    ACCEPTED,
    AccessDenied,
    Capabilities,
    IdStore,
    NoAnswer,
    NotSent,
    Outcome,
    Sink,
    SinkConfig,
)
from collector.structure import Length, Range

KEY = ("node", "channel", "time")
FIELDS = (
    ("node", "text"),
    ("channel", "text"),
    ("time", "timestamptz"),
    ("value", "float8"),
    ("unit", "text"),
    ("quality", "text"),
    ("name", "text"),
    ("longitude", "float8"),
    ("latitude", "float8"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "ckan": a dataset that exists, and the resource's name in it."""

    url: Annotated[str, Length(8, 500)]
    token: Secret
    package: Annotated[str, Length(2, 100)]
    resource: Annotated[str, Length(1, 200)] = "observations"
    batch: Annotated[int, Range(1, 20_000)] = 5000
    http: HttpSettings = HTTP_DEFAULTS

    def __post_init__(self) -> None:
        check_url(self.url, self.http)


class Ckan(Sink):
    """Upserts into one DataStore resource."""

    def __init__(self, name: str, config: Config, ids: IdStore) -> None:
        self.name = name
        self.capabilities = Capabilities(idempotent=True, largest_batch=config.batch)
        self._config = config
        self._ids = ids
        self._http = HttpClient(config.url, config.http, {"Authorization": config.token.reveal()})

    @property
    def _id_key(self) -> str:
        return f"resource/{self._config.package}/{self._config.resource}"

    def upstream_name(self, channel: Channel) -> str | None:
        return f"channel {channel.key} in {self._config.package}/{self._config.resource}"

    def plan(self, channels: Sequence[Channel]) -> Sequence[str]:
        kept = self._ids.get(self._id_key)
        state = f"known as {kept}" if kept else "to be found or created"
        return [f"DataStore resource {self._config.package}/{self._config.resource}: {state}"]

    async def prepare(self, nodes: Sequence[PublicNode]) -> None:
        await self._resource()

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        resource = await self._resource()
        answer = await self._call(
            "datastore_upsert",
            {
                "resource_id": resource,
                "method": "upsert",
                "records": [_record(observation) for observation in batch],
                "calculate_record_count": False,
            },
        )
        if answer.status == 404:
            await self._ids.put({self._id_key: ""})
            raise NotSent("the resource is gone; it is looked for again")
        if answer.status != 200:
            raise common_error(answer)
        if answer.document().get("success") is not True:
            raise NoAnswer("status 200 without success")
        return [ACCEPTED] * len(batch)

    async def close(self) -> None:
        await self._http.close()

    async def _resource(self) -> str:
        kept = self._ids.get(self._id_key)
        if kept:
            return kept
        answer = await self._call("package_show", {"id": self._config.package})
        if answer.status == 404:
            raise AccessDenied(f"no dataset {self._config.package}: create it in CKAN first")
        if answer.status != 200:
            raise common_error(answer)
        for resource in objects(_result(answer).get("resources", [])):
            if resource.get("name") == self._config.resource:
                return await self._keep(_id_of(resource, "id"))
        return await self._keep(await self._create())

    async def _create(self) -> str:
        answer = await self._call(
            "datastore_create",
            {
                "resource": {
                    "package_id": self._config.package,
                    "name": self._config.resource,
                    "format": "CSV",
                },
                "fields": [{"id": name, "type": kind} for name, kind in FIELDS],
                "primary_key": list(KEY),
            },
        )
        if answer.status != 200:
            raise common_error(answer)
        return _id_of(_result(answer), "resource_id")

    async def _keep(self, resource: str) -> str:
        await self._ids.put({self._id_key: resource})
        return resource

    async def _call(self, action: str, document: Any) -> Answer:
        return await self._http.request("POST", f"/api/3/action/{action}", document=document)


def _result(answer: Answer) -> Mapping[str, Any]:
    """What an action that succeeded gives back. Raises NoAnswer."""
    document = answer.document()
    result = document.get("result")
    if document.get("success") is not True or not isinstance(result, dict):
        raise NoAnswer("status 200 without success")
    return result


def _id_of(row: Mapping[str, Any], key: str) -> str:
    """An id that CKAN gave. Raises NoAnswer."""
    id = row.get(key)
    if not isinstance(id, str) or not id:
        raise NoAnswer(f"an answer without {key}")
    return id


def _record(observation: Observation) -> dict[str, Any]:
    channel, place = observation.channel, observation.place
    return {
        "node": str(channel.node.uuid),
        "channel": channel.key,
        "time": iso_ms(observation.time_ms),
        "value": observation.value,
        "unit": channel.quantity.unit,
        "quality": quality_name(observation.quality),
        "name": channel.node.name,
        "longitude": place.longitude if place else None,
        "latitude": place.latitude if place else None,
    }


def build(config: Config, name: str, ids: IdStore) -> Ckan:
    """The sink of a configuration."""
    return Ckan(name, config, ids)
