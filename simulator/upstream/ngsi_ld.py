"""An NGSI-LD broker: present state by upsert, history by the temporal API, each with its own key.

An upsert overwrites whatever is there, older or newer; it notes every value that it shows in the
history too, as brokers do, and the same value twice is in the history twice (Scorpio 5). Required
attributes of the two Smart Data Models are checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from simulator.upstream._rules import ISO_Z, lot
from simulator.upstream.base import HTTP_FAULTS, Upstream

REQUIRED = {
    "AirQualityObserved": ("dateObserved", "location"),
    "NoiseLevelObserved": ("dateObservedFrom", "dateObservedTo", "location"),
}
NOT_VALUES = frozenset(
    (
        "id", "type", "@context", "location", "refDevice", "name", "dateObserved",
        "dateObservedFrom", "dateObservedTo",
    )
)  # fmt: skip


class NgsiLd(Upstream):
    """`/ngsi-ld/v1`; `bad_entity` refuses that share of entities and times in a 207, always the
    same ones; `bad_instance` refuses a temporal request the same way with 400.
    """

    name = "ngsi_ld"
    faults_known = (*HTTP_FAULTS, "bad_entity", "bad_instance")

    def __init__(
        self, faults: Mapping[str, float] | None = None, seed: int = 0, token: str | None = None
    ) -> None:
        super().__init__(faults, seed)
        self.token = token
        self.entities: dict[str, dict[str, Any]] = {}
        self.history: set[str] = set()

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/ngsi-ld/v1/entityOperations/upsert", self._upsert)
        router.add_post("/ngsi-ld/v1/temporal/entities", self._temporal)
        router.add_get("/ngsi-ld/v1/entities/{id}", self._entity)

    async def _entity(self, request: web.Request) -> web.Response:
        found = self.entities.get(request.match_info["id"])
        return web.json_response(found) if found else web.json_response({}, status=404)

    async def _document(self, request: web.Request) -> Any:
        if self.token is not None and (
            request.headers.get("Authorization") != f"Bearer {self.token}"
        ):
            raise web.HTTPUnauthorized
        if request.content_type not in ("application/json", "application/ld+json"):
            raise web.HTTPUnsupportedMediaType
        try:
            return json.loads(await request.read())
        except ValueError:
            raise web.HTTPBadRequest from None

    async def _upsert(self, request: web.Request) -> web.Response:
        document = await self._document(request)
        if not isinstance(document, list) or not document:
            return _problem("an array of entities is expected")
        errors, created = [], []
        for entity in document:
            problem = self._entity_problem(entity)
            if problem:
                errors.append(
                    {"entityId": entity.get("id"), "error": {"title": problem, "status": 400}}
                )
                continue
            known = self.entities.setdefault(entity["id"], {})
            if not known:
                created.append(entity["id"])
            known.update(entity)
            self._note(entity["id"], entity)
        if errors:
            done = [e["id"] for e in document if e["id"] not in {x["entityId"] for x in errors}]
            return web.json_response({"success": done, "errors": errors}, status=207)
        if created:
            return web.json_response(created, status=201)
        return web.Response(status=204)

    async def _temporal(self, request: web.Request) -> web.Response:
        entity = await self._document(request)
        if not isinstance(entity, dict) or entity.get("type") not in REQUIRED:
            return _problem("an entity with id and type is expected")
        share = self.faults.get("bad_instance", 0.0)
        for name, instances in entity.items():
            if name in NOT_VALUES:
                continue
            for instance in instances if isinstance(instances, list) else [instances]:
                at = str(instance.get("observedAt"))
                if not ISO_Z.fullmatch(at):
                    return _problem("observedAt is not a date")
                if share and lot(f"{entity['id']}/{name}/{at}") < share:
                    self.refused[entity["id"], name, at] += 1
                    return _problem("the value is not accepted")
        self._note(entity["id"], entity)
        if entity["id"] in self.history:
            return web.Response(status=204)
        self.history.add(entity["id"])
        return web.Response(status=201)

    def _entity_problem(self, entity: dict[str, Any]) -> str:
        required = REQUIRED.get(entity.get("type", ""))
        if required is None or "@context" not in entity:
            return "unknown type or no @context"
        missing = [name for name in required if name not in entity]
        if missing:
            return f"missing {missing[0]}"
        longitude, latitude = entity["location"]["value"]["coordinates"][:2]
        if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
            return "location is not [longitude, latitude]"
        share = self.faults.get("bad_entity", 0.0)
        for name, row in _values(entity).items():
            if lot(f"{entity['id']}/{name}/{row['observedAt']}") < share:
                self.refused[entity["id"], name, row["observedAt"]] += 1
                return "constraint"
        return ""

    def _note(self, entity: str, document: Mapping[str, Any]) -> None:
        for name, value in document.items():
            if name in NOT_VALUES:
                continue
            for row in value if isinstance(value, list) else [value]:
                key = (entity, name, row["observedAt"])
                self.stored[key] += 1


def _values(entity: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: value for name, value in entity.items() if name not in NOT_VALUES}


def _problem(text: str) -> web.Response:
    return web.json_response({"type": "BadRequestData", "title": text}, status=400)


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> NgsiLd:
    """The fake network."""
    return NgsiLd(faults, seed)
