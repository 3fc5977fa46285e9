"""The influxdb sink against InfluxDB 1.6."""

import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.sinks import influxdb
from collector.sinks.base import MemoryIds
from simulator.upstream import _servers

pytestmark = pytest.mark.integration
CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[http]
  bind-address = "127.0.0.1:{port}"
"""


@pytest.fixture
def server(tmp_path: Path, required) -> Iterator[int]:
    port, rpc = _servers.free_port(), _servers.free_port()
    file = tmp_path / "influxdb.conf"
    file.write_text(CONFIGURATION.format(folder=tmp_path, port=port, rpc=rpc))
    with required():
        program = shutil.which("influxd")
        if program is None:
            raise _servers.NotInstalled("InfluxDB is not installed: apt-get install influxdb")
        with _servers.process([program, "-config", str(file)], port, tmp_path / "influxd.log"):
            yield port


def count(port: int) -> int:
    question = urllib.parse.urlencode({"db": "osn", "q": "SELECT count(*) FROM air, noise"})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/query?{question}") as answer:
        series = json.load(answer)["results"][0].get("series", [])
    return sum(sum(number or 0 for number in one["values"][0][1:]) for one in series)


def test_a_renamed_node_is_the_same_series(server: int, forward, readings: int, renamed) -> None:
    for name in ("first", "renamed"):
        config = influxdb.Config(
            url=f"http://127.0.0.1:{server}", version=1, database="osn", create_database=True
        )
        sink = influxdb.build(config, "influx", MemoryIds())
        forward(sink if name == "first" else renamed(sink), name)
        assert count(server) == readings


def test_all_readings_once_however_often_they_are_sent(server: int, forward, readings: int) -> None:
    for name in ("first", "again"):
        config = influxdb.Config(
            url=f"http://127.0.0.1:{server}", version=1, database="osn", create_database=True
        )
        forward(influxdb.build(config, "influx", MemoryIds()), name)
        assert count(server) == readings
