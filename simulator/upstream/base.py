"""What fake networks have in common: faults by chance, and a count of what they hold."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import web

from simulator.upstream.front import answer_for

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HTTP_FAULTS = (
    "busy",
    "unavailable",
    "error",
    "gateway",
    "drop_before",
    "drop_after",
    "slow",
    "compressed",
)
"""Answers 429 and 503 with Retry-After, 500, 502 after storing; a connection cut before and after
the request was carried out; an answer that takes a while; one that is compressed unasked."""

SLOW_S = 0.2
BODY_BYTES_MAX = 64 << 20


class Upstream:
    """A fake network over HTTP. Subclasses add routes and note what they hold in `stored`.

    `faults` gives each fault's share of requests (0 to 1); faults beyond HTTP_FAULTS are the
    subclass's own. Only requests of `faulty_methods` fail. Whoever accepts gzip gets it, as from
    servers behind a usual proxy.
    """

    name = ""
    faults_known: tuple[str, ...] = HTTP_FAULTS
    faulty_methods: frozenset[str] = frozenset({"POST", "PUT", "PATCH"})

    def __init__(self, faults: Mapping[str, float] | None = None, seed: int = 0) -> None:
        self.faults = dict(faults or {})
        unknown = set(self.faults) - set(self.faults_known)
        if unknown:
            known = ", ".join(self.faults_known)
            raise ValueError(f"unknown fault {', '.join(sorted(unknown))}; known are: {known}")
        self.chance = random.Random(seed)
        self.stored: Counter[tuple[Any, ...]] = Counter()
        self.refused: Counter[tuple[Any, ...]] = Counter()
        self.requests: Counter[str] = Counter()
        self.arrivals: Counter[tuple[str, str]] = Counter()
        """Values by node and name, where a network dates them by their arrival."""
        self.faults_made: Counter[str] = Counter()
        self.front: str | None = None
        """What stands before the network and answers for it: a name out of front.FRONTS."""

    def serving(self, host: str = "127.0.0.1", port: int = 0) -> AbstractAsyncContextManager[str]:
        """Serves on a free port, or the one given, and gives the address."""
        return Serving(self, host, port)

    def app(self) -> web.Application:
        """The application to serve."""
        app = web.Application(middlewares=[self._troubles], client_max_size=BODY_BYTES_MAX)
        self.routes(app.router)
        return app

    def routes(self, router: web.UrlDispatcher) -> None:
        """Adds the network's paths."""
        raise LookupError(f"{type(self).__name__} has no routes")

    def happens(self, fault: str) -> bool:
        """Whether this fault strikes now."""
        share = self.faults.get(fault, 0.0)
        if share and self.chance.random() < share:
            self.faults_made[fault] += 1
            return True
        return False

    @web.middleware
    async def _troubles(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests[request.method] += 1
        answer = await self._troubled(request, handler)
        asked = "gzip" in request.headers.get("Accept-Encoding", "")
        if (asked or self.happens("compressed")) and isinstance(answer, web.Response):
            answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async def _troubled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.front is not None:
            self.faults_made[self.front] += 1
            return await answer_for(self.front, request, handler)
        if request.method not in self.faulty_methods:
            return await handler(request)
        if self.happens("busy"):
            return web.Response(status=429, headers={"Retry-After": "1"})
        if self.happens("unavailable"):
            return web.Response(status=503, headers={"Retry-After": "1"})
        if self.happens("error"):
            return web.json_response({"message": "Internal error."}, status=500)
        if self.happens("drop_before"):
            return _cut(request)
        answer = await handler(request)
        if self.happens("drop_after"):
            return _cut(request)
        if self.happens("gateway"):
            return web.Response(status=502, text="Bad Gateway")
        if self.happens("slow"):
            await asyncio.sleep(SLOW_S)
        return answer


def _cut(request: web.Request) -> web.Response:
    """Closes the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


class Serving:
    """A fake network on a free port of this machine: `async with Serving(upstream) as url`."""

    def __init__(self, upstream: Upstream, host: str = "127.0.0.1", port: int = 0) -> None:
        self._upstream = upstream
        self._address = host, port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> str:
        self._runner = web.AppRunner(self._upstream.app(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, *self._address)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def __aexit__(self, *_: object) -> None:
        if self._runner:
            await self._runner.cleanup()
