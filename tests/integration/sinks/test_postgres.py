"""The postgres sink against a real PostgreSQL."""

from collections.abc import Iterator

import psycopg
import pytest

from collector.sinks import postgres
from collector.sinks.base import MemoryIds
from simulator.upstream import _servers

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(required) -> Iterator[int]:
    with required(), _servers.postgres() as port:
        yield port


def sink_for(port: int) -> postgres.Postgres:
    config = postgres.Config(port=port, database="osn", user="osn", batch=1000)
    return postgres.build(config, "database", MemoryIds())


def ask(port: int, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(host="127.0.0.1", port=port, user="osn", dbname="osn") as connection:
        return connection.execute(question.encode()).fetchall()


def test_all_readings_once_however_often_they_are_sent(server: int, forward, readings: int) -> None:
    for name in ("first", "again"):
        forward(sink_for(server), name)
        assert ask(server, "SELECT count(*) FROM osn_readings") == [(readings,)]
    assert ask(server, "SELECT count(*) FROM osn_channel") == [(3 * 8,)]
    (row,) = ask(
        server,
        "SELECT unit, interval_ms, longitude, time AT TIME ZONE 'UTC' = '2026-02-02 02:40:00'"
        " FROM osn_readings WHERE quantity = 'laeq' ORDER BY time LIMIT 1",
    )
    assert row == ("dB", 60_000, 2.17, True)


def test_a_connection_that_is_cut_loses_nothing(server: int, forward, readings: int) -> None:
    sink = sink_for(server)
    send, cuts = sink.send, []

    async def cut_first(batch):
        if len(cuts) < 3:
            cuts.append(1)
            ask(
                server,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'opencities-osn'",
            )
        return await send(batch)

    sink.send = cut_first
    ask(server, "WITH gone AS (DELETE FROM osn_reading RETURNING 1) SELECT count(*) FROM gone")
    forward(sink, "cut")
    assert len(cuts) == 3
    assert ask(server, "SELECT count(*) FROM osn_readings") == [(readings,)]
