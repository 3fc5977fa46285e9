"""What stands before a network and answers in its place: proxies, portals, wrong addresses.

None of it is about a reading.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PORTAL = "<!DOCTYPE html><html><body><form>Room number: <input name=room></form></body></html>"
TLS_PORT = (
    "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>"
)
DEEP = "[" * 100_000 + "]" * 100_000
OTHER_LIST = '[null, 7, "error \\ud800", {"name": null, "id": [], "error": 5}]'
OTHER_API = """{
    "success": "maybe", "status": "ok", "id": 7, "name": [], "message": "\\ud800",
    "result": [], "value": [null, {}], "sensors": [5, {"title": "PM10"}], "observations": [null],
    "providers": [null, {"sensors": [3]}], "errors": [3, {"error": {"status": "many"}}]
}"""
"""Answers of programs that speak JSON, and not this network's; not all of it is text."""

FRONTS: dict[str, tuple[int, str, str]] = {
    "wrong_path": (404, "text/plain", "404 page not found"),
    "method": (405, "application/json", '{"message": "Method Not Allowed"}'),
    "proxy_login": (407, "text/plain", "Proxy Authentication Required"),
    "too_large": (413, "application/json", '{"message": "Payload Too Large"}'),
    "misdirected": (421, "text/plain", "Misdirected Request"),
    "portal": (200, "text/html", PORTAL),
    "tls_port": (400, "text/html", TLS_PORT),
    "future": (422, "application/json", '{"message": "timestamp is in the future"}'),
    "bad_request": (400, "application/json", '{"message": "bad request"}'),
    "signed_out": (401, "application/json", '{"message": "Unauthorized"}'),
    "moved": (308, "text/plain", ""),
    "nothing": (200, "text/plain", ""),
    "other_api": (200, "application/json", OTHER_API),
    "other_list": (200, "application/json", OTHER_LIST),
    "other_value": (200, "application/json", "NaN"),
    "other_partly": (207, "application/json", OTHER_API),
    "other_api_after": (0, "application/json", OTHER_API),
    "other_list_after": (0, "application/json", OTHER_LIST),
    "deep_json": (200, "application/json", DEEP),
    "deep_json_after": (0, "application/json", DEEP),
}
"""Status, content type and body; status 0: the network does its work, and its answer is replaced
by this body where it has one."""


async def answer_for(front: str, request: web.Request, handler: Handler) -> web.StreamResponse:
    """The answer in the network's place."""
    status, content_type, body = FRONTS[front]
    if status == 0:
        real = await handler(request)
        if not isinstance(real, web.Response) or not real.body:
            return real
        status = real.status
    return web.Response(status=status, content_type=content_type, text=body)
