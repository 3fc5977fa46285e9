"""No secret shows: not in what a sink raises or logs, though its server quotes the request."""

import asyncio
import base64
import dataclasses
import logging
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from collector.config import parse
from collector.secret import Secret
from collector.sinks import build_sink, kinds
from collector.sinks.base import MemoryIds, Sink, SinkError

PAGES = Path(__file__).parents[3] / "docs/sinks"
SECRET = "hush-4711-qqjx"
SECRETS = (SECRET, base64.b64encode(f"osn:{SECRET}".encode()).decode())
BOX = {"sensors": [{"_id": "a" * 24, "title": "PM10", "unit": "µg/m³"}]}


def entries(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations of a network's page, every secret of them SECRET."""
    text = (PAGES / f"{kind}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    found = []
    for block in (block for block in blocks if "[[sink]]" in block):
        for name in re.findall(r'file = "([a-z-]+)" }', block):
            (folder / name).write_text(SECRET)
        for name in re.findall(r'env = "(\w+)"', block):
            monkeypatch.setenv(name, SECRET)
        config = parse(tomllib.loads(block), folder / "collector.toml", block)
        found += list(config.sinks)
    return found


def has_secret(value: Any) -> bool:
    if isinstance(value, Secret):
        return value.reveal() == SECRET
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return any(has_secret(getattr(value, field.name)) for field in dataclasses.fields(value))
    return isinstance(value, dict) and any(map(has_secret, value.values()))


def pointed_at(config: Any, url: str, node: str) -> Any:
    """The configuration with its network on this machine, and its nodes' entries our node's."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "url" and value:
            changes["url"] = url + urlsplit(value).path
        elif field.name == "user" and value:
            changes["user"] = "osn"
        elif field.name in ("boxes", "devices", "uids") and value:
            changes[field.name] = {node: next(iter(value.values()))}
    return dataclasses.replace(config, **changes)


async def said(sink: Sink, batch: Any) -> list[str]:
    """What the sink raises, and answers, when its server quotes every request in its refusal."""
    said: list[str] = []
    for step in (
        lambda: sink.prepare([batch[0].channel.node]),
        lambda: sink.provision([batch[0].channel]),
        lambda: sink.send(batch),
        lambda: sink.read_back(batch),
    ):
        try:
            said.append(repr(await step()))
        except SinkError as error:
            said += [repr(error), str(error), repr(error.__cause__), repr(error.__context__)]
    await sink.close()
    return said


@pytest.mark.parametrize("status", [400, 401, 500])
@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind != "jsonl"])
def test_a_server_that_quotes_the_request_leaks_nothing(
    kind: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reading: Any,
) -> None:
    caplog.set_level(logging.DEBUG)
    batch = [reading("pm10", 12.0), reading("laeq", 55.0)]
    quoted: list[str] = []

    async def quote(request: web.Request) -> web.Response:
        credentials = [v for v in request.headers.values() if any(s in v for s in SECRETS)]
        quoted.extend(credentials)
        if kind == "opensensemap" and request.method == "GET":
            return web.json_response(BOX)
        return web.Response(status=status, text=f"refused {credentials}")

    async def story(config: Any) -> list[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", quote)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            sink = build_sink(
                kind, kind, pointed_at(config, url, batch[0].channel.node.hex), MemoryIds()
            )
            return await said(sink, batch)
        finally:
            await runner.cleanup()

    for entry in entries(kind, tmp_path, monkeypatch):
        config = entry.config
        assert SECRET not in repr(entry)
        if getattr(config, "url", None):
            shown = " ".join(asyncio.run(story(config))) + caplog.text
            assert not any(secret in shown for secret in SECRETS)
            if has_secret(config):
                assert quoted, f"{kind} sends its secret"
