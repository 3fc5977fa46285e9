"""HTTP as sinks use it: verified, no redirects, bounded, no secret in any message."""

import asyncio
import gzip
import ssl
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from collector.secret import Secret, read_secret
from collector.sinks import _http
from collector.sinks._http import HttpClient, HttpSettings, check_url, common_error, retry_after_s
from collector.sinks.base import (
    AccessDenied,
    Failed,
    NoAnswer,
    NotSent,
    Refused,
    Rejected,
    Retry,
    TimedOut,
    TooLarge,
    Unknown,
)
from collector.structure import KeyFault
from simulator.upstream.base import Upstream

TURNS_TO_ARRIVE = 10


class Odd(Upstream):
    """Answers with what the path says."""

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/status/{status}", self._status)
        router.add_post("/redirect", self._redirect)
        router.add_post("/long", self._long)
        router.add_post("/packed/{coding}", self._packed)
        router.add_post("/page", self._page)
        router.add_post("/deep", self._deep)

    async def _status(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]), text="why not")

    async def _redirect(self, request: web.Request) -> web.Response:
        self.stored[request.headers.get("Authorization"),] += 1
        return web.Response(status=307, headers={"Location": "/status/200"})

    async def _packed(self, request: web.Request) -> web.Response:
        """Gives back what it was sent, under the coding that the path names."""
        assert "gzip" not in request.headers.get("Accept-Encoding", "gzip")
        coding = request.match_info["coding"]
        return web.Response(body=await request.read(), headers={"Content-Encoding": coding})

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome to our hotel", content_type="text/plain")

    async def _deep(self, request: web.Request) -> web.Response:
        return web.Response(text="[" * 200_000, content_type="application/json")

    async def _long(self, request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 2000)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, NoAnswer), (400, Refused), (401, AccessDenied), (403, AccessDenied),
        (404, AccessDenied), (405, AccessDenied), (407, AccessDenied), (413, TooLarge),
        (421, AccessDenied), (429, NotSent), (500, Failed), (502, NoAnswer), (503, NotSent),
        (504, TimedOut),
    ],
)  # fmt: skip
async def test_what_a_status_means(status: int, kind: type[Exception]) -> None:
    async with Odd().serving() as url:
        client = HttpClient(url, HttpSettings(), {})
        answer = await client.request("POST", f"/status/{status}", document={})
        assert type(common_error(answer)) is kind
        await client.close()


async def test_a_redirect_is_not_followed() -> None:
    server = Odd()
    async with server.serving() as url:
        client = HttpClient(url, HttpSettings(), _http.bearer(Secret("hidden")))
        answer = await client.request("POST", "/redirect", document={})
        await client.close()
    error = common_error(answer)
    assert isinstance(error, AccessDenied)
    assert "hidden" not in error.reason
    assert server.requests.total() == 1


async def test_an_answer_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "ANSWER_BYTES_MAX", 1000)
    async with Odd().serving() as url:
        client = HttpClient(url, HttpSettings(), {})
        with pytest.raises(NoAnswer, match="more than"):
            await client.request("POST", "/long", document={})
        await client.close()


TEXT = b'{"id":"ok","message":"' + b"taken " * 100_000 + b'"}'


def raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush()


async def packed(coding: str, body: bytes) -> _http.Answer:
    async with Odd().serving() as url:
        client = HttpClient(url, HttpSettings(), {})
        try:
            return await client.request("POST", f"/packed/{coding}", body=body)
        finally:
            await client.close()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("X-GZIP", gzip.compress(TEXT, mtime=0)),
        ("gzip", gzip.compress(TEXT[:9], mtime=0) + gzip.compress(TEXT[9:], mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("identity", TEXT),
    ],
    ids=["gzip", "old name", "two members", "deflate", "deflate without its head", "as it is"],
)
async def test_what_is_compressed_all_the_same_is_read(coding: str, body: bytes) -> None:
    assert (await packed(coding, body)).body == TEXT


@pytest.mark.parametrize(
    ("coding", "body", "words"),
    [
        ("br", b"\x0b\x02\x80{}\x03", "'br', which was not asked for"),
        ("zstd", b"(\xb5/\xfd\x04\x00\x11", "'zstd'"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "'gzip, gzip'"),
        ("gzip", b"{}", "not compressed as its head says"),
        ("deflate", b"\xff" * 4, "not compressed as its head says"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-9], "ends too early"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:1], "ends too early"),
        ("gzip", gzip.compress(b"", mtime=0) * 100, "more than one"),
        ("deflate", zlib.compress(b"{}") * 2, "more than one"),
    ],
)
async def test_an_answer_whose_body_cannot_be_read_keeps_its_status(
    coding: str, body: bytes, words: str
) -> None:
    answer = await packed(coding, body)
    assert (answer.status, answer.body) == (200, b"")
    assert words in answer.explanation()
    with pytest.raises(NoAnswer, match="status 200 with"):
        answer.json()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_small_answer_does_not_become_a_large_one(
    coding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http, "ANSWER_BYTES_MAX", 1 << 20)
    bomb = b"\0" * (8 << 20)
    body = gzip.compress(bomb, mtime=0) if coding == "gzip" else zlib.compress(bomb)
    assert len(body) < 10_000
    with pytest.raises(NoAnswer, match="more than"):
        await packed(coding, body)


@pytest.fixture
def own_certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that nobody signed, and its key."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


async def test_a_certificate_is_verified_and_an_authority_can_be_named(
    own_certificate: tuple[Path, Path],
) -> None:
    certificate, key = own_certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    runner = web.AppRunner(Odd().app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    stranger = HttpClient(f"https://localhost:{port}", HttpSettings(), {})
    with pytest.raises(AccessDenied, match="certificate"):
        await stranger.request("POST", "/status/200", document={})
    await stranger.close()
    friend = HttpClient(f"https://localhost:{port}", HttpSettings(ca_file=certificate), {})
    assert (await friend.request("POST", "/status/200", document={})).status == 200
    await friend.close()
    await runner.cleanup()


async def test_a_page_for_people_is_no_networks_success() -> None:
    async with Odd().serving() as url:
        client = HttpClient(url, HttpSettings(), {})
        with pytest.raises(NotSent, match="web page"):
            await client.request("POST", "/page", document={})
        await client.close()


async def test_deep_json_is_an_answer_that_nobody_understands() -> None:
    async with Odd().serving() as url:
        client = HttpClient(url, HttpSettings(), {})
        answer = await client.request("POST", "/deep", document={})
        with pytest.raises(NoAnswer, match="not JSON"):
            answer.json()
        await client.close()


def test_addresses() -> None:
    check_url("https://example.org/v1.1", HttpSettings())
    check_url("http://127.0.0.1:8080", HttpSettings())
    check_url("http://example.org", HttpSettings(plain=True))
    for url in (
        "http://example.org", "ftp://example.org", "https://user:pw@example.org", "example.org",
        "https://example.org?token=x",
    ):  # fmt: skip
        with pytest.raises(KeyFault) as fault:
            check_url(url, HttpSettings())
        assert "pw" not in str(fault.value)


def test_retry_after_as_seconds_and_as_a_date() -> None:
    assert retry_after_s({"Retry-After": "120"}) == 120
    assert retry_after_s({"Retry-After": "Mon, 02 Feb 2026 02:40:30 GMT"}, 1_770_000_000) == 30
    assert retry_after_s({"Retry-After": "soon"}) is None
    assert retry_after_s({}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("-5", None), ("1e9", None), ("inf", None), ("\u00b2", None), ("\u0663", None),
        ("9" * 400, None),
        ("Mon, 02 Feb 99999 02:40:30 GMT", None), ("Mon, 02 Feb 2026 02:40:30 -0000", 30),
        ("Sun, 01 Feb 2026 02:40:30 GMT", 0), (" 7 ", 7),
    ],
)  # fmt: skip
def test_a_retry_after_that_is_none(text: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": text}, 1_770_000_000) == seconds


async def test_an_answer_that_comes_unasked_is_not_the_next_requests() -> None:
    answers = [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"]
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answers.pop(0))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = HttpClient(f"http://127.0.0.1:{port}", HttpSettings(), {})
    assert (await client.request("POST", "/", body=b"")).status == 204
    connections[0].write(b"HTTP/1.1 204 No Content\r\n\r\n")
    for _ in range(TURNS_TO_ARRIVE):
        await asyncio.sleep(0)
    assert (await client.request("POST", "/", body=b"")).status == 403
    await client.close()
    server.close()
    assert len(connections) == 2


@pytest.mark.parametrize(
    "text", ["a \ud800 word", "\x1b[2J\x1b]0;title\x07", "one\ntwo\u2028three\0"]
)
@pytest.mark.parametrize("kind", [Refused, NotSent, NoAnswer, Rejected, Retry, Unknown])
def test_a_networks_words_are_one_line_that_a_terminal_and_a_database_can_bear(
    kind: Callable[[str], Any], text: str
) -> None:
    reason = kind(text).reason
    assert reason.isprintable()
    assert len(reason) == len(text)
    assert len(kind("x" * 1000).reason) == 200


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        ('{"a":1}'.encode("utf-16"), {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"id":"\\ud800"}', {"id": "?"}),
        (b'{"id":"\\ud83d\\ude00"}', {"id": "\U0001f600"}),
    ],
    ids=["byte order mark", "UTF-16", "a key twice", "half a character", "a whole one"],
)
def test_json_as_servers_write_it(body: bytes, found: object) -> None:
    assert _http.Answer(200, {}, body).document() == found


@pytest.mark.parametrize(
    "body", [b"", b"null", b"NaN", b"[]", b'"ok"', b"{", b"9" * 5000, b'{"a":1}{"a":1}']
)
def test_json_that_is_no_object_is_an_answer_that_nobody_understands(body: bytes) -> None:
    with pytest.raises(NoAnswer, match="status 200 with"):
        _http.Answer(200, {}, body).document()


def test_a_secret_never_shows(tmp_path: Path) -> None:
    secret = Secret("hidden")
    for text in (repr(secret), str(secret), f"{secret}", repr([secret]), repr({"a": secret})):
        assert "hidden" not in text
    with pytest.raises(TypeError):
        __import__("pickle").dumps(secret)
    (tmp_path / "token").write_text("from-file\nmore\n")
    assert read_secret({"file": "token"}, folder=tmp_path).reveal() == "from-file"
    assert read_secret({"env": "T"}, {"T": "from-env"}).reveal() == "from-env"
    for wrong in ("", {"env": "NONE"}, {"file": "none"}, 7, {"other": "x"}):
        with pytest.raises(ValueError, match=r"secret|give|not set|none"):
            read_secret(wrong, {}, tmp_path)
