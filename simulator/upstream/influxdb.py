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
    r"(?P<fields>(?:[^ \"\\]|\\.|\"(?:[^\"\\]|\\.)*\")+)(?: (?P<time>\d+))?"
)
_FIELD = re.compile(r"([A-Za-z0-9_]+)=(\"(?:[^\"\\]|\\.)*\"|[^,\"]+)(?:,|$)")
_TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"")
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


class InfluxDb(Upstream):
    """`/write` and `/api/v2/write`; `bad_point` refuses that share of points, always the same.

    A point is named by its tags and time: other tags make another one. `texts` has the text fields.
    """

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
        self.texts: dict[tuple[str, str, str | None], str] = {}

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
            fields = dict(_FIELD.findall(parts["fields"])) if parts else {}
            texts = {field for field, value in fields.items() if _TEXT.fullmatch(value)}
            numbers = fields.keys() - texts
            keys = [(parts["key"], field, parts["time"]) for field in numbers] if parts else []
            wrong = not all(_FLOAT.fullmatch(fields[field]) for field in numbers)
            if not parts or not fields or wrong or any(map(self._unlucky, keys)):
                bad.append(line[:60])
                self.refused.update(keys)
            elif store_good:
                for key in keys:
                    self.overwritten[key] += key in self.stored
                    self.stored[key] = 1
                for field in texts:
                    self.texts[parts["key"], field, parts["time"]] = fields[field]
        return bad

    def _unlucky(self, key: tuple[str, str, str | None]) -> bool:
        return lot("/".join(map(str, key))) < self.faults.get("bad_point", 0.0)


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> InfluxDb:
    """The fake network."""
    return InfluxDb(faults, seed)
