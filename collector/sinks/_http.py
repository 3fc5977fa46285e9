"""One HTTP connection for a sink: verified, bounded, and clear about what may have arrived.

Redirects are never followed, for they would carry credentials elsewhere. An answer is read up to a
limit, which holds for what a compressed one becomes, too. Errors become the sinks' outcomes:
NotSent when nothing can have arrived, NoAnswer when it may have. A web page is no network's answer:
it comes from a portal, a proxy, or a wrong address.
"""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import aiohttp
from aiohttp.connector import Connection

from collector.secret import Secret
from collector.settings import is_local
from collector.sinks._compression import CannotDecompress, Decompressor
from collector.sinks.base import (
    AccessDenied,
    Failed,
    NoAnswer,
    NotSent,
    Refused,
    SinkError,
    TimedOut,
    TooLarge,
)
from collector.structure import KeyFault, Range

ANSWER_BYTES_MAX = 32 << 20
JSON_BYTES_MAX = 8 << 20
ABOUT_THE_ADDRESS = frozenset((401, 402, 403, 404, 405, 407, 410, 421, 426, 451, 511))
A_PAGE = "a web page answered, not the network (a portal, or a wrong url)"
EXPLANATION_CHARACTERS = 120
DIGITS_MAX = 18
EXPLAINING_BYTES = 1 << 16
CREDENTIAL_HEADERS = frozenset({"authorization", "identity_key"})
USER_AGENT = "opencities-osn"

_PAGE = re.compile(rb"\s*(?:<!doctype\s+html|<html|<head|<body)", re.IGNORECASE)

Method = Literal["GET", "POST", "PUT", "PATCH"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """[sink.http]: how the network is reached."""

    timeout_s: Annotated[float, Range(1, 600)] = 30.0
    ca_file: Path | None = None
    plain: bool = False
    """Lets credentials and readings go to another machine without TLS."""


HTTP_DEFAULTS = HttpSettings()


def check_url(url: str, http: HttpSettings, key: str = "url") -> None:
    """KeyFault unless the address is http(s), holds no credentials, and is safe to use."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise KeyFault(key, "must begin with https:// (or http:// on this machine)")
    if parts.username or parts.password:
        raise KeyFault(key, "must not hold a user or password; give them as keys of their own")
    if parts.query or parts.fragment:
        raise KeyFault(key, "must not hold ? or #")
    if parts.scheme == "http" and not is_local(parts.hostname) and not http.plain:
        raise KeyFault(
            key,
            f"{parts.hostname} is not this machine: use https://, or http.plain = true to send "
            "everything readable by anybody on the way",
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    hidden: tuple[str, ...] = ()
    """Credentials of the request, which some servers quote in their explanations."""
    unreadable: str = ""
    """Why the body could not be read although the status could."""

    def json(self) -> Any:
        """The body as JSON; NoAnswer when it is none, for then nobody knows what was done."""
        if self.unreadable:
            raise NoAnswer(f"status {self.status} with {self.unreadable}")
        if len(self.body) > JSON_BYTES_MAX:
            raise NoAnswer(f"status {self.status} with more than {JSON_BYTES_MAX} bytes of JSON")
        try:
            found = json.loads(self.body)
            if b"\\ud" in self.body.lower():
                found = json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))
            return found
        except (ValueError, RecursionError):
            raise NoAnswer(f"status {self.status} with a body that is not JSON") from None

    def document(self) -> Mapping[str, Any]:
        """The body as a JSON object; NoAnswer when it is none."""
        found = self.json()
        if not isinstance(found, dict):
            raise NoAnswer(f"status {self.status} with JSON of another form")
        return found

    @property
    def is_page(self) -> bool:
        """Whether this is for people to read in a browser."""
        return "html" in self.headers.get("Content-Type", "").lower() or bool(
            _PAGE.match(self.body)
        )

    def explanation(self) -> str:
        """The beginning of the body on one line, for reasons."""
        if self.unreadable:
            return self.unreadable
        text = self.body[:EXPLAINING_BYTES].decode(errors="replace")
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:EXPLANATION_CHARACTERS]


class _Connector(aiohttp.TCPConnector):
    """Connections on which nothing waits to be read.

    What a server sent after its answer would be taken for the answer to the next request.
    """

    async def connect(self, *asked: Any, **named: Any) -> Connection:
        while True:
            connection = await super().connect(*asked, **named)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


class HttpClient:
    """Requests to one origin."""

    def __init__(self, base_url: str, http: HttpSettings, headers: Mapping[str, str]) -> None:
        self._base = base_url.rstrip("/")
        self._settings = http
        self._headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: Method,
        path: str,
        *,
        document: Any = None,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends one request and reads the whole answer. Raises NotSent, NoAnswer, AccessDenied."""
        if document is not None:
            body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        if body is None:
            del sent["Content-Type"]
        data: bytes | AsyncIterator[bytes] | None = body
        if body is not None and method == "PUT":
            data = _once(body)
            sent["Content-Length"] = str(len(body))
        session = self._open()
        try:
            async with session.request(
                method,
                self._base + path,
                data=data,
                params=query,
                headers=sent,
                allow_redirects=False,
            ) as response:
                hidden = _credentials({**self._headers, **sent})
                try:
                    content, unreadable = await _bounded(response), ""
                except CannotDecompress as fault:
                    response.close()
                    content, unreadable = b"", str(fault)
                answer = Answer(response.status, response.headers, content, hidden, unreadable)
        except aiohttp.ClientConnectorCertificateError as error:
            raise AccessDenied(f"certificate: {_plain(error)}") from None
        except aiohttp.ClientConnectorError as error:
            raise NotSent(f"cannot connect: {_plain(error)}") from None
        except aiohttp.ConnectionTimeoutError:
            raise NotSent("cannot connect: timed out") from None
        except TimeoutError:
            raise TimedOut(f"no answer within {self._settings.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer(f"no answer: {type(error).__name__}") from None
        if 200 <= answer.status < 300 and answer.is_page:
            raise NotSent(f"{A_PAGE}: {answer.explanation()}")
        return answer

    async def close(self) -> None:
        """Closes the connection; the next request opens another."""
        session, self._session = self._session, None
        if session:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            try:
                context = ssl.create_default_context(cafile=self._settings.ca_file)
            except OSError as error:
                raise AccessDenied(f"ca_file {self._settings.ca_file}: {error.strerror}") from None
            connect_s = min(10.0, self._settings.timeout_s)
            self._session = aiohttp.ClientSession(
                connector=_Connector(ssl=context, limit=2),
                timeout=aiohttp.ClientTimeout(
                    total=self._settings.timeout_s, sock_connect=connect_s
                ),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def common_error(answer: Answer) -> SinkError:
    """What a status means for networks that store all of a request or nothing.

    502 and 504 come from a proxy that does not know what the server did. What is about the address,
    the method or who we are is about no reading.
    """
    status, why = answer.status, answer.explanation()
    reason = f"status {status}: {why}" if why else f"status {status}"
    if status in (301, 302, 303, 307, 308):
        return AccessDenied(f"redirected (status {status}): give the final address as url")
    if status in ABOUT_THE_ADDRESS:
        return AccessDenied(reason)
    if status == 413:
        return TooLarge(reason)
    if status in (408, 425, 429, 503):
        return NotSent(reason, retry_after_s(answer.headers))
    if status == 504:
        return TimedOut(reason)
    if status == 502:
        return NoAnswer(reason)
    if status >= 500:
        return Failed(reason, retry_after_s(answer.headers))
    if answer.is_page:
        return NotSent(f"{A_PAGE}: {reason}")
    if status < 400:
        return NoAnswer(f"not this network's success: {reason}")
    return Refused(reason)


def objects(value: Any) -> list[Mapping[str, Any]]:
    """A part of an answer that must be a list of JSON objects; NoAnswer when it is not."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise NoAnswer("an answer without the list that was expected")
    return value


def whole_number(text: str) -> int | None:
    """A number of a header, of at most 18 plain digits; None for anything else."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX else None


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Seconds that Retry-After names, as a number or as a date; None without a sane one."""
    text = headers.get("Retry-After", "")
    seconds = whole_number(text)
    if seconds is not None:
        return float(seconds)
    try:
        moment = parsedate_to_datetime(text.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - (time() if now_s is None else now_s))
    except (ValueError, TypeError, OverflowError):
        return None


def basic_auth(user: str, password: Secret) -> dict[str, str]:
    """The Authorization header of a user and a password."""
    token = base64.b64encode(f"{user}:{password.reveal()}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def bearer(token: Secret) -> dict[str, str]:
    """The Authorization header of a token."""
    return {"Authorization": f"Bearer {token.reveal()}"}


def _credentials(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Credentials among headers, without the word that says what kind they are."""
    values = (v for name, v in headers.items() if name.lower() in CREDENTIAL_HEADERS)
    return tuple(value.split(" ")[-1] for value in values)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    """A body that cannot be sent twice.

    aiohttp sends a PUT again by itself when the connection breaks; what got no answer is for the
    forwarder to judge.
    """
    yield body


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, decompressed; the limit holds before and after. Raises CannotDecompress."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    unpacked = Decompressor(coding) if coding not in ("", "identity") else None
    parts: list[bytes] = []
    size = received = 0
    async for part in response.content.iter_chunked(1 << 16):
        received += len(part)
        for piece in unpacked.pieces(part) if unpacked else (part,):
            size += len(piece)
            if max(size, received) > ANSWER_BYTES_MAX:
                response.close()
                raise NoAnswer(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
            parts.append(piece)
            if unpacked:
                await asyncio.sleep(0)
    if unpacked:
        unpacked.finish()
    await asyncio.sleep(0)
    return b"".join(parts)


def _plain(error: aiohttp.ClientConnectorError) -> str:
    return error.os_error.strerror or type(error.os_error).__name__
