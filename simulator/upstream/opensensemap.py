"""openSenseMap's two servers: the old one refuses a request for one bad item and stores a resend
twice; the new one (`newer`) answers 500 for unknown boxes and sensors and ignores what it has.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from simulator.upstream._rules import ISO_Z, lot
from simulator.upstream.base import HTTP_FAULTS, Upstream

MEASUREMENTS_MAX = 2500
READ_MAX = 10_000


class OpenSenseMap(Upstream):
    """`/boxes/...`; `bad_value` refuses that share of measurements, the same ones each time."""

    name = "opensensemap"
    faults_known = (*HTTP_FAULTS, "bad_value")

    def __init__(
        self, faults: Mapping[str, float] | None = None, seed: int = 0, *, newer: bool = False
    ) -> None:
        super().__init__(faults, seed)
        self.newer = newer
        self.boxes: dict[str, dict[str, Any]] = {}
        self.latest: dict[str, str] = {}
        self.now_s = time.time

    def add_box(self, id: str, token: str | None, sensors: Mapping[str, tuple[str, str]]) -> None:
        """A box with sensors: id to (title, unit)."""
        self.boxes[id] = {
            "_id": id,
            "token": token,
            "sensors": [
                {"_id": sensor, "title": title, "unit": unit, "sensorType": "OSN"}
                for sensor, (title, unit) in sensors.items()
            ],
        }

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/boxes/{box}", self._box)
        router.add_post("/boxes/{box}/data", self._post)
        router.add_get("/boxes/{box}/data/{sensor}", self._read)

    async def _box(self, request: web.Request) -> web.Response:
        box = self.boxes.get(request.match_info["box"])
        if box is None:
            return self._no_box()
        return web.json_response({key: value for key, value in box.items() if key != "token"})

    async def _post(self, request: web.Request) -> web.Response:
        box = self.boxes.get(request.match_info["box"])
        if box is None:
            return self._no_box()
        if box["token"] and request.headers.get("Authorization") != box["token"]:
            return _message(401, "Box access token not valid!")
        if request.content_type != "application/json":
            return _message(500 if self.newer else 415, "Unsupported content-type.")
        try:
            rows = json.loads(await request.read())
        except ValueError:
            return _message(422, "Invalid JSON")
        if not isinstance(rows, list) or not 0 < len(rows) <= MEASUREMENTS_MAX:
            return _message(422, "wrong number of measurements")
        for row in rows:
            refusal = self._refusal(box, row)
            if refusal:
                self.refused[row.get("sensor"), row.get("createdAt")] += 1
                return _message(*refusal)
        self._store(rows)
        return web.Response(status=201, text="Measurements saved in box")

    def _store(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            key = (row["sensor"], row["createdAt"])
            if not (self.newer and key in self.stored):
                self.stored[key] += 1
            newest = self.latest.get(row["sensor"], "")
            if self.newer or row["createdAt"] > newest:
                self.latest[row["sensor"]] = row["createdAt"]

    def _refusal(self, box: dict[str, Any], row: dict[str, Any]) -> tuple[int, str] | None:
        created = row.get("createdAt")
        if not isinstance(created, str) or not ISO_Z.fullmatch(created):
            return (500 if self.newer else 422), "Invalid timestamp"
        ahead_s = 30 if self.newer else 60
        limit = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.now_s() + ahead_s))
        if created[:19] > limit:
            return (500 if self.newer else 422), "timestamp is in the future"
        try:
            number = float(row["value"])
        except (KeyError, TypeError, ValueError):
            return 422, "Invalid value"
        if number != number:
            return 422, "Invalid value"
        if lot(f"{row['sensor']}/{created}") < self.faults.get("bad_value", 0.0):
            return 422, "Invalid value"
        if row.get("sensor") not in {sensor["_id"] for sensor in box["sensors"]}:
            return (500 if self.newer else 400), "Sensor not found in box"
        return None

    async def _read(self, request: web.Request) -> web.Response:
        if request.match_info["box"] not in self.boxes:
            return self._no_box()
        sensor = request.match_info["sensor"]
        first, last = request.query["from-date"], request.query["to-date"]
        rows = [
            {"createdAt": created, "value": "0"}
            for (owner, created), copies in self.stored.items()
            for _ in range(copies)
            if owner == sensor and first <= created <= last
        ]
        return web.json_response(rows[:READ_MAX])

    def _no_box(self) -> web.Response:
        return _message(500 if self.newer else 404, "No senseBox found")


def _message(status: int, text: str) -> web.Response:
    return web.json_response({"code": str(status), "message": text}, status=status)


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> OpenSenseMap:
    """The fake network, the older server, with one box to try."""
    upstream = OpenSenseMap(faults, seed)
    upstream.add_box(
        "5c21ff8f919bf8001adf2488",
        None,
        {
            "5c21ff8f919bf8001adf2489": ("PM10", "µg/m³"),
            "5c21ff8f919bf8001adf248a": ("PM2.5", "µg/m³"),
        },
    )
    return upstream
