"""Sentilo: its times, its catalogue, its largest request, its hourly limit."""

import json

import pytest

from collector.secret import Secret
from collector.sinks import sentilo
from collector.sinks.base import Accepted, AccessDenied, MemoryIds, NoAnswer, NotSent, Retry
from simulator.upstream.base import Serving
from simulator.upstream.sentilo import Sentilo

TYPES = {"pm10": "pm10", "laeq": "noise"}


def sink_for(url: str, token: str = "t", **more) -> sentilo.Sentilo:
    config = sentilo.Config(url=url, token=Secret(token), provider="osn", types=TYPES, **more)
    return sentilo.build(config, "barcelona", MemoryIds())


async def test_registers_once_and_sends(reading, node) -> None:
    server = Sentilo(token="t", types=frozenset(("pm10", "noise")), known_after_s=0)
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
    server = Sentilo(body_bytes=1024, known_after_s=0)
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
    server = Sentilo(known_after_s=0)
    async with Serving(server) as url:
        sink = sink_for(url)
        batch = [reading("pm10", 1.0, minute) for minute in range(10)]
        await sink.provision([batch[0].channel])
        await sink.send(batch[:4])
        assert await sink.read_back(batch) == [True] * 4 + [False] * 6
        await sink.close()


@pytest.mark.parametrize("front", ["wrong_path", "other_api", "other_list", "other_value"])
async def test_what_answers_in_the_platforms_place_tells_not_what_it_holds(reading, front) -> None:
    server = Sentilo(known_after_s=0)
    async with Serving(server) as url:
        sink = sink_for(url)
        batch = [reading("pm10", 1.0, minute) for minute in range(3)]
        await sink.provision([batch[0].channel])
        await sink.send(batch)
        server.front = front
        with pytest.raises(NoAnswer):
            await sink.read_back(batch)
        server.front = None
        assert await sink.read_back(batch) == [True] * 3
        await sink.close()


async def test_a_200_with_a_body_is_not_the_platforms_success(reading) -> None:
    server = Sentilo(known_after_s=0)
    async with Serving(server) as url:
        sink = sink_for(url)
        await sink.provision([reading("pm10", 1.0).channel])
        server.front = "other_api"
        with pytest.raises(NoAnswer, match="with a body"):
            await sink.send([reading("pm10", 1.0)])
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
        (said,) = await sink.send([reading("pm10", 1.0)])
        assert isinstance(said, Retry)
        assert list(server.sensors["osn"]) == ["OSN-a1b2c3d4-PM10"], "it is registered now"
        server.faults["drop_before"] = 1.0
        before = server.requests["PUT"]
        with pytest.raises(Exception, match="no answer"):
            await sink.send([reading("pm10", 1.0)])
        assert server.requests["PUT"] == before + 1, "a PUT is not sent again behind our back"
        await sink.close()


async def test_a_sensor_that_is_known_late_costs_nothing(reading) -> None:
    server = Sentilo(known_after_s=3600)
    async with Serving(server) as url:
        sink = sink_for(url)
        known, late = reading("pm10", 7.1), reading("laeq", 55.4)
        await sink.provision([known.channel])
        server.learn()
        assert await sink.send([known]) == [Accepted()]
        await sink.provision([late.channel])
        batch = [late, reading("pm10", 7.2, 1), reading("laeq", 55.5, 1)]
        groups = [group.observations for group in sink.split(batch)]
        assert [[o.channel.key for o in group] for group in groups] == [["pm10"], ["laeq"] * 2]
        assert await sink.send(groups[0]) == [Accepted()]
        said = await sink.send(groups[1])
        assert [type(outcome) for outcome in said] == [Retry, Retry]
        assert said[0].after_s == sentilo.UNKNOWN_RETRY_S
        server.learn()
        assert await sink.send(groups[1]) == [Accepted()] * 2
        assert len(list(sink.split(batch))) == 1, "it is known"
        await sink.close()
    assert server.stored.total() == 4


async def test_a_sensor_that_somebody_removed_is_registered_again(reading) -> None:
    server = Sentilo(known_after_s=0)
    async with Serving(server) as url:
        sink = sink_for(url)
        batch = [reading("pm10", 7.1), reading("laeq", 55.4)]
        await sink.provision([o.channel for o in batch])
        for group in sink.split(batch):
            await sink.send(group.observations)
        del server.sensors["osn"]["OSN-a1b2c3d4-LAEQ"]
        batch = [reading("pm10", 7.2, 1), reading("laeq", 55.5, 1)]
        (group,) = sink.split(batch)
        with pytest.raises(NoAnswer, match="read back"):
            await sink.send(group.observations)
        assert await sink.read_back(batch) == [True, False], "a part was stored"
        (alone,) = sink.split(batch[1:])
        assert await sink.send(alone.observations) == [Accepted()]
        await sink.close()
    assert server.stored.total() == 4


async def test_a_provider_that_is_not_there_is_the_networks_fault(reading) -> None:
    server = Sentilo(known_after_s=0, providers=("other",))
    async with Serving(server) as url:
        sink = sink_for(url)
        with pytest.raises(AccessDenied, match="no provider osn"):
            await sink.send([reading("pm10", 1.0)])
        await sink.close()
