"""The postgres sink against a real PostgreSQL."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from collector.readings.observation import Channel, FrameRef, Observation
from collector.sinks import postgres
from collector.sinks.base import MemoryIds, NoAnswer, NotSent
from protocol.registry import by_name
from simulator.upstream import _servers
from simulator.upstream.street import START_MS, street_nodes

pytestmark = pytest.mark.integration
(NODE,) = street_nodes(1)


@pytest.fixture(scope="module")
def server(required) -> Iterator[int]:
    with required(), _servers.postgres() as port:
        yield port


def sink_for(port: int) -> postgres.Postgres:
    config = postgres.Config(port=port, database="osn", user="osn", batch=1000)
    return postgres.build(config, "database", MemoryIds())


def ask(port: int, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(host="127.0.0.1", port=port, user="osn", dbname="osn") as connection:
        cursor = connection.execute(question.encode())
        return cursor.fetchall() if cursor.description else []


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


def one_reading(quantity: str, minute: int = 0) -> Observation:
    channel = Channel(NODE, by_name(quantity))
    return Observation(
        channel, START_MS + 60_000 * minute, 0, 20.5, 0, FrameRef(1, NODE.link, 1, 1), 0, None
    )


def quantities(port: int) -> list[tuple[object, ...]]:
    return ask(port, "SELECT quantity, count(*) FROM osn_readings GROUP BY 1 ORDER BY 1")


@pytest.fixture
def empty(server: int) -> int:
    ask(server, "DROP VIEW IF EXISTS osn_readings")
    ask(server, "DROP TABLE IF EXISTS osn_reading; DROP TABLE IF EXISTS osn_channel")
    return server


@pytest.mark.parametrize("cut", [False, True], ids=["connection stays", "connection is cut"])
async def test_a_database_restored_meanwhile_mixes_nothing_up(empty: int, cut: bool) -> None:
    ours, other = sink_for(empty), sink_for(empty)
    await ours.prepare([])
    b = one_reading("pm10")
    await ours.send([one_reading("temperature")])
    dump = await asyncio.to_thread(run, "pg_dump", "--clean", "--if-exists", port=empty)
    await ours.send([b])
    if cut:
        await asyncio.to_thread(
            ask,
            empty,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'opencities-osn'",
        )
    await asyncio.to_thread(run, "psql", "-v", "ON_ERROR_STOP=1", port=empty, text=dump)
    await other.send([one_reading("humidity")])
    later = b._replace(time_ms=b.time_ms + 60_000)
    if cut:
        with pytest.raises(NoAnswer):
            await ours.send([later])
    await ours.send([later])
    await ours.close()
    await other.close()
    assert quantities(empty) == [("humidity", 1), ("pm10", 1), ("temperature", 1)]


async def test_a_database_set_up_anew_gets_its_tables_again(empty: int) -> None:
    sink = sink_for(empty)
    await sink.prepare([])
    await sink.send([one_reading("pm10")])
    ask(empty, "DROP VIEW osn_readings")
    ask(empty, "DROP TABLE osn_reading, osn_channel")
    with pytest.raises(NotSent, match="made again"):
        await sink.send([one_reading("pm10", 1)])
    await sink.send([one_reading("pm10", 1)])
    await sink.close()
    assert quantities(empty) == [("pm10", 1)]


def run(program: str, *options: str, port: int, text: str | None = None) -> str:
    """A program of PostgreSQL on the test's database; what it printed."""
    command = [shutil.which(program) or str(_servers.postgres_programs() / program)]
    command += ["-h", "127.0.0.1", "-p", str(port), "-U", "osn", "-d", "osn", *options]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout
