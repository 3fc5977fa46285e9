"""Things, Locations, Datastreams and what they point to: found again by name, else created.

An id counts only as long as its entity has our name: a server may be set up anew, or restored from
an older copy, under the same address, and gives our ids to others. Kept ids are looked at before
their first use in a run. Later the newest Datastream is a witness for all: it is asked for after a
failure, and after a silence in which a server could have been set up anew.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from collector.readings.observation import Channel, Observation, Place, PublicNode
from collector.readings.rendering import holds_for_a_period
from collector.sinks._http import HttpClient, common_error, objects, whole_number
from collector.sinks.base import IdStore, NoAnswer

Id: TypeAlias = int | str

PAGES_MAX = 200
FEATURES_MAX = 10_000
SILENCE_S = 10.0
MEASUREMENT = "http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement"
UCUM = "https://ucum.org/ucum#"
DEFINITIONS = "urn:opencities:osn:quantity:"


def literal(text: str) -> str:
    """A string in a $filter."""
    return "'" + text.replace("'", "''") + "'"


def entity_path(collection: str, id: Id) -> str:
    """`/Things(1)` or `/Things('abc')`."""
    return f"/{collection}({id if isinstance(id, int) else literal(id)})"


def entity_id(location: str) -> Id:
    """The id in the parentheses of a Location header. Raises NoAnswer."""
    start, end = location.rfind("("), location.rfind(")")
    text = location[start + 1 : end]
    if start < 0 or end < start or not text or not text.isprintable():
        raise NoAnswer("created, but the answer names no id")
    if text.startswith("'"):
        return text.strip("'").replace("''", "'")
    number = whole_number(text.removeprefix("-"))
    if number is None:
        return text
    return -number if text.startswith("-") else number


def id_of(row: Mapping[str, Any]) -> Id:
    """An entity's id as the server wrote it. Raises NoAnswer."""
    id = row.get("@iot.id")
    if not isinstance(id, int | str) or isinstance(id, bool) or id == "":
        raise NoAnswer("an entity without @iot.id")
    return id


async def pages(
    http: HttpClient, path: str, query: Mapping[str, str]
) -> AsyncIterator[Mapping[str, Any]]:
    """All entities of a collection, however small the server's pages. Raises SinkError."""
    seen = 0
    for _ in range(PAGES_MAX):
        answer = await http.request("GET", path, query={**query, "$skip": str(seen)})
        if answer.status != 200:
            raise common_error(answer)
        document = answer.document()
        rows = objects(document.get("value"))
        for row in rows:
            yield row
        seen += len(rows)
        if not rows or "@iot.nextLink" not in document:
            return
    raise NoAnswer(f"{path} has more than {PAGES_MAX} pages")


class Entities:
    """What this collector owns on one server."""

    def __init__(self, http: HttpClient, ids: IdStore) -> None:
        self._http = http
        self._ids = ids
        self._datastreams: dict[Channel, Id] = {}
        self._shared: dict[str, Id] = {}
        self._features: OrderedDict[Place, Id] = OrderedDict()
        self._witness: Channel | None = None
        self._heard_s = float("-inf")

    async def confirm(self) -> None:
        """Forgets all ids when the server is not the one they came from. Raises SinkError."""
        witness = self._witness
        if witness is None or asyncio.get_running_loop().time() - self._heard_s < SILENCE_S:
            return
        if not await self._is_there(witness):
            self._forget()
        self.heard()

    def heard(self) -> None:
        """Says that the server has just carried out a request."""
        self._heard_s = asyncio.get_running_loop().time()

    def doubt(self) -> None:
        """Says that a request failed: who answers next may be another server."""
        self._heard_s = float("-inf")

    def _forget(self) -> None:
        self._datastreams.clear()
        self._shared.clear()
        self._features.clear()
        self._witness = None

    def _learn(self, channel: Channel, id: Id) -> None:
        """Notes a Datastream; of ids that are numbers the highest is the newest."""
        self._datastreams[channel] = id
        newest = None if self._witness is None else self._datastreams.get(self._witness)
        if not isinstance(newest, int) or not isinstance(id, int) or id > newest:
            self._witness = channel

    async def _is_named(self, collection: str, id: Id, name: str) -> bool:
        """Whether the server has this entity under this name; an id of another form is none."""
        answer = await self._http.request(
            "GET", entity_path(collection, id), query={"$select": "id,name"}
        )
        if answer.status in (400, 404):
            return False
        if answer.status != 200:
            raise common_error(answer)
        document = answer.json()
        return isinstance(document, dict) and document.get("name") == name

    @staticmethod
    def thing_name(node: PublicNode) -> str:
        return f"osn:{node.uuid}"

    def datastream_name(self, channel: Channel) -> str:
        return f"{self.thing_name(channel.node)}/{channel.key}"

    def datastream_id(self, channel: Channel) -> Id:
        return self._datastreams[channel]

    def feature_of(self, observation: Observation) -> Id | None:
        """The FeatureOfInterest of a mobile node's reading; fixed ones follow the Location."""
        if not observation.channel.node.mobile or observation.place is None:
            return None
        return self._features.get(observation.place)

    @staticmethod
    def can_be_placed(observation: Observation) -> bool:
        """An Observation needs a place: the node's, or the reading's own."""
        node = observation.channel.node
        return (observation.place if node.mobile else node.place) is not None

    def plan(self, channels: Sequence[Channel]) -> list[str]:
        """What would be created or found, a line each."""
        lines: list[str] = []
        for node in dict.fromkeys(channel.node for channel in channels):
            kept = self._ids.get(f"Things/{self.thing_name(node)}")
            lines.append(f"Thing {self.thing_name(node)}: {_state(kept)}")
        for channel in channels:
            name = self.datastream_name(channel)
            lines.append(f"Datastream {name}: {_state(self._ids.get(f'Datastreams/{name}'))}")
        return lines

    async def provision(self, channels: Iterable[Channel]) -> None:
        """Finds or creates the Datastreams of these channels. Raises SinkError."""
        by_node: dict[PublicNode, list[Channel]] = {}
        for channel in channels:
            if channel not in self._datastreams:
                by_node.setdefault(channel.node, []).append(channel)
        for node, missing in by_node.items():
            await self._provision_node(node, missing)

    async def forget_missing(
        self, doubtful: Collection[Channel], others: Collection[Channel]
    ) -> set[Channel]:
        """Which of these the server does not have any more under our names; forgets all then.

        `others` are asked for only when one of the doubtful is gone.
        """
        gone = {channel for channel in doubtful if not await self._is_there(channel)}
        if gone:
            rest = set(others) - set(doubtful)
            gone |= {channel for channel in rest if not await self._is_there(channel)}
            self._forget()
        return gone

    async def _is_there(self, channel: Channel) -> bool:
        name = self.datastream_name(channel)
        return await self._is_named("Datastreams", self._datastreams[channel], name)

    async def provide_features(self, readings: Iterable[Observation]) -> None:
        """Creates the FeaturesOfInterest of a mobile node's places."""
        for observation in readings:
            place = observation.place
            if place is None or not observation.channel.node.mobile:
                continue
            if place in self._features:
                self._features.move_to_end(place)
                continue
            name = _place_name(place)
            id = await self._find("FeaturesOfInterest", name)
            if id is None:
                id = await self._create("/FeaturesOfInterest", _feature(place))
            self._features[place] = id
            if len(self._features) > FEATURES_MAX:
                self._features.popitem(last=False)

    async def _provision_node(self, node: PublicNode, channels: Sequence[Channel]) -> None:
        fresh: dict[str, str] = {}
        thing = await self._thing(node, fresh)
        path = f"{entity_path('Things', thing)}/Datastreams"
        there = {
            str(row.get("name")): id_of(row)
            async for row in pages(self._http, path, {"$select": "id,name", "$top": "100"})
        }
        for channel in channels:
            name = self.datastream_name(channel)
            id = there.get(name)
            if id is None:
                id = await self._create_datastream(thing, channel)
            self._learn(channel, id)
            fresh[f"Datastreams/{name}"] = _keep(id)
        await self._ids.put(
            {key: text for key, text in fresh.items() if self._ids.get(key) != text}
        )
        self.heard()

    async def _thing(self, node: PublicNode, fresh: dict[str, str]) -> Id:
        name = self.thing_name(node)
        kept, place = self._ids.get(f"Things/{name}"), self._ids.get(f"Places/{name}")
        id: Id | None = _parse(kept) if kept else None
        if id is None or not await self._is_named("Things", id, name):
            id = await self._find("Things", name)
            place = None
        if id is None:
            id = await self._create("/Things", _thing(name, node))
        elif await self._has_moved(id, node, place):
            await self._create(f"{entity_path('Things', id)}/Locations", _location(node))
        if node.place is not None:
            fresh[f"Places/{name}"] = repr(tuple(node.place))
        fresh[f"Things/{name}"] = _keep(id)
        return id

    async def _has_moved(self, thing: Id, node: PublicNode, place: str | None) -> bool:
        """Whether the Thing needs a new Location; `place` is what was kept of the last one."""
        if node.place is None or place == repr(tuple(node.place)):
            return False
        if place is not None:
            return True
        path = f"{entity_path('Things', thing)}/Locations"
        async for _ in pages(self._http, path, {"$top": "1"}):
            return False
        return True

    async def _create_datastream(self, thing: Id, channel: Channel) -> Id:
        quantity = channel.quantity
        sensor_name = f"osn:{channel.node.board or 'board'}"
        sensor = await self._find_or_create("Sensors", sensor_name, _sensor(sensor_name))
        property_name = f"osn:{quantity.name}"
        observed = await self._find_or_create(
            "ObservedProperties", property_name, _observed(property_name, channel)
        )
        document = {
            "name": self.datastream_name(channel),
            "description": _describe(channel),
            "observationType": MEASUREMENT,
            "unitOfMeasurement": {
                "name": quantity.measure.name,
                "symbol": "Cel" if quantity.unit == "degC" else quantity.unit,
                "definition": UCUM + quantity.measure.ucum,
            },
            "properties": {"channel": channel.key},
            "Sensor": {"@iot.id": sensor},
            "ObservedProperty": {"@iot.id": observed},
        }
        return await self._create(f"{entity_path('Things', thing)}/Datastreams", document)

    async def _find_or_create(self, collection: str, name: str, document: Mapping[str, Any]) -> Id:
        key = f"{collection}/{name}"
        id = self._shared.get(key)
        if id is None:
            id = await self._find(collection, name)
        if id is None:
            id = await self._create(f"/{collection}", document)
        self._shared[key] = id
        return id

    async def _find(self, collection: str, name: str) -> Id | None:
        query = {"$filter": f"name eq {literal(name)}", "$select": "id,name", "$top": "2"}
        async for row in pages(self._http, f"/{collection}", query):
            if row.get("name") != name:
                raise NoAnswer(f"{collection}: a search by name gave another entity")
            return id_of(row)
        return None

    async def _create(self, path: str, document: Mapping[str, Any]) -> Id:
        answer = await self._http.request("POST", path, document=document)
        if answer.status != 201:
            raise common_error(answer)
        return entity_id(answer.headers.get("Location", ""))


def _thing(name: str, node: PublicNode) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": name,
        "description": node.description or node.name,
        "properties": {"uuid": str(node.uuid), "name": node.name, "board": node.board},
    }
    if node.place is not None:
        document["Locations"] = [_location(node)]
    return document


def _location(node: PublicNode) -> dict[str, Any]:
    assert node.place is not None
    return {
        "name": node.name,
        "description": f"Place of {node.name}",
        "encodingType": "application/geo+json",
        "location": _point(node.place),
    }


def _feature(place: Place) -> dict[str, Any]:
    return {
        "name": _place_name(place),
        "description": "Place on a mobile node's way",
        "encodingType": "application/geo+json",
        "feature": _point(place),
    }


def _point(place: Place) -> dict[str, Any]:
    coordinates = [place.longitude, place.latitude]
    if place.elevation_m is not None:
        coordinates.append(place.elevation_m)
    return {"type": "Point", "coordinates": coordinates}


def _place_name(place: Place) -> str:
    height = "" if place.elevation_m is None else f",{place.elevation_m:g}"
    return f"osn:{place.longitude:.6f},{place.latitude:.6f}{height}"


def _sensor(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Open Cities sensor board",
        "encodingType": "text/plain",
        "metadata": f"Open Cities OSN, board type {name.removeprefix('osn:')}",
    }


def _observed(name: str, channel: Channel) -> dict[str, Any]:
    quantity = channel.quantity
    return {
        "name": name,
        "definition": quantity.definition or DEFINITIONS + quantity.name,
        "description": quantity.title,
    }


def _describe(channel: Channel) -> str:
    text = channel.quantity.title
    if channel.instance:
        text += f", sensor {channel.instance}"
    if channel.band is not None:
        text += f", band {channel.band}"
    if channel.formula:
        text += f", corrected by {channel.formula}"
    if holds_for_a_period(channel.quantity):
        text += ", over the interval of phenomenonTime"
    return text


def _state(kept: str | None) -> str:
    return f"known as {kept}" if kept else "to be found or created"


def _keep(id: Id) -> str:
    return f"i{id}" if isinstance(id, int) else f"s{id}"


def _parse(kept: str) -> Id:
    return int(kept[1:]) if kept[0] == "i" else kept[1:]
