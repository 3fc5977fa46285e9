"""InfluxDB's write APIs: 1.x stores the good lines of a bad request and says "partial write";
2.x refuses a malformed request whole, and a type conflict in part.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from simulator.upstream._rules import lot
from simulator.upstream.base import HTTP_FAULTS, Upstream

_LINE = re.compile(
    r"(?P<key>(?:[^ ,\\]|\\.)+(?:,(?:[^ ,=\\]|\\.)+=(?:[^ ,=\\]|\\.)+)*) "
    r"(?P<field>[A-Za-z0-9_]+)=(?P<value>[^ ]+) (?P<time>\d+)"
)
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


class InfluxDb(Upstream):
    """`/write` and `/api/v2/write`; `bad_point` refuses that share of points, always the same."""

    name = "influxdb"
    faults_known = (*HTTP_FAULTS, "bad_point")

    def __init__(
        self,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        *,
        token: str | None = None,
        databases: tuple[str, ...] = ("osn",),
    ) -> None:
        super().__init__(faults, seed)
        self.token = token
        self.databases = set(databases)
        self.overwritten: Counter[Any] = Counter()

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/write", self._write_1)
        router.add_post("/query", self._query)
        router.add_post("/api/v2/write", self._write_2)

    async def _query(self, request: web.Request) -> web.Response:
        found = re.fullmatch(r'CREATE DATABASE "(.+)"', request.query.get("q", ""))
        if found:
            self.databases.add(found[1])
        return web.json_response({"results": [{}]})

    async def _write_1(self, request: web.Request) -> web.Response:
        if request.query.get("db") not in self.databases:
            return web.json_response({"error": "database not found"}, status=404)
        bad = self._store((await request.read()).decode(), store_good=True)
        if bad:
            return web.json_response(
                {"error": f"partial write: {bad[0]} dropped={len(bad)}"}, status=400
            )
        return web.Response(status=204)

    async def _write_2(self, request: web.Request) -> web.Response:
        authorization = request.headers.get("Authorization")
        if self.token is not None and authorization != f"Token {self.token}":
            return web.json_response({"code": "unauthorized"}, status=401)
        if request.query.get("bucket") not in self.databases:
            return web.json_response({"code": "not found"}, status=404)
        text = (await request.read()).decode()
        if not all(_LINE.fullmatch(line) for line in text.splitlines()):
            return web.json_response({"code": "invalid"}, status=400)
        bad = self._store(text, store_good=True)
        if bad:
            return web.json_response({"code": "unprocessable entity"}, status=422)
        return web.Response(status=204)

    def _store(self, text: str, store_good: bool) -> list[str]:
        """Lines that are refused; the others are kept."""
        bad = []
        for line in text.splitlines():
            parts = _LINE.fullmatch(line)
            if not parts or not _FLOAT.fullmatch(parts["value"]) or self._unlucky(parts):
                bad.append(line[:60])
                if parts:
                    self.refused[parts["key"], parts["field"], parts["time"]] += 1
            elif store_good:
                key = (parts["key"], parts["field"], parts["time"])
                self.overwritten[key] += key in self.stored
                self.stored[key] = 1
        return bad

    def _unlucky(self, parts: re.Match[str]) -> bool:
        key = f"{parts['key']}/{parts['field']}/{parts['time']}"
        return lot(key) < self.faults.get("bad_point", 0.0)


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> InfluxDb:
    """The fake network."""
    return InfluxDb(faults, seed)
