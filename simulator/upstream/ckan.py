"""CKAN's DataStore as version 2.12 answers: 403 for a wrong token, 409 for a bad record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from simulator.upstream._rules import ISO_Z, lot
from simulator.upstream.base import HTTP_FAULTS, Upstream


class Ckan(Upstream):
    """`/api/3/action`; `bad_record` refuses that share of records with 409, always the same."""

    name = "ckan"
    faults_known = (*HTTP_FAULTS, "bad_record")

    def __init__(
        self,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        *,
        token: str | None = None,
        packages: tuple[str, ...] = ("osn",),
    ) -> None:
        super().__init__(faults, seed)
        self.token = token
        self.packages: dict[str, list[dict[str, Any]]] = {name: [] for name in packages}
        self.tables: dict[str, dict[str, Any]] = {}
        self.overwritten: Counter[Any] = Counter()

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/api/3/action/{action}", self._call)

    async def _call(self, request: web.Request) -> web.Response:
        if self.token is not None and request.headers.get("Authorization") != self.token:
            return _answer(403, {"__type": "Authorization Error"})
        try:
            document = json.loads(await request.read())
        except ValueError:
            return _answer(400, {"__type": "Bad request - JSON Error"})
        action = request.match_info["action"]
        if action == "package_show":
            return self._show(document)
        if action == "datastore_create":
            return self._create(document)
        if action == "datastore_upsert":
            return self._upsert(document)
        return _answer(404, {"__type": "Not Found Error"})

    def _show(self, document: dict[str, Any]) -> web.Response:
        resources = self.packages.get(document["id"])
        if resources is None:
            return _answer(404, {"__type": "Not Found Error"})
        return _answer(200, {"name": document["id"], "resources": resources})

    def _create(self, document: dict[str, Any]) -> web.Response:
        resource = document["resource"]
        resources = self.packages.get(resource["package_id"])
        if resources is None or ("resource_id" in document and "resource" in document):
            return _answer(409, {"__type": "Validation Error"})
        id = f"resource-{len(self.tables) + 1}"
        resources.append({"id": id, "name": resource["name"], "datastore_active": True})
        self.tables[id] = document
        return _answer(200, {"resource_id": id})

    def _upsert(self, document: dict[str, Any]) -> web.Response:
        table = self.tables.get(document["resource_id"])
        if table is None:
            return _answer(404, {"__type": "Not Found Error"})
        columns = {field["id"] for field in table["fields"]}
        keys = []
        for number, record in enumerate(document["records"]):
            key = tuple(record.get(name) for name in table["primary_key"])
            if not columns.issuperset(record) or None in key or not ISO_Z.fullmatch(record["time"]):
                return _invalid(number)
            if lot(str(key)) < self.faults.get("bad_record", 0.0):
                self.refused[key] += 1
                return _invalid(number)
            keys.append(key)
        for key in keys:
            self.overwritten[key] += key in self.stored
            self.stored[key] = 1
        return _answer(200, {"method": "upsert"})


def _invalid(row: int) -> web.Response:
    return _answer(409, {"__type": "Validation Error", "records_row": row})


def _answer(status: int, content: dict[str, Any]) -> web.Response:
    key = "result" if status == 200 else "error"
    return web.json_response({"success": status == 200, key: content}, status=status)


def build(faults: Mapping[str, float] | None = None, seed: int = 0) -> Ckan:
    """The fake network."""
    return Ckan(faults, seed)
