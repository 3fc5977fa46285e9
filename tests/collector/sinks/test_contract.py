"""Every sink against the contract, at a size that a test run can afford."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from collector.archive import archive
from collector.sinks import build_sink, kinds
from collector.sinks.base import MemoryIds
from simulator.upstream import build
from simulator.upstream._fast_loop import run_fast
from simulator.upstream.base import HTTP_FAULTS
from simulator.upstream.front import FRONTS
from simulator.upstream.street import Street
from tests.collector.sinks.contract import (
    ALL_FRESH,
    NETWORKS,
    NODES,
    QUICK,
    SPEED,
    UIDS,
    Network,
    deliver,
    try_fronts,
    try_out,
)

FRAMES = 20
BY_HTTP = [name for name, network in NETWORKS.items() if set(HTTP_FAULTS) <= set(network.faults)]
UNDATED = {
    "sensor_community": Network(
        lambda m, url, folder: m.Config(
            url=f"{url}/v1/push-sensor-data/",
            uids=UIDS,
            interval_s=1,
            http=QUICK,
            delivery=ALL_FRESH,
        ),
        {},
    ),
    "madavi": replace(NETWORKS["madavi"], faults={}),
    "home_assistant": replace(NETWORKS["home_assistant"], faults={}),
}
"""Networks that date a reading by its arrival."""


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kills", [0, 3], ids=["running", "killed"])
def test_every_reading_is_accepted_once_or_rejected(name: str, kills: int, tmp_path: Path) -> None:
    result = try_out(name, FRAMES, kills, tmp_path)
    assert result.readings == 1920


def is_idempotent(name: str) -> bool:
    kind = name.split(" ")[0]
    module = importlib.import_module(f"collector.sinks.{kind}")
    config = NETWORKS[name].config(module, "http://127.0.0.1:1", Path("unused"))
    return build_sink(kind, kind, config, MemoryIds()).capabilities.idempotent


@pytest.mark.parametrize("name", [name for name in NETWORKS if is_idempotent(name)])
async def test_a_renamed_node_is_the_same_where_a_reading_twice_is_one(
    name: str, tmp_path: Path, reading
) -> None:
    kind, network = name.split(" ")[0], NETWORKS[name]
    module = importlib.import_module(f"collector.sinks.{kind}")
    upstream = network.make({}) if network.make else build(kind)
    held = []
    async with upstream.serving() as url:
        for node in (NODES[0], replace(NODES[0], name="renamed", board="other")):
            sink = build_sink(kind, kind, network.config(module, url, tmp_path), MemoryIds())
            batch = [
                reading(quantity, 20.5, minute, node=node)
                for minute in range(3)
                for quantity in ("pm10", "temperature", "laeq")
            ]
            await sink.prepare([node])
            await sink.provision(list(dict.fromkeys(o.channel for o in batch)))
            for group in sink.split(batch):
                await sink.send(group.observations)
            await sink.close()
            held.append({key for key in upstream.stored if b"/config" not in str(key).encode()})
    assert held[0] == held[1]
    assert held[0]


@pytest.mark.parametrize("frames_a_node", [1, 3])
@pytest.mark.parametrize("name", UNDATED)
def test_where_arrival_is_the_time_only_the_newest_reading_arrives(
    name: str, frames_a_node: int, tmp_path: Path
) -> None:
    frames = frames_a_node * len(NODES)
    connection = archive.open_archive(tmp_path / "archive.db", durable=False)
    Street(NODES).fill(connection, frames)
    connection.close()
    upstream = build(name)
    totals = run_fast(deliver(name, UNDATED[name], upstream, tmp_path, frames, 0), SPEED)
    arrived = upstream.arrivals
    assert len(arrived) == totals["delivered"] > 0
    assert set(arrived.values()) == {1}, "a value each, not several under one time"


@pytest.mark.parametrize("name", BY_HTTP)
def test_what_is_about_no_reading_buries_none(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    try_fronts(name, sorted(FRONTS.keys() - NETWORKS[name].cannot_tell), FRAMES, tmp_path)
    assert "own code failed" not in caplog.text


def test_every_kind_of_sink_is_in_the_suite() -> None:
    tried = {name.split(" ")[0] for name in NETWORKS}
    assert tried | {"postgres"} == set(kinds()), "postgres meets its real server instead"
