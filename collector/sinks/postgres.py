"""PostgreSQL, as a TimescaleDB hypertable where that is installed.

A table of channels, a table of readings keyed by channel and time, a view that joins them. Readings
come by COPY; rows that are there already are replaced, so a resend is harmless.

The ids of channels are kept in memory, and looked at in each transaction that uses them: a database
may be restored from a dump meanwhile, also under a connection that stays.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from collector.readings.observation import Channel, Observation, PublicNode
from collector.secret import Secret
from collector.settings import host_fault, is_local
from collector.sinks._values import iso_ms
from collector.sinks.base import (
    ACCEPTED,
    AccessDenied,
    Capabilities,
    IdStore,
    NoAnswer,
    NotSent,
    Outcome,
    Refused,
    Sink,
    SinkConfig,
    SinkError,
)
from collector.structure import KeyFault, Length, Range

if TYPE_CHECKING:
    import psycopg

TABLES = """
CREATE TABLE IF NOT EXISTS osn_channel (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node uuid NOT NULL, address text NOT NULL, name text NOT NULL, key text NOT NULL,
    quantity text NOT NULL, instance smallint NOT NULL, band smallint, formula text,
    unit text NOT NULL, UNIQUE (node, key));
CREATE TABLE IF NOT EXISTS osn_reading (
    channel integer NOT NULL, time timestamptz NOT NULL, value double precision NOT NULL,
    quality smallint NOT NULL, interval_ms integer NOT NULL,
    longitude double precision, latitude double precision, PRIMARY KEY (channel, time));
CREATE OR REPLACE VIEW osn_readings AS
    SELECT c.node, c.address, c.name, c.quantity, c.instance, c.band, c.formula, r.time, r.value,
           c.unit, r.quality, r.interval_ms, r.longitude, r.latitude
    FROM osn_reading r JOIN osn_channel c ON c.id = r.channel;
"""
HYPERTABLE = """
SELECT create_hypertable('osn_reading', 'time', if_not_exists => true, migrate_data => true)
"""
COLUMNS = "channel, time, value, quality, interval_ms, longitude, latitude"
COPY = f"COPY osn_reading ({COLUMNS}) FROM STDIN"
STAGE = "CREATE TEMPORARY TABLE IF NOT EXISTS osn_stage (LIKE osn_reading) ON COMMIT DELETE ROWS"
COPY_STAGE = f"COPY osn_stage ({COLUMNS}) FROM STDIN"
MERGE = f"""
INSERT INTO osn_reading ({COLUMNS})
SELECT DISTINCT ON (channel, time) {COLUMNS} FROM osn_stage
ON CONFLICT (channel, time) DO UPDATE SET value = excluded.value, quality = excluded.quality,
    interval_ms = excluded.interval_ms, longitude = excluded.longitude, latitude = excluded.latitude
"""
CHANNEL = """
INSERT INTO osn_channel (node, address, name, key, quantity, instance, band, formula, unit)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (node, key) DO UPDATE SET name = excluded.name, address = excluded.address
RETURNING id
"""
OWNERS = "SELECT id, node, key FROM osn_channel WHERE id = ANY(%s)"
PIECE = 1000
WORDS_MAX = 200
UNDEFINED_TABLE = "42P01"
DENIED_STATES = ("28", "3D", "42")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "postgres". Off this machine TLS is verified unless `plain` is set."""

    host: Annotated[str, Length(1, 253)] = "127.0.0.1"
    port: Annotated[int, Range(1, 65_535)] = 5432
    database: Annotated[str, Length(1, 63)]
    user: Annotated[str, Length(1, 63)]
    password: Secret | None = None
    ca_file: Path | None = None
    plain: bool = False
    timescale: bool = True
    batch: Annotated[int, Range(1, 100_000)] = 10_000
    timeout_s: Annotated[int, Range(1, 600)] = 60

    def __post_init__(self) -> None:
        if not self.host.startswith("/") and (fault := host_fault(self.host)):
            raise KeyFault("host", fault)
        if self.plain and self.ca_file is not None:
            raise KeyFault("ca_file", "plain = true and ca_file exclude each other")


class Postgres(Sink):
    """Copies into one database."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.capabilities = Capabilities(idempotent=True, largest_batch=config.batch)
        self._config = config
        self._psycopg: Any = importlib.import_module("psycopg")
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._channels: dict[Channel, int] = {}
        self._prepared = True

    def upstream_name(self, channel: Channel) -> str | None:
        return f"osn_readings {channel.key}"

    def plan(self, channels: Sequence[Channel]) -> Sequence[str]:
        return ["tables osn_channel and osn_reading, view osn_readings: made where missing"]

    async def prepare(self, nodes: Sequence[PublicNode]) -> None:
        connection = await self._open()
        try:
            await connection.execute(TABLES)
            if self._config.timescale and await self._has_timescale(connection):
                await connection.execute(HYPERTABLE)
            await connection.commit()
        except self._psycopg.Error as error:
            raise await self._judged(error) from None
        self._prepared = True

    async def provision(self, channels: Sequence[Channel]) -> None:
        unknown = [channel for channel in channels if channel not in self._channels]
        if not unknown:
            return
        connection = await self._open()
        try:
            for channel in unknown:
                cursor = await connection.execute(CHANNEL, _row(channel))
                found = await cursor.fetchone()
                assert found is not None
                self._channels[channel] = found[0]
            await connection.commit()
        except self._psycopg.Error as error:
            self._channels.clear()
            raise await self._judged(error) from None

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        if not self._prepared:
            await self.prepare(())
        channels = list(dict.fromkeys(o.channel for o in batch))
        try:
            connection = await self._begin(channels)
            try:
                await self._copy(connection, COPY, batch)
            except self._psycopg.errors.UniqueViolation:
                await connection.rollback()
                connection = await self._begin(channels)
                await connection.execute(STAGE)
                await self._copy(connection, COPY_STAGE, batch)
                await connection.execute(MERGE)
            await connection.commit()
        except self._psycopg.Error as error:
            raise await self._judged(error) from None
        return [ACCEPTED] * len(batch)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _begin(self, channels: Sequence[Channel]) -> psycopg.AsyncConnection[Any]:
        """A transaction, up to whose end the ids name these channels and no others."""
        for _ in range(2):
            await self.provision(channels)
            connection = await self._open()
            owners = {self._channels[channel]: channel for channel in channels}
            cursor = await connection.execute(OWNERS, (list(owners),))
            found = {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}
            if all(found.get(id) == (c.node.uuid, c.key) for id, c in owners.items()):
                return connection
            await connection.rollback()
            self._channels.clear()
        raise NotSent("the database's channels change under our hands")

    async def _copy(
        self,
        connection: psycopg.AsyncConnection[Any],
        statement: str,
        batch: Sequence[Observation],
    ) -> None:
        """COPY in pieces, so that the server works on one while the next is written."""
        async with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for start in range(0, len(batch), PIECE):
                await copy.write(self._rows(batch[start : start + PIECE]))

    def _rows(self, batch: Sequence[Observation]) -> bytes:
        """COPY's text format."""
        ids = self._channels
        lines = []
        for channel, time_ms, interval_ms, value, quality, _, _, place in batch:
            where = f"{place[1]!r}\t{place[0]!r}" if place else "\\N\t\\N"
            lines.append(
                f"{ids[channel]}\t{iso_ms(time_ms)}\t{value!r}\t{quality}\t{interval_ms}\t{where}\n"
            )
        return "".join(lines).encode()

    @staticmethod
    async def _has_timescale(connection: psycopg.AsyncConnection[Any]) -> bool:
        cursor = await connection.execute(
            "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"
        )
        return await cursor.fetchone() is not None

    async def _open(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        config = self._config
        options: dict[str, Any] = {
            "host": config.host,
            "port": config.port,
            "dbname": config.database,
            "user": config.user,
            "connect_timeout": min(10, config.timeout_s),
            "application_name": "opencities-osn",
            "options": f"-c statement_timeout={config.timeout_s * 1000} -c timezone=UTC",
            "sslmode": "prefer" if config.plain or is_local(config.host) else "verify-full",
            "prepare_threshold": None,
        }
        if not config.plain and not is_local(config.host):
            options["sslrootcert"] = str(config.ca_file) if config.ca_file else "system"
        if config.password is not None:
            options["password"] = config.password.reveal()
        try:
            self._connection = await self._psycopg.AsyncConnection.connect(**options)
        except self._psycopg.Error as error:
            state = error.sqlstate or ""
            if state[:2] in DENIED_STATES or "authentication" in str(error):
                raise AccessDenied(f"the server refuses the connection ({state})") from None
            raise NotSent(f"cannot connect: {_first_line(error, config)}") from None
        return self._connection

    async def _judged(self, error: psycopg.Error) -> SinkError:
        """What an error means; the connection is given up unless the server still speaks."""
        state = error.sqlstate or ""
        connection = self._connection
        if connection is None or connection.closed or not state or state[:2] in ("08", "57"):
            await self.close()
            return NoAnswer(f"the connection was lost ({state or type(error).__name__})")
        await connection.rollback()
        reason = f"{type(error).__name__} ({state})"
        if state == UNDEFINED_TABLE and self._prepared:
            self._channels.clear()
            self._prepared = False
            return NotSent(f"{reason}: the database was set up anew; tables are made again")
        if state[:2] in ("22", "23"):
            return Refused(f"refused: {reason}")
        if state[:2] in DENIED_STATES:
            self._channels.clear()
            return AccessDenied(reason)
        return NotSent(reason)


def _first_line(error: psycopg.Error, config: Config) -> str:
    """What the driver says of a failure, without the password."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    if config.password is not None and config.password.reveal():
        line = line.replace(config.password.reveal(), "***")
    return line[:WORDS_MAX]


def _row(channel: Channel) -> tuple[Any, ...]:
    node, quantity = channel.node, channel.quantity
    return (
        node.uuid,
        node.hex,
        node.name,
        channel.key,
        quantity.name,
        channel.instance,
        channel.band,
        channel.formula,
        quantity.unit,
    )


def build(config: Config, name: str, ids: IdStore) -> Postgres:
    """The sink of a configuration. Raises ValueError without psycopg."""
    try:
        return Postgres(name, config)
    except ImportError:
        raise ValueError("PostgreSQL needs psycopg: install opencities-osn[postgres]") from None
