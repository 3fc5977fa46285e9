"""InfluxDB by line protocol: the 1.x and the 2.x write API.

A measurement is the quantity's kind, tags are a channel's identity and nothing that may change, the
field is the quantity, always a float. The same tags and time overwrite, so a resend is harmless; so
is halving after a partial write, which keeps the good lines of what it refuses. What nodes are
called is in a measurement of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from collector.readings.observation import Channel, Observation, PublicNode, quality_name
from collector.secret import Secret
from collector.sinks._http import (
    HTTP_DEFAULTS,
    HttpClient,
    HttpSettings,
    basic_auth,
    check_url,
    common_error,
)
from collector.sinks.base import (
    ACCEPTED,
    AccessDenied,
    Capabilities,
    IdStore,
    NotSent,
    Outcome,
    Sink,
    SinkConfig,
)
from collector.structure import KeyFault, Length, Range

NODES = "osn_node"
_ESCAPES = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "influxdb": version 1 with database, or 2 with organisation and bucket."""

    url: Annotated[str, Length(8, 500)] = "http://127.0.0.1:8086"
    version: Literal[1, 2] = 2
    database: Annotated[str, Length(1, 200)] | None = None
    create_database: bool = False
    user: str | None = None
    password: Secret | None = None
    org: Annotated[str, Length(1, 200)] | None = None
    bucket: Annotated[str, Length(1, 200)] | None = None
    token: Secret | None = None
    batch: Annotated[int, Range(1, 50_000)] = 5000
    http: HttpSettings = HTTP_DEFAULTS

    def __post_init__(self) -> None:
        check_url(self.url, self.http)
        if self.version == 1:
            if self.database is None:
                raise KeyFault("database", "version 1 needs a database")
            if (self.user is None) != (self.password is None):
                raise KeyFault("user", "user and password go together")
        elif self.org is None or self.bucket is None or self.token is None:
            raise KeyFault("token", "version 2 needs org, bucket and token")


class InfluxDb(Sink):
    """Writes lines to one database or bucket."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.capabilities = Capabilities(idempotent=True, largest_batch=config.batch)
        self._config = config
        self._http = HttpClient(config.url, config.http, _credentials(config))
        self._flagged = any(name != "ok" for name in config.delivery.qualities or ())

    def upstream_name(self, channel: Channel) -> str | None:
        return f"{channel.quantity.kind} {channel.quantity.name}"

    async def prepare(self, nodes: Sequence[PublicNode]) -> None:
        if self._creates:
            await self._create()

    @property
    def _creates(self) -> bool:
        return self._config.version == 1 and self._config.create_database

    async def _create(self) -> None:
        name = str(self._config.database).replace('"', '\\"')
        answer = await self._http.request(
            "POST", "/query", query={"q": f'CREATE DATABASE "{name}"'}
        )
        if answer.status != 200:
            raise common_error(answer)

    async def provision(self, channels: Sequence[Channel]) -> None:
        nodes = dict.fromkeys(channel.node for channel in channels)
        await self._write(map(description, nodes))

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        flagged = self._flagged
        await self._write(line(observation, flagged=flagged) for observation in batch)
        return [ACCEPTED] * len(batch)

    async def close(self) -> None:
        await self._http.close()

    async def _write(self, lines: Iterable[str]) -> None:
        config = self._config
        if config.version == 1:
            path, query = "/write", {"db": str(config.database), "precision": "ms"}
        else:
            path = "/api/v2/write"
            query = {"org": str(config.org), "bucket": str(config.bucket), "precision": "ms"}
        answer = await self._http.request(
            "POST",
            path,
            query=query,
            body="\n".join(lines).encode(),
            headers={"Content-Type": "text/plain; charset=utf-8"},
        )
        if answer.status == 404 and self._creates:
            await self._create()
            raise NotSent("the database was gone; it is made again")
        if answer.status == 404:
            raise AccessDenied(f"no such database or bucket: {answer.explanation()}")
        if answer.status != 204:
            raise common_error(answer)


def line(observation: Observation, *, flagged: bool = False) -> str:
    """One point; the field is always a float, for its type is fixed by the first one written.

    Where not only good readings go out, each says its quality, so that a later one replaces it.
    """
    head, field = _fixed_parts(observation.channel)
    value = f"{field}={float(observation.value)!r}"
    if flagged:
        value += f',{field}_quality="{quality_name(observation.quality)}"'
    return f"{head} {value} {observation.time_ms}"


def description(node: PublicNode) -> str:
    """What a node is called and what it is, at the server's time."""
    fields = {"name": node.name, "board": node.board, "uuid": str(node.uuid)}
    written = ",".join(f'{key}="{_quoted(text)}"' for key, text in fields.items())
    return f"{NODES},node={node.hex} {written}"


@lru_cache(maxsize=16_384)
def _fixed_parts(channel: Channel) -> tuple[str, str]:
    node, quantity = channel.node, channel.quantity
    tags = [("node", node.hex)]
    if channel.instance:
        tags.append(("instance", str(channel.instance)))
    if channel.band is not None:
        tags.append(("band", str(channel.band)))
    if channel.formula is not None:
        tags.append(("formula", channel.formula))
    written = "".join(f",{key}={_escaped(text)}" for key, text in sorted(tags) if text)
    return f"{quantity.kind}{written}", quantity.name


def _escaped(text: str) -> str:
    """A tag's value; a backslash at its end would escape what follows."""
    return text.replace("\n", " ").rstrip("\\").translate(_ESCAPES)


def _quoted(text: str) -> str:
    """A text field's value."""
    return text.replace("\n", " ").replace("\\", "\\\\").replace('"', '\\"')


def _credentials(config: Config) -> dict[str, str]:
    if config.version == 2 and config.token is not None:
        return {"Authorization": f"Token {config.token.reveal()}"}
    if config.user is not None and config.password is not None:
        return basic_auth(config.user, config.password)
    return {}


def build(config: Config, name: str, ids: IdStore) -> InfluxDb:
    """The sink of a configuration."""
    return InfluxDb(name, config)
