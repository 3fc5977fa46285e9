"""What the sensorthings sink wrote, read by Fraunhofer's own client.

The server is the fake one: FROST-Server itself is not to be had from the package registries here.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from collector.sinks import sensorthings
from collector.sinks.base import MemoryIds
from simulator.upstream import _servers

pytestmark = pytest.mark.integration
SERVER = """
import asyncio, sys
from simulator.upstream import serve
asyncio.run(serve("sensorthings", port=int(sys.argv[1])))
"""


def test_the_client_finds_every_reading(tmp_path: Path, forward, readings: int) -> None:
    client = pytest.importorskip("frost_sta_client", reason="frost-sta-client is not installed")
    port = _servers.free_port()
    root = Path(__file__).parents[3]
    with _servers.process(
        [sys.executable, "-c", SERVER, str(port)],
        port,
        tmp_path / "server.log",
        environment={"PYTHONPATH": str(root)},
    ) as server:
        assert isinstance(server, subprocess.Popen)
        url = f"http://127.0.0.1:{port}/v1.1"
        forward(sensorthings.build(sensorthings.Config(url=url), "city", MemoryIds()), "street")
        service = client.SensorThingsService(url)
        things = list(service.things().query().list())
        assert len(things) == 3
        found = 0
        for thing in things:
            assert thing.name.startswith("osn:")
            for stream in thing.get_datastreams().query().list():
                observations = list(stream.get_observations().query().top(1000).list())
                assert all(isinstance(one.result, float) for one in observations)
                found += len(observations)
        assert found == readings
