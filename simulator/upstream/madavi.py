"""Madavi's RRD server: takes a whole board's values, prefixes and all, and stamps them itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from simulator.upstream.base import Upstream

_NAME = re.compile(r"[A-Z0-9]+_[A-Za-z0-9_]+")


class Madavi(Upstream):
    """`/data.php`."""

    name = "madavi"

    def __init__(self, faults: Mapping[str, float] | None = None, seed: int = 0) -> None:
        super().__init__(faults, seed)
        self.bodies: list[tuple[str, dict[str, Any]]] = []

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/data.php", self._data)

    async def _data(self, request: web.Request) -> web.Response:
        uid = request.headers.get("X-Sensor", "")
        document = json.loads(await request.read())
        rows = document.get("sensordatavalues")
        if not uid or "X-Pin" in request.headers or not rows:
            return web.Response(status=400, text="not ok")
        if not all(_NAME.fullmatch(row["value_type"]) for row in rows):
            return web.Response(status=400, text="no prefix")
        for row in rows:
            self.stored[uid, row["value_type"], len(self.bodies)] += 1
            self.arrivals[uid, row["value_type"]] += 1
        self.bodies.append((uid, document))
        return web.Response(text="ok")


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> Madavi:
    """The fake network."""
    return Madavi(faults, seed)
