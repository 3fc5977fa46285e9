"""Every sink against the contract, at a size that a test run can afford."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from collector.sinks import build_sink, kinds
from collector.sinks.base import MemoryIds
from simulator.upstream import build
from tests.collector.sinks.contract import NETWORKS, NODES, try_out

FRAMES = 20


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kills", [0, 3], ids=["running", "killed"])
def test_every_reading_is_accepted_once_or_rejected(name: str, kills: int, tmp_path: Path) -> None:
    result = try_out(name, FRAMES, kills, tmp_path)
    assert result.readings == 1920


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "jsonl"])
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
    if sink.capabilities.idempotent:
        assert held[0] == held[1]
    assert held[0]


def test_every_kind_of_sink_is_in_the_suite() -> None:
    tried = {name.split(" ")[0] for name in NETWORKS}
    assert tried | {"postgres"} == set(kinds()), "postgres meets its real server instead"
