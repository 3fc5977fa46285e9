"""NGSI-LD context brokers with Smart Data Models: AirQualityObserved and NoiseLevelObserved.

An entity stands for a node (and sensor instance) and shows its present state. What is newer than
everything sent before goes there by upsert; what is older goes to the entity's history by the
temporal API, for an upsert would put the present back. The present is one value however often it
comes, but brokers append to the history whatever they get: what is sent again may be there twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from collector.readings.observation import Channel, Observation, Place, PublicNode
from collector.secret import Secret
from collector.sinks._http import (
    HTTP_DEFAULTS,
    Answer,
    HttpClient,
    HttpSettings,
    bearer,
    check_url,
    common_error,
    objects,
)
from collector.sinks._values import iso_ms
from collector.sinks.base import (
    ACCEPTED,
    Capabilities,
    Group,
    IdStore,
    NoAnswer,
    Outcome,
    Rejected,
    Retry,
    Sink,
    SinkConfig,
)
from collector.structure import Length, Range


class Attribute(NamedTuple):
    """An attribute of a Smart Data Model; own names are not in its context."""

    name: str
    unit_code: str
    factor: float = 1.0
    own: bool = False


AIR: Mapping[str, Attribute] = {
    "pm1": Attribute("pm1", "GQ"),
    "pm2_5": Attribute("pm25", "GQ"),
    "pm4": Attribute("pm4", "GQ"),
    "pm10": Attribute("pm10", "GQ"),
    "co2": Attribute("co2", "59"),
    "temperature": Attribute("temperature", "CEL"),
    "humidity": Attribute("relativeHumidity", "C62", 0.01),
    "pressure": Attribute("pressure", "A97", 0.01),
    "voc_index": Attribute("vocIndex", "C62", own=True),
    "nox_index": Attribute("noxIndex", "C62", own=True),
}
NOISE: Mapping[str, Attribute] = {
    "laeq": Attribute("LAeq", "2N"),
    "lafmax": Attribute("LAmax", "2N"),
    "lafmin": Attribute("LAmin", "2N", own=True),
    "la10": Attribute("LA10", "2N", own=True),
    "la50": Attribute("LA50", "2N", own=True),
    "la90": Attribute("LA90", "2N", own=True),
    "lceq": Attribute("LCeq", "2N", own=True),
    "lcpeak": Attribute("LCpeak", "2N", own=True),
}


CORE_CONTEXT = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld"
MODEL_CONTEXT = "https://raw.githubusercontent.com/smart-data-models/dataModel.Environment/master/context.jsonld"
OWN_TERMS = {
    row.name: f"urn:opencities:osn:{row.name}"
    for row in (*AIR.values(), *NOISE.values())
    if row.own
}
ENTITIES_MAX = 100_000
NO_PLACE_RETRY_S = 3600.0
UPSERT, TEMPORAL = "upsert", "temporal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "ngsi_ld". temporal = false for brokers without a temporal API."""

    url: Annotated[str, Length(8, 500)]
    token: Secret | None = None
    tenant: Annotated[str, Length(1, 100)] | None = None
    temporal: bool = True
    batch_entities: Annotated[int, Range(1, 1000)] = 100
    batch_instances: Annotated[int, Range(1, 10_000)] = 500
    model_context: Annotated[str, Length(8, 500)] = MODEL_CONTEXT
    http: HttpSettings = HTTP_DEFAULTS

    def __post_init__(self) -> None:
        check_url(self.url, self.http)


class _Entity(NamedTuple):
    type: str
    node: PublicNode
    instance: int
    formula: str | None

    @property
    def id(self) -> str:
        text = f"urn:ngsi-ld:{self.type}:osn:{self.node.uuid}"
        if self.instance:
            text += f":{self.instance}"
        return text if self.formula is None else f"{text}:{self.formula}"


class NgsiLd(Sink):
    """Upserts and appends to one broker."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.capabilities = Capabilities(
            backlog=config.temporal, largest_batch=config.batch_instances
        )
        self._config = config
        headers: dict[str, str] = {}
        if config.token is not None:
            headers |= bearer(config.token)
        if config.tenant is not None:
            headers["NGSILD-Tenant"] = config.tenant
        self._http = HttpClient(config.url, config.http, headers)
        self._newest_ms: dict[str, int] = {}

    def upstream_name(self, channel: Channel) -> str | None:
        found = _mapped(channel)
        return f"{_entity(channel).type}.{found.name}" if found else None

    def split(self, observations: Sequence[Observation]) -> Iterable[Group]:
        """Upserts in the order of time, an entity once in each; history by entity."""
        by_time: dict[int, dict[str, list[Observation]]] = {}
        history: dict[str, list[Observation]] = {}
        newest = self._newest_of(observations)
        for observation in observations:
            entity = _entity(observation.channel).id
            if self._config.temporal and observation.time_ms < newest[entity]:
                history.setdefault(entity, []).append(observation)
            else:
                by_time.setdefault(observation.time_ms, {}).setdefault(entity, []).append(
                    observation
                )
        for readings in history.values():
            for start in range(0, len(readings), self._config.batch_instances):
                yield Group(TEMPORAL, readings[start : start + self._config.batch_instances])
        for _, entities in sorted(by_time.items()):
            parts = list(entities.values())
            for start in range(0, len(parts), self._config.batch_entities):
                some = parts[start : start + self._config.batch_entities]
                yield Group(UPSERT, [o for part in some for o in part])

    def _newest_of(self, observations: Sequence[Observation]) -> dict[str, int]:
        newest: dict[str, int] = {}
        for observation in observations:
            entity = _entity(observation.channel).id
            known = newest.get(entity)
            if known is None:
                known = self._newest_ms.get(entity, 0)
            newest[entity] = max(known, observation.time_ms)
        return newest

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        placed = [o for o in batch if _place(o) is not None]
        by_entity: dict[_Entity, list[Observation]] = {}
        for observation in placed:
            by_entity.setdefault(_entity(observation.channel), []).append(observation)
        failed: dict[int, Outcome] = {}
        if self._is_history(placed):
            await self._append(by_entity)
        elif by_entity:
            failed = await self._upsert_apart(by_entity)
        outcomes: list[Outcome] = []
        for observation in batch:
            if _place(observation) is None:
                outcomes.append(Retry("no place: the node has no site", NO_PLACE_RETRY_S))
            else:
                outcomes.append(failed.get(id(observation), ACCEPTED))
        return outcomes

    async def close(self) -> None:
        await self._http.close()

    def _is_history(self, readings: Sequence[Observation]) -> bool:
        """One time for each entity is the present; several times, or an older one, are history."""
        if not self._config.temporal:
            return False
        times: dict[str, int] = {}
        for observation in readings:
            entity = _entity(observation.channel).id
            if times.setdefault(entity, observation.time_ms) != observation.time_ms:
                return True
            if observation.time_ms < self._newest_ms.get(entity, 0):
                return True
        return False

    async def _upsert_apart(
        self, by_entity: Mapping[_Entity, Sequence[Observation]]
    ) -> dict[int, Outcome]:
        """Outcomes of readings that failed, by id(); one bad value does not take its entity along.

        An entity that is refused is sent again, a reading at a time.
        """
        refused = await self._upsert(by_entity)
        failed: dict[int, Outcome] = {}
        for entity, readings in by_entity.items():
            outcome = refused.get(entity.id)
            if outcome is None:
                continue
            for observation in readings:
                if len(readings) == 1 or not isinstance(outcome, Rejected):
                    failed[id(observation)] = outcome
                    continue
                alone = await self._upsert({entity: [observation]})
                if entity.id in alone:
                    failed[id(observation)] = alone[entity.id]
        return failed

    async def _upsert(
        self, by_entity: Mapping[_Entity, Sequence[Observation]]
    ) -> Mapping[str, Outcome]:
        document = [self._document(entity, parts) for entity, parts in by_entity.items()]
        answer = await self._post("/ngsi-ld/v1/entityOperations/upsert?options=update", document)
        failed: Mapping[str, Outcome] = {}
        if answer.status == 207:
            failed = _failures(answer, [entity.id for entity in by_entity])
        elif answer.status not in (201, 204):
            raise common_error(answer)
        if len(self._newest_ms) > ENTITIES_MAX:
            self._newest_ms.clear()
        for entity, readings in by_entity.items():
            if entity.id not in failed:
                newest = max(o.time_ms for o in readings)
                self._newest_ms[entity.id] = max(self._newest_ms.get(entity.id, 0), newest)
        return failed

    async def _append(self, by_entity: Mapping[_Entity, Sequence[Observation]]) -> None:
        """An entity's history; 201 when it is new, 204 when it grew."""
        for entity, readings in by_entity.items():
            document = self._history(entity, readings)
            answer = await self._post("/ngsi-ld/v1/temporal/entities", document)
            if answer.status not in (201, 204):
                raise common_error(answer)

    async def _post(self, path: str, document: Any) -> Answer:
        target, _, query = path.partition("?")
        options = dict(part.split("=") for part in query.split("&")) if query else None
        return await self._http.request(
            "POST",
            target,
            document=document,
            query=options,
            headers={"Content-Type": "application/ld+json"},
        )

    def _document(self, entity: _Entity, readings: Sequence[Observation]) -> dict[str, Any]:
        document = self._head(entity, readings)
        for observation in readings:
            row = _mapped(observation.channel)
            assert row is not None
            document[row.name] = _property(observation, row)
        document["@context"] = self._context()
        return document

    def _history(self, entity: _Entity, readings: Sequence[Observation]) -> dict[str, Any]:
        attributes: dict[str, list[dict[str, Any]]] = {}
        for observation in readings:
            row = _mapped(observation.channel)
            assert row is not None
            attributes.setdefault(row.name, []).append(_property(observation, row))
        return {
            "id": entity.id,
            "type": entity.type,
            **attributes,
            "@context": self._context(),
        }

    def _head(self, entity: _Entity, readings: Sequence[Observation]) -> dict[str, Any]:
        newest = max(readings, key=lambda o: o.time_ms)
        place = _place(newest)
        assert place is not None
        document: dict[str, Any] = {
            "id": entity.id,
            "type": entity.type,
            "location": {"type": "GeoProperty", "value": _point(place)},
            "refDevice": {
                "type": "Property",
                "value": f"urn:ngsi-ld:Device:osn:{entity.node.uuid}",
            },
            "name": {"type": "Property", "value": entity.node.name},
        }
        if entity.type == "NoiseLevelObserved":
            start = newest.time_ms - newest.interval_ms
            document["dateObservedFrom"] = _date(start)
            document["dateObservedTo"] = _date(newest.time_ms)
            document["dateObserved"] = {
                "type": "Property",
                "value": f"{iso_ms(start)}/{iso_ms(newest.time_ms)}",
            }
        else:
            document["dateObserved"] = _date(newest.time_ms)
        return document

    def _context(self) -> list[Any]:
        return [self._config.model_context, OWN_TERMS, CORE_CONTEXT]


def _entity(channel: Channel) -> _Entity:
    kind = "NoiseLevelObserved" if channel.quantity.kind == "noise" else "AirQualityObserved"
    return _Entity(kind, channel.node, channel.instance, channel.formula)


def _mapped(channel: Channel) -> Attribute | None:
    if channel.band is not None:
        return None
    return AIR.get(channel.quantity.name) or NOISE.get(channel.quantity.name)


def _place(observation: Observation) -> Place | None:
    node = observation.channel.node
    return observation.place if node.mobile else node.place


def _property(observation: Observation, row: Attribute) -> dict[str, Any]:
    return {
        "type": "Property",
        "value": round(observation.value * row.factor, 6),
        "unitCode": row.unit_code,
        "observedAt": iso_ms(observation.time_ms),
    }


def _date(time_ms: int) -> dict[str, Any]:
    return {"type": "Property", "value": {"@type": "DateTime", "@value": iso_ms(time_ms)}}


def _point(place: Place) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [place.longitude, place.latitude]}


def _failures(answer: Answer, sent: Sequence[str]) -> Mapping[str, Outcome]:
    """Entities that a 207 names as failed; a fault of the server's own is tried again.

    Raises NoAnswer where it names none of those sent, for then nobody knows which are there.
    """
    failed: dict[str, Outcome] = {}
    for entry in objects(answer.document().get("errors")):
        entity = str(entry.get("entityId"))
        said = entry.get("error", "")
        details = said if isinstance(said, dict) else {"title": str(said)}
        text = str(details.get("detail") or details.get("title") or "without a reason")[:100]
        own_fault = str(details.get("status")).startswith("5")
        failed[entity] = (
            Retry(f"entity failed: {text}") if own_fault else Rejected(f"entity refused: {text}")
        )
    if not failed or not failed.keys() <= set(sent):
        raise NoAnswer("status 207 that does not say which entities failed")
    return failed


def build(config: Config, name: str, ids: IdStore) -> NgsiLd:
    """The sink of a configuration."""
    return NgsiLd(name, config)
