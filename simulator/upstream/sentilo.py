"""Sentilo: a catalogue to register in, an hourly limit, and a largest request.

The catalogue and the platform that takes observations are two programs: a sensor that was just
registered is unknown to the second for up to `known_after_s`. A request is worked on sensor by
sensor, so one that ends in 404 is stored up to the unknown sensor. A repeated observation is there
twice.
"""

from __future__ import annotations

import asyncio
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
        known_after_s: float = 30.0,
        providers: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(faults, seed)
        self.known_after_s = known_after_s
        self.providers = providers
        self._known_at_s: dict[tuple[str, str], float] = {}
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
        if self.providers is not None and provider not in self.providers:
            return _error(404, "The provider does not exist")
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
            key = request.match_info["provider"], sensor["sensor"]
            self._known_at_s[key] = _now_s() + self.known_after_s
        return web.Response()

    async def _put(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused:
            return refused
        raw = await request.read()
        if len(raw) > self.body_bytes:
            return _error(400, "Request too large")
        provider = request.match_info["provider"]
        sensors = json.loads(raw)["sensors"]
        for sensor in sensors:
            for observation in sensor["observations"]:
                problem = self._problem(sensor["sensor"], observation)
                if problem:
                    self.refused[sensor["sensor"], observation["timestamp"]] += 1
                    return _error(400, problem)
        for sensor in sensors:
            if not self._is_known(provider, sensor["sensor"]):
                return _error(404, f"The sensor {provider}.{sensor['sensor']} does not exist")
            self.stored.update((sensor["sensor"], o["timestamp"]) for o in sensor["observations"])
        return web.Response()

    def learn(self) -> None:
        """Makes the platform know all sensors of the catalogue now."""
        self._known_at_s.clear()

    def _is_known(self, provider: str, sensor: str) -> bool:
        """Whether the platform has heard of the sensor by now."""
        at_s = self._known_at_s.get((provider, sensor))
        registered = sensor in self.sensors.get(provider, {})
        return registered and (at_s is None or at_s <= _now_s())

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
        if not self._is_known(request.match_info["provider"], request.match_info["sensor"]):
            return _error(404, "The sensor does not exist")
        first, last = (_when(request.query[key]) for key in ("from", "to"))
        limit = int(request.query.get("limit", "1"))
        rows = [
            {"value": "0", "timestamp": at}
            for (sensor, at), copies in self.stored.items()
            for _ in range(copies)
            if sensor == request.match_info["sensor"] and first <= _when(at) <= last
        ]
        return web.json_response({"observations": rows[:limit]})


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _when(text: str) -> datetime:
    return datetime.strptime(text, TIME)


def _error(code: int, message: str) -> web.Response:
    return web.json_response(
        {"code": code, "message": message, "errorDetails": [message]}, status=code
    )


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> Sentilo:
    """The fake network."""
    return Sentilo(faults, seed)
