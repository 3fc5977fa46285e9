"""sensor.community's published server: strict names, one sensor a request, no memory of duplicates.

`strict` knows the published names only; otherwise also those that today's firmware sends. Any node
and pin is registered unless `nodes` lists those that are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from aiohttp import web

from simulator.upstream._rules import lot
from simulator.upstream.base import HTTP_FAULTS, Upstream

PUBLISHED = frozenset(
    (
        "P0", "P1", "P2", "N05", "N1", "N25", "N4", "N10", "TS", "temperature", "humidity",
        "pressure", "noise_Leq", "noise_LA_min", "noise_LA_max", "noise_L01", "noise_L95",
    )
)  # fmt: skip
NEWER = frozenset(("P4", "co2_ppm", "noise_LAeq"))
PINS = frozenset(("1", "3", "5", "7", "9", "11", "13", "15", "17"))
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_UID = re.compile(r"[a-z0-9]+-[A-Za-z0-9]+")


class SensorCommunity(Upstream):
    """`/v1/push-sensor-data/`; `bad_value` refuses that share of values, always the same."""

    name = "sensor_community"
    faults_known = (*HTTP_FAULTS, "bad_value")

    def __init__(
        self,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        *,
        strict: bool = False,
        nodes: Collection[str] | None = None,
    ) -> None:
        super().__init__(faults, seed)
        self.names = PUBLISHED if strict else PUBLISHED | NEWER
        self.nodes = nodes
        self.bodies: list[dict[str, Any]] = []

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/push-sensor-data/", self._push)
        router.add_post("/v1/push-sensor-data", self._without_slash)

    async def _without_slash(self, request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": str(request.url) + "/"})

    async def _push(self, request: web.Request) -> web.Response:
        headers = request.headers
        uid = headers.get("X-Sensor") or headers.get("Sensor") or headers.get("Node")
        pin = headers.get("X-Pin") or headers.get("Pin") or "-"
        if request.content_type != "application/json":
            return _detail(415, "Unsupported media type")
        if not uid:
            return _detail(403, "Authentication credentials were not provided.")
        if not _UID.fullmatch(uid) or (self.nodes is not None and uid not in self.nodes):
            return _detail(403, "Node not found in database.")
        try:
            document = json.loads(await request.read())
        except ValueError:
            return _detail(400, "JSON parse error")
        if pin not in PINS:
            return _detail(400, "sensor could not be selected.")
        problem = self._problem(uid, document)
        if problem:
            return _detail(400, problem)
        names = [row["value_type"] for row in document["sensordatavalues"]]
        if len(set(names)) < len(names):
            return _detail(500, "IntegrityError")
        for row in document["sensordatavalues"]:
            self.stored[uid, row["value_type"], document.get("timestamp"), row["value"]] += 1
            self.arrivals[uid, row["value_type"]] += "timestamp" not in document
        self.bodies.append(document)
        return web.json_response({"id": len(self.bodies), **document}, status=201)

    def _problem(self, uid: str, document: Any) -> str:
        if not isinstance(document, dict):
            return "Invalid data. Expected a dictionary, but got list."
        if len(str(document.get("software_version", ""))) > 100:
            return "Ensure this field has no more than 100 characters."
        timestamp = document.get("timestamp")
        if timestamp is not None and not _TIMESTAMP.fullmatch(str(timestamp)):
            return "Datetime has wrong format."
        rows = document.get("sensordatavalues")
        if not isinstance(rows, list) or not rows:
            return "sensordatavalues was empty"
        for row in rows:
            name, value = row.get("value_type"), row.get("value")
            if name not in self.names:
                return f'"{name}" is not a valid choice.'
            if value is None or isinstance(value, bool):
                return "Not a valid string."
            if lot(f"{uid}/{name}/{timestamp}/{value}") < self.faults.get("bad_value", 0.0):
                self.refused[uid, name, timestamp, value] += 1
                return "Ensure this value is right."
        return ""


def _detail(status: int, text: str) -> web.Response:
    return web.json_response({"detail": text}, status=status)


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> SensorCommunity:
    """The fake network."""
    return SensorCommunity(faults, seed)
