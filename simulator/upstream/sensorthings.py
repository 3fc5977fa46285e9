"""A SensorThings server as FROST 2.4 behaves, its traps included; observations live in memory.

One transaction for each CreateObservations: a misspelt component or a short row is 500 and nothing
is stored. An unknown key ends the parse silently, so that fewer rows are answered than were sent.
A row that cannot be stored is answered by "error ...", and 201 all the same. The same observation
sent twice is there twice.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from simulator.upstream._rules import lot
from simulator.upstream.base import HTTP_FAULTS, Upstream

SETS = (
    "Things",
    "Locations",
    "Datastreams",
    "Sensors",
    "ObservedProperties",
    "FeaturesOfInterest",
    "HistoricalLocations",
)
REQUIRED = {
    "Things": ("name", "description"),
    "Locations": ("name", "description", "encodingType", "location"),
    "Datastreams": (
        "name", "description", "observationType", "unitOfMeasurement", "Sensor", "ObservedProperty",
    ),
    "Sensors": ("name", "description", "encodingType", "metadata"),
    "ObservedProperties": ("name", "definition", "description"),
    "FeaturesOfInterest": ("name", "description", "encodingType", "feature"),
}  # fmt: skip
COMPONENTS = frozenset(
    (
        "id", "@iot.id", "phenomenonTime", "resultTime", "validTime", "result", "resultQuality",
        "parameters", "FeatureOfInterest/id",
    )
)  # fmt: skip
PAGE_DEFAULT = 100
PAGE_MAX = 10_000
_INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"
_TIME = re.compile(rf"{_INSTANT}(?:/{_INSTANT})?")
_NAME_IS = re.compile(r"name eq '((?:[^']|'')*)'")
_BETWEEN = re.compile(r"phenomenonTime (ge|le|gt|lt) (\S+)")


class Broken(Exception):
    """What ends a FROST request in 500 and a rollback."""


class SensorThings(Upstream):
    """`/v1.1`; `row_error` refuses that share of observations for ever, the same ones each time."""

    name = "sensorthings"
    faults_known = (*HTTP_FAULTS, "row_error")

    def __init__(
        self,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        token: str | None = None,
    ) -> None:
        super().__init__(faults, seed)
        self.token = token
        self.entities: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in SETS}
        self.observations: dict[int, list[tuple[str, Any, dict[str, Any]]]] = {}
        self._last_id = 0

    def set_up_anew(self, streams: int = 12) -> None:
        """An empty server under the same address; a stranger came first and has the lowest ids."""
        for found in self.entities.values():
            found.clear()
        self.observations.clear()
        self._last_id = 0
        thing = self._insert("Things", {"name": "a stranger"}, None)
        self._insert("Locations", {"name": "elsewhere"}, thing)
        for number in range(streams):
            self._insert("Datastreams", {"name": f"a stranger's {number}"}, thing)

    def held(self) -> dict[str, int]:
        """How many observations each Datastream has, by its name."""
        streams = self.entities["Datastreams"]
        return {streams[id]["name"]: len(rows) for id, rows in self.observations.items() if rows}

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1.1/CreateObservations", self._create_observations)
        router.add_get("/v1.1/{path:.+}", self._get)
        router.add_post("/v1.1/{path:.+}", self._post)

    # writing

    async def _create_observations(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return _error(401, "Authentication required.")
        try:
            document = json.loads(await request.read())
        except ValueError:
            return _error(400, "Not valid JSON.")
        if not isinstance(document, list):
            return _error(400, "Expected an array.")
        base = f"{request.scheme}://{request.host}/v1.1"
        answers: list[str] = []
        rows: list[tuple[int, str, Any, dict[str, Any]]] = []
        try:
            for block in document:
                if not self._block(block, base, answers, rows):
                    break
        except Broken as fault:
            return _error(500, f"Failed to store data: {fault}")
        for datastream, time, result, extra in rows:
            self.observations.setdefault(datastream, []).append((time, result, extra))
            self.stored[datastream, time] += 1
        return web.json_response(answers, status=201)

    def _block(
        self,
        block: Any,
        base: str,
        answers: list[str],
        rows: list[tuple[int, str, Any, dict[str, Any]]],
    ) -> bool:
        """One object of the array; False when an unknown key ends the parse."""
        if not isinstance(block, dict):
            raise Broken("not an object")
        for key in block:
            if key not in ("Datastream", "components", "dataArray", "dataArray@iot.count"):
                return False
        components: list[str] = block.get("components", [])
        data: list[list[Any]] = block.get("dataArray", [])
        if not COMPONENTS.issuperset(components):
            raise Broken("NullPointerException")
        datastream: Any = (block.get("Datastream") or {}).get("@iot.id")
        positions = {name: index for index, name in enumerate(components)}
        for row in data:
            if len(row) < len(components):
                raise Broken("IndexOutOfBoundsException")
            fields = {name: row[index] for name, index in positions.items()}
            problem = self._problem(datastream, fields)
            if problem:
                self.refused[datastream, str(fields.get("phenomenonTime"))] += 1
                answers.append(f"error {problem}")
                continue
            self._last_id += 1
            answers.append(f"{base}/Observations({self._last_id})")
            extra = {"@iot.id": self._last_id, **fields}
            rows.append((datastream, str(fields["phenomenonTime"]), fields["result"], extra))
        return True

    def _problem(self, datastream: Any, fields: Mapping[str, Any]) -> str:
        if not isinstance(datastream, int) or datastream not in self.entities["Datastreams"]:
            return "No such entity 'Datastream'."
        time, result = fields.get("phenomenonTime"), fields.get("result")
        if not isinstance(time, str) or not _TIME.fullmatch(time):
            return "Not a valid time."
        if isinstance(result, float) and not math.isfinite(result):
            return "Not a valid result."
        feature = fields.get("FeatureOfInterest/id")
        if feature is not None and feature not in self.entities["FeaturesOfInterest"]:
            return "No such entity 'FeatureOfInterest'."
        if feature is None and not self._has_location(datastream):
            return "No FeatureOfInterest provided, and none can be generated."
        share = self.faults.get("row_error", 0.0)
        if share and lot(f"{datastream}/{time}") < share:
            return "Data violates constraints."
        return ""

    def _has_location(self, datastream: int) -> bool:
        thing = self.entities["Datastreams"][datastream]["_thing"]
        return any(location["_thing"] == thing for location in self.entities["Locations"].values())

    async def _post(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return _error(401, "Authentication required.")
        try:
            document = json.loads(await request.read())
        except ValueError:
            return _error(400, "Not valid JSON.")
        parent, collection = _parent(request.match_info["path"])
        if collection not in REQUIRED:
            return _error(404, "Nothing here.")
        if parent and parent[1] not in self.entities.get(parent[0], {}):
            return _error(404, "No such entity.")
        problem = self._check(collection, document, parent)
        if problem:
            return _error(400, problem)
        id = self._insert(collection, document, parent[1] if parent else None)
        location = f"{request.scheme}://{request.host}/v1.1/{collection}({id})"
        return web.json_response(
            self._entity(collection, id), status=201, headers={"Location": location}
        )

    def _check(self, collection: str, document: Any, parent: tuple[str, int] | None) -> str:
        if not isinstance(document, dict):
            return "Expected an object."
        for key in REQUIRED[collection]:
            if document.get(key) in (None, ""):
                return f"Missing required property '{key}'"
        if collection == "Datastreams":
            if parent is None:
                return "Missing required property 'Thing'"
            for key, target in (("Sensor", "Sensors"), ("ObservedProperty", "ObservedProperties")):
                if document[key].get("@iot.id") not in self.entities[target]:
                    return f"No such entity '{key}'."
        return ""

    def _insert(self, collection: str, document: dict[str, Any], thing: int | None) -> int:
        self._last_id += 1
        id = self._last_id
        nested = document.pop("Locations", [])
        self.entities[collection][id] = {**document, "@iot.id": id, "_thing": thing}
        for location in nested:
            self._insert("Locations", location, id)
        return id

    # reading

    async def _get(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        single = re.fullmatch(r"(\w+)\((\d+)\)", path)
        if single:
            return self._get_one(single[1], int(single[2]))
        parent, collection = _parent(path)
        if collection != "Observations" and collection not in SETS:
            return _error(404, "Nothing here.")
        if parent and parent[1] not in self.entities.get(parent[0], {}):
            return _error(404, "No such entity.")
        rows = (
            self._observations(parent, request.query)
            if collection == "Observations"
            else self._rows(collection, parent, request.query)
        )
        return self._answer_page(request, list(rows))

    def _get_one(self, collection: str, id: int) -> web.Response:
        if collection == "Observations":
            for rows in self.observations.values():
                for _, _, extra in rows:
                    if extra["@iot.id"] == id:
                        return web.json_response(extra)
            return _error(404, "No such entity.")
        if id not in self.entities.get(collection, {}):
            return _error(404, "No such entity.")
        return web.json_response(self._entity(collection, id))

    def _entity(self, collection: str, id: int) -> dict[str, Any]:
        found = self.entities[collection][id]
        return {key: value for key, value in found.items() if key != "_thing"}

    def _rows(
        self, collection: str, parent: tuple[str, int] | None, query: Mapping[str, str]
    ) -> Iterable[dict[str, Any]]:
        wanted = _NAME_IS.search(query.get("$filter", ""))
        name = wanted[1].replace("''", "'") if wanted else None
        for id, entity in self.entities[collection].items():
            if parent and entity["_thing"] != parent[1]:
                continue
            if name is None or entity["name"] == name:
                yield self._entity(collection, id)

    def _observations(
        self, parent: tuple[str, int] | None, query: Mapping[str, str]
    ) -> Iterable[dict[str, Any]]:
        streams = [parent[1]] if parent else list(self.observations)
        bounds = [(how, _second(text)) for how, text in _BETWEEN.findall(query.get("$filter", ""))]
        found = [
            extra
            for stream in streams
            for time, _, extra in self.observations.get(stream, ())
            if all(_holds(_second(time), how, bound) for how, bound in bounds)
        ]
        order = query.get("$orderby", "")
        key = "phenomenonTime" if "phenomenonTime" in order else "@iot.id"
        return sorted(found, key=lambda row: row[key], reverse="desc" in order.lower())

    def _answer_page(self, request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
        skip = int(request.query.get("$skip", "0"))
        top = min(int(request.query.get("$top", PAGE_DEFAULT)), PAGE_MAX)
        answer: dict[str, Any] = {"value": rows[skip : skip + top]}
        if request.query.get("$count") == "true":
            answer["@iot.count"] = len(rows)
        if skip + top < len(rows):
            more = request.url.update_query({"$skip": str(skip + top), "$top": str(top)})
            answer["@iot.nextLink"] = str(more)
        return web.json_response(answer)

    def _allowed(self, request: web.Request) -> bool:
        if self.token is None:
            return True
        return request.headers.get("Authorization") == f"Bearer {self.token}"


def _parent(path: str) -> tuple[tuple[str, int] | None, str]:
    """`Things(1)/Datastreams` as (("Things", 1), "Datastreams")."""
    nested = re.fullmatch(r"(\w+)\((\d+)\)/(\w+)", path)
    if nested:
        return (nested[1], int(nested[2])), nested[3]
    return None, path


def _second(text: str) -> str:
    """The start of an instant or interval, comparable as text."""
    return text.split("/")[0].replace("+00:00", "Z")


def _holds(time: str, how: str, bound: str) -> bool:
    return {
        "ge": time >= bound, "gt": time > bound, "le": time <= bound, "lt": time < bound
    }[how]  # fmt: skip


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"code": status, "type": "error", "message": message}, status=status)


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> SensorThings:
    """The fake network."""
    return SensorThings(faults, seed)
