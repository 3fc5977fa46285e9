"""Sentilo: a catalogue to register in, whole requests accepted or refused, an hourly limit, and a
largest request. A repeated observation is there twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from simulator.upstream._rules import lot
from simulator.upstream.base import HTTP_FAULTS, Upstream

TIME = "%d/%m/%YT%H:%M:%S"
_ID = re.compile(r"[A-Za-z0-9_-]+")
_LOCATION = re.compile(r"-?\d{1,2}\.\d+ -?\d{1,3}\.\d+")


class Sentilo(Upstream):
    """`/data` and `/catalog`; `bad_value` refuses that share of observations with 400, always the
    same ones; `limit` answers 429 with the reset in minutes.
    """

    name = "sentilo"
    faults_known = (*HTTP_FAULTS, "bad_value", "limit")

    def __init__(
        self,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        *,
        token: str | None = None,
        types: frozenset[str] | None = None,
        body_bytes: int = 4096,
    ) -> None:
        super().__init__(faults, seed)
        self.token = token
        self.types = types
        self.body_bytes = body_bytes
        self.sensors: dict[str, dict[str, dict[str, Any]]] = {}

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/catalog/{provider}", self._catalogue)
        router.add_post("/catalog/{provider}", self._register)
        router.add_put("/data/{provider}", self._put)
        router.add_get("/data/{provider}/{sensor}", self._read)

    def _refused(self, request: web.Request) -> web.Response | None:
        if self.token is not None and request.headers.get("IDENTITY_KEY") != self.token:
            return _error(401, "Invalid credential")
        if request.method != "GET" and self.happens("limit"):
            headers = {"X-RateLimit-Inbound-Remaining": "0", "X-RateLimit-Inbound-Reset": "2"}
            return web.Response(status=429, headers=headers)
        return None

    async def _catalogue(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused:
            return refused
        provider = request.match_info["provider"]
        known = self.sensors.get(provider, {})
        rows = list(known.values())
        return web.json_response({"providers": [{"provider": provider, "sensors": rows}]})

    async def _register(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused:
            return refused
        raw = await request.read()
        if len(raw) > self.body_bytes:
            return _error(400, "Request too large")
        known = self.sensors.setdefault(request.match_info["provider"], {})
        for sensor in json.loads(raw)["sensors"]:
            if not _ID.fullmatch(sensor["sensor"]) or sensor["sensor"] in known:
                return _error(400, "Invalid or existing sensor")
            if self.types is not None and sensor["type"] not in self.types:
                return _error(400, "Sensor type not found")
            if "location" in sensor and not _LOCATION.fullmatch(sensor["location"]):
                return _error(400, "Invalid location")
            known[sensor["sensor"]] = sensor
        return web.Response()

    async def _put(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused:
            return refused
        raw = await request.read()
        if len(raw) > self.body_bytes:
            return _error(400, "Request too large")
        provider = request.match_info["provider"]
        rows: list[tuple[str, str]] = []
        for sensor in json.loads(raw)["sensors"]:
            if sensor["sensor"] not in self.sensors.get(provider, {}):
                return _error(400, "Sensor not registered")
            for observation in sensor["observations"]:
                problem = self._problem(sensor["sensor"], observation)
                if problem:
                    self.refused[sensor["sensor"], observation["timestamp"]] += 1
                    return _error(400, problem)
                rows.append((sensor["sensor"], observation["timestamp"]))
        self.stored.update(rows)
        return web.Response()

    def _problem(self, sensor: str, observation: dict[str, Any]) -> str:
        if not isinstance(observation["value"], str):
            return "value is not a text"
        try:
            datetime.strptime(observation["timestamp"], TIME)
        except ValueError:
            return "Invalid timestamp"
        if lot(f"{sensor}/{observation['timestamp']}") < self.faults.get("bad_value", 0.0):
            return "Invalid value"
        return ""

    async def _read(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused:
            return refused
        first, last = (_when(request.query[key]) for key in ("from", "to"))
        limit = int(request.query.get("limit", "1"))
        rows = [
            {"value": "0", "timestamp": at}
            for (sensor, at), copies in self.stored.items()
            for _ in range(copies)
            if sensor == request.match_info["sensor"] and first <= _when(at) <= last
        ]
        return web.json_response({"observations": rows[:limit]})


def _when(text: str) -> datetime:
    return datetime.strptime(text, TIME)


def _error(code: int, message: str) -> web.Response:
    return web.json_response(
        {"code": code, "message": message, "errorDetails": [message]}, status=code
    )


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> Sentilo:
    """The fake network."""
    return Sentilo(faults, seed)
