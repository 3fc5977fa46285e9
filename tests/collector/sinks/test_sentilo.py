"""Sentilo: its times, its catalogue, its largest request, its hourly limit."""

import json

import pytest

from collector.sinks import sentilo
from collector.sinks.base import AccessDenied, MemoryIds, NotSent, Refused
from collector.sinks.secret import Secret
from simulator.upstream.base import Serving
from simulator.upstream.sentilo import Sentilo

TYPES = {"pm10": "pm10", "laeq": "noise"}


def sink_for(url: str, token: str = "t", **more) -> sentilo.Sentilo:
    config = sentilo.Config(url=url, token=Secret(token), provider="osn", types=TYPES, **more)
    return sentilo.build(config, "barcelona", MemoryIds())


async def test_registers_once_and_sends(reading, node) -> None:
    server = Sentilo(token="t", types=frozenset(("pm10", "noise")))
    async with Serving(server) as url:
        for _ in range(2):
            sink = sink_for(url)
            batch = [reading("pm10", 7.1), reading("laeq", 55.4, 1)]
            await sink.provision([o.channel for o in batch])
            await sink.send(batch)
            await sink.close()
    assert list(server.sensors["osn"]) == ["OSN-a1b2c3d4-PM10", "OSN-a1b2c3d4-LAEQ"]
    assert server.sensors["osn"]["OSN-a1b2c3d4-PM10"]["location"] == "41.400000 2.200000"
    assert ("OSN-a1b2c3d4-LAEQ", "02/02/2026T02:41:00") in server.stored


def test_only_configured_quantities_go_out(reading) -> None:
    sink = sink_for("http://127.0.0.1:1")
    assert sink.upstream_name(reading("co2", 1.0).channel) is None


async def test_no_request_is_larger_than_the_installation_takes(reading) -> None:
    server = Sentilo(body_bytes=1024)
    async with Serving(server) as url:
        sink = sink_for(url, body_bytes=1024)
        batch = [reading(name, 55.4, minute) for minute in range(50) for name in TYPES]
        await sink.provision(list(dict.fromkeys(o.channel for o in batch)))
        groups = list(sink.split(batch))
        for group in groups:
            await sink.send(group.observations)
        await sink.close()
    assert len(groups) > 5
    assert server.stored.total() == 100


async def test_the_hourly_limit_says_how_long_to_wait(reading) -> None:
    server = Sentilo({"limit": 1.0})
    async with Serving(server) as url:
        sink = sink_for(url)
        with pytest.raises(NotSent) as limited:
            await sink.send([reading("pm10", 1.0)])
        await sink.close()
    assert limited.value.after_s == 120


async def test_reads_back_by_second(reading) -> None:
    server = Sentilo()
    async with Serving(server) as url:
        sink = sink_for(url)
        batch = [reading("pm10", 1.0, minute) for minute in range(10)]
        await sink.provision([batch[0].channel])
        await sink.send(batch[:4])
        assert await sink.read_back(batch) == [True] * 4 + [False] * 6
        await sink.close()


async def test_a_wrong_token_an_unregistered_sensor_and_a_put_that_is_cut(reading) -> None:
    server = Sentilo(token="right")
    async with Serving(server) as url:
        sink = sink_for(url, token="wrong")
        with pytest.raises(AccessDenied) as denied:
            await sink.send([reading("pm10", 1.0)])
        assert "wrong" not in json.dumps(denied.value.args)
        await sink.close()
        sink = sink_for(url, token="right")
        with pytest.raises(Refused):
            await sink.send([reading("pm10", 1.0)])
        server.faults["drop_before"] = 1.0
        before = server.requests["PUT"]
        with pytest.raises(Exception, match="no answer"):
            await sink.send([reading("pm10", 1.0)])
        assert server.requests["PUT"] == before + 1, "a PUT is not sent again behind our back"
        await sink.close()
