"""The sensorthings sink against FROST-Server, read by Fraunhofer's own client.

The same client also reads the fake server that the other tests use.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.sinks import sensorthings
from collector.sinks.base import MemoryIds, NoAnswer
from simulator.upstream import _servers
from tests.integration.sinks.frost import frost

pytestmark = pytest.mark.integration
client = pytest.importorskip("frost_sta_client", reason="frost-sta-client is not installed")
FRAMES = 9
ROOT = Path(__file__).parents[3]
FAKE = """
import asyncio, sys
from simulator.upstream import serve
asyncio.run(serve("sensorthings", port=int(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, required) -> Iterator[str]:
    with required(), frost(tmp_path_factory.mktemp("frost")) as url:
        yield url


@pytest.fixture
def empty(server: str) -> str:
    """The server without a Thing."""
    for thing in client.SensorThingsService(server).things().query().list():
        request = urllib.request.Request(f"{server}/Things({thing.id})", method="DELETE")
        urllib.request.urlopen(request).close()
    return server


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[str]:
    port = _servers.free_port()
    command = [sys.executable, "-c", FAKE, str(port)]
    environment = {"PYTHONPATH": str(ROOT)}
    with _servers.process(command, port, tmp_path / "fake.log", environment=environment) as server:
        assert isinstance(server, subprocess.Popen)
        yield f"http://127.0.0.1:{port}/v1.1"


def sink_for(url: str, **more: object) -> sensorthings.SensorThings:
    return sensorthings.build(sensorthings.Config(url=url, **more), "city", MemoryIds())


def observations(url: str) -> list[tuple[str, str, float]]:
    """Datastream, time and result of all that Fraunhofer's client finds."""
    found = []
    for thing in client.SensorThingsService(url).things().query().list():
        assert thing.name.startswith("osn:")
        for stream in thing.get_datastreams().query().list():
            for one in stream.get_observations().query().top(1000).list():
                found.append((stream.name, str(one.phenomenon_time), float(one.result)))
    return found


@pytest.mark.parametrize("network", ["empty", "fake"], ids=["FROST-Server", "fake"])
def test_the_client_finds_every_reading_once(
    network: str, request: pytest.FixtureRequest, forward
) -> None:
    url = request.getfixturevalue(network)
    readings = forward(sink_for(url), "street", FRAMES)
    found = observations(url)
    assert len(found) == len(set(found)) == readings


def test_what_got_no_answer_is_read_back(empty: str, forward) -> None:
    sink = sink_for(empty, batch=100)
    send, lost = sink.send, []

    async def lose_every_third(batch):
        outcomes = await send(batch)
        lost.append(len(lost) % 3 == 2)
        if lost[-1]:
            raise NoAnswer("the answer is lost")
        return outcomes

    sink.send = lose_every_third
    readings = forward(sink, "street", FRAMES)
    assert sum(lost) >= 3
    found = observations(empty)
    assert len(found) == len(set(found)) == readings


def test_what_the_ids_forgot_is_found_again(empty: str, forward) -> None:
    for name in ("first", "again"):
        readings = forward(sink_for(empty), name, FRAMES)
    with urllib.request.urlopen(f"{empty}/Things?$count=true&$top=0") as answer:
        assert json.load(answer)["@iot.count"] == 3
    assert len(observations(empty)) == 2 * readings, "the standard knows no duplicates"
