"""NGSI-LD: the present by upsert, the past by the temporal API, 207 entity by entity."""

import pytest
from aiohttp import web

from collector.sinks import ngsi_ld
from collector.sinks.base import Accepted, MemoryIds, NoAnswer, Rejected, Retry
from simulator.upstream.base import Serving
from simulator.upstream.ngsi_ld import NgsiLd


def sink_for(url: str, **more) -> ngsi_ld.NgsiLd:
    return ngsi_ld.build(ngsi_ld.Config(url=url, **more), "broker", MemoryIds())


async def deliver(sink: ngsi_ld.NgsiLd, batch) -> list[object]:
    said: list[object] = []
    for group in sink.split(batch):
        said += await sink.send(group.observations)
    return said


async def test_an_old_reading_never_puts_the_present_back(reading, node) -> None:
    server = NgsiLd()
    id = f"urn:ngsi-ld:AirQualityObserved:osn:{node.uuid}"
    async with Serving(server) as url:
        sink = sink_for(url)
        await deliver(sink, [reading("pm10", 10.0, minute) for minute in range(3)])
        assert server.entities[id]["pm10"]["observedAt"] == "2026-02-02T02:42:00.000Z"
        await deliver(sink, [reading("pm10", 9.0, -60)])
        await sink.close()
    assert server.entities[id]["pm10"]["observedAt"] == "2026-02-02T02:42:00.000Z"
    assert len(server.stored) == 4


async def test_units_and_names_of_the_models(reading, node) -> None:
    server = NgsiLd()
    async with Serving(server) as url:
        sink = sink_for(url)
        batch = [
            reading("humidity", 55.0), reading("pressure", 101325.0), reading("pm2_5", 7.1),
            reading("laeq", 55.4), reading("la90", 48.0),
        ]  # fmt: skip
        assert all(isinstance(outcome, Accepted) for outcome in await deliver(sink, batch))
        await sink.close()
    air = server.entities[f"urn:ngsi-ld:AirQualityObserved:osn:{node.uuid}"]
    noise = server.entities[f"urn:ngsi-ld:NoiseLevelObserved:osn:{node.uuid}"]
    assert (air["relativeHumidity"]["value"], air["pressure"]["value"]) == (0.55, 1013.25)
    assert air["pm25"] == {
        "type": "Property", "value": 7.1, "unitCode": "GQ",
        "observedAt": "2026-02-02T02:40:00.000Z",
    }  # fmt: skip
    assert noise["dateObservedFrom"]["value"]["@value"] == "2026-02-02T02:39:00.000Z"
    assert any("LA90" in part for part in noise["@context"] if isinstance(part, dict))
    assert air["location"]["value"]["coordinates"] == [2.2, 41.4]


async def test_a_207_rejects_its_entity_only(reading, mobile) -> None:
    server = NgsiLd({"bad_entity": 0.5})
    async with Serving(server) as url:
        sink = sink_for(url, temporal=False)
        batch = [reading("pm10", 1.0, minute) for minute in range(20)]
        said = await deliver(sink, batch)
        await sink.close()
    rejected = sum(isinstance(outcome, Rejected) for outcome in said)
    assert 0 < rejected < 20
    assert rejected + len(server.stored) == 20


@pytest.mark.parametrize(
    "document",
    [
        {}, [], {"errors": []}, {"errors": [3]}, {"errors": "many"},
        {"errors": [{"entityId": "urn:another", "error": {"status": "many"}}]},
    ],
)  # fmt: skip
async def test_a_207_that_names_no_entity_of_ours_tells_nothing(reading, document) -> None:
    async def said(request: web.Request) -> web.Response:
        return web.json_response(document, status=207)

    server = NgsiLd()
    server.routes = lambda router: router.add_post("/{tail:.*}", said)
    async with Serving(server) as url:
        sink = sink_for(url, temporal=False)
        with pytest.raises(NoAnswer, match=r"207|list"):
            await sink.send([reading("pm10", 1.0)])
        await sink.close()


async def test_a_node_without_a_place_waits(reading, mobile) -> None:
    sink = sink_for("http://127.0.0.1:1")
    said = await sink.send([reading("pm10", 1.0, node=mobile)])
    assert isinstance(said[0], Retry)


def test_without_the_temporal_api_there_is_no_backlog() -> None:
    assert not sink_for("http://127.0.0.1:1", temporal=False).capabilities.backlog
