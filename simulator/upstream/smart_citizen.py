"""Smart Citizen's HTTP API: always 200, the truth in the body, the work done later.

Only the first item's time is looked at before it says ok; a later item without a time breaks the
whole job unseen. The same sensor and second overwrites.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from simulator.upstream.base import HTTP_FAULTS, Upstream

READINGS_MAX = 14_000
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class SmartCitizen(Upstream):
    """`/v0/devices/ID/readings`; `said_bad` answers 200 with "bad" and stores nothing."""

    name = "smart_citizen"
    faults_known = (*HTTP_FAULTS, "said_bad")

    def __init__(
        self,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        *,
        token: str | None = None,
        devices: frozenset[int] | None = None,
    ) -> None:
        super().__init__(faults, seed)
        self.token = token
        self.devices = devices
        self.broken_jobs = 0
        self.overwritten: Counter[Any] = Counter()

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v0/devices/{id}/readings", self._readings)

    async def _readings(self, request: web.Request) -> web.Response:
        authorization = request.headers.get("Authorization", "")
        if self.token is not None and authorization != f"Bearer {self.token}":
            return web.json_response({"id": "unauthorized"}, status=401)
        device = int(request.match_info["id"])
        if self.devices is not None and device not in self.devices:
            return web.json_response({"id": "record_not_found"}, status=404)
        document = json.loads(await request.read())
        rows = document.get("data")
        if rows is None:
            return web.json_response({"id": "parameter_missing"}, status=400)
        if not rows or not rows[0].get("recorded_at") or self.happens("said_bad"):
            return _said("bad", "Timestamp cannot be empty!")
        if sum(len(row.get("sensors", ())) for row in rows) > READINGS_MAX:
            return web.json_response({"id": "internal"}, status=500)
        self._work(device, rows)
        return _said("ok", "Data successfully sent to queue")

    def _work(self, device: int, rows: list[dict[str, Any]]) -> None:
        """The job that runs after the answer."""
        if not all(_TIME.fullmatch(str(row.get("recorded_at", ""))) for row in rows):
            self.broken_jobs += 1
            return
        for row in rows:
            for sensor in row["sensors"]:
                key = (device, sensor["id"], row["recorded_at"])
                self.overwritten[key] += key in self.stored
                self.stored[key] = 1


def _said(id: str, message: str) -> web.Response:
    return web.json_response({"id": id, "message": message, "url": "", "errors": ""})


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> SmartCitizen:
    """The fake network."""
    return SmartCitizen(faults, seed)
