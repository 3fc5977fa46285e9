"""SensorThings: entities once, every row of the answer looked at, unknown outcomes read back."""

import re

import pytest
from aiohttp import web

from collector.readings.observation import Place
from collector.secret import Secret
from collector.sinks import _sensorthings_entities, sensorthings
from collector.sinks.base import (
    Accepted,
    AccessDenied,
    Failed,
    MemoryIds,
    NoAnswer,
    NotSent,
    Rejected,
    Retry,
)
from simulator.upstream import sensorthings as fake
from simulator.upstream.base import Serving
from simulator.upstream.sensorthings import SensorThings


def sink_for(url: str, ids: MemoryIds | None = None, **more) -> sensorthings.SensorThings:
    config = sensorthings.Config(url=f"{url}/v1.1", **more)
    return sensorthings.build(config, "city", ids or MemoryIds())


async def test_creates_each_entity_once_and_finds_it_again(reading, node) -> None:
    server = SensorThings()
    async with Serving(server) as url:
        for ids in (MemoryIds(), MemoryIds()):
            sink = sink_for(url, ids)
            await sink.prepare([node])
            said = await sink.send([reading("pm10", 7.1), reading("laeq", 55.4)])
            assert all(isinstance(outcome, Accepted) for outcome in said)
            await sink.close()
    counts = {name: len(found) for name, found in server.entities.items() if found}
    assert counts == {
        "Things": 1, "Locations": 1, "Datastreams": 2, "Sensors": 1, "ObservedProperties": 2
    }  # fmt: skip
    (thing,) = server.entities["Things"].values()
    assert thing["name"] == f"osn:{node.uuid}"
    (location,) = server.entities["Locations"].values()
    assert location["location"]["coordinates"] == [2.2, 41.4], "GeoJSON: longitude first"


async def test_a_server_that_ignores_a_search_gives_us_no_strangers_entity(
    reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "_NAME_IS", re.compile("never"))
    server = SensorThings()
    async with Serving(server) as url:
        server.set_up_anew()
        sink = sink_for(url)
        with pytest.raises(NoAnswer, match="another entity"):
            await sink.send([reading("pm10", 7.1)])
        await sink.close()
    assert not server.stored


@pytest.mark.parametrize("rows", [[None], [7], ["ok"], [{"@iot.id": 1}]])
async def test_a_row_that_got_no_address_is_not_accepted(reading, rows) -> None:
    async def said(request: web.Request) -> web.Response:
        return web.json_response(rows, status=201)

    server = SensorThings()
    server._create_observations = said
    async with Serving(server) as url:
        sink = sink_for(url)
        with pytest.raises(NoAnswer, match="addresses"):
            await sink.send([reading("pm10", 7.1)])
        await sink.close()


@pytest.mark.parametrize(
    ("location", "id"),
    [
        ("/Things(12)", 12), ("/Things(-3)", -3), ("/Things('a''b')", "a'b"),
        ("/Things(\u00b2)", "\u00b2"),
        (f"/Things({'9' * 5000})", "9" * 5000),
    ],
)  # fmt: skip
def test_ids_out_of_addresses(location: str, id: int | str) -> None:
    assert _sensorthings_entities.entity_id(location) == id


async def test_a_level_has_an_interval_and_a_mass_an_instant(reading) -> None:
    server = SensorThings()
    async with Serving(server) as url:
        sink = sink_for(url)
        await sink.send([reading("pm10", 7.1, 1), reading("laeq", 55.4, 1)])
        await sink.close()
    times = sorted(time for _, time in server.stored)
    assert times == [
        "2026-02-02T02:40:00.000Z/2026-02-02T02:41:00.000Z",
        "2026-02-02T02:41:00.000Z",
    ]


async def test_status_201_does_not_mean_accepted(reading) -> None:
    server = SensorThings({"row_error": 0.5})
    async with Serving(server) as url:
        sink = sink_for(url)
        batch = [reading("pm10", 1.0, minute) for minute in range(40)]
        said = await sink.send(batch)
        await sink.close()
    rejected = [outcome for outcome in said if isinstance(outcome, Rejected)]
    assert 5 < len(rejected) < 35
    assert len(rejected) + server.stored.total() == 40
    assert "violates" in rejected[0].reason


async def test_a_lost_answer_is_read_back(reading) -> None:
    server = SensorThings()
    async with Serving(server) as url:
        sink = sink_for(url)
        await sink.send([reading("pm10", 1.0, 0)])
        server.faults["drop_after"] = 1.0
        batch = [reading("pm10", 1.0, minute) for minute in range(1, 30)]
        batch.append(reading("laeq", 50.0, 3))
        with pytest.raises(NoAnswer):
            await sink.send(batch[:20])
        server.faults.clear()
        await sink.provision([batch[-1].channel])
        held = await sink.read_back(batch)
        await sink.close()
    assert held == [True] * 20 + [False] * 10


async def test_pages_are_followed_when_reading_back(reading) -> None:
    server = SensorThings()
    async with Serving(server) as url:
        sink = sink_for(url, batch=5000)
        batch = [reading("pm10", 1.0, minute / 60) for minute in range(2500)]
        await sink.send(batch)
        assert await sink.read_back(batch) == [True] * 2500
        await sink.close()


async def test_a_datastream_that_is_gone_is_made_anew(reading) -> None:
    server = SensorThings()
    ids = MemoryIds()
    async with Serving(server) as url:
        sink = sink_for(url, ids)
        batch = [reading("pm10", 1.0, 0)]
        await sink.send(batch)
        for found in server.entities.values():
            found.clear()
        assert isinstance((await sink.send(batch))[0], Retry)
        assert isinstance((await sink.send(batch))[0], Accepted)
        await sink.close()


async def test_a_mobile_node_has_a_feature_for_each_place(reading, mobile) -> None:
    server = SensorThings()
    async with Serving(server) as url:
        sink = sink_for(url)
        places = [Place(41.0, 2.0), Place(41.1, 2.1), Place(41.0, 2.0)]
        batch = [
            reading("pm10", 1.0, minute, node=mobile, place=place)
            for minute, place in enumerate(places)
        ]
        lost = reading("pm10", 1.0, 9, node=mobile)
        said = await sink.send([*batch, lost])
        await sink.close()
    assert [type(outcome) for outcome in said] == [Accepted] * 3 + [Retry]
    assert len(server.entities["FeaturesOfInterest"]) == 2


async def test_a_server_error_stores_nothing_and_a_wrong_token_is_no_fault_of_data(
    reading,
) -> None:
    server = SensorThings(token="right")
    async with Serving(server) as url:
        sink = sink_for(url, token=Secret("wrong"))
        with pytest.raises(AccessDenied) as denied:
            await sink.send([reading("pm10", 1.0)])
        assert "wrong" not in str(denied.value)
        await sink.close()
        sink = sink_for(url, token=Secret("right"))
        await sink.send([reading("pm10", 1.0)])
        server.faults["error"] = 1.0
        with pytest.raises(Failed):
            await sink.send([reading("pm10", 1.0, 1)])
        await sink.close()
    assert server.stored.total() == 1


OURS = "osn:6f1c7a52-3b0e-4d52-9a57-0c1b2d3e4f50"


@pytest.mark.parametrize("kind", ["a restart", "a failure", "a silence"])
async def test_a_server_set_up_anew_gets_nothing_under_a_strangers_name(
    kind: str, reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, ids = SensorThings(), MemoryIds()
    async with Serving(server) as url:
        sink = sink_for(url, ids)
        before = [reading("pm10", 7.1, minute) for minute in range(3)]
        await sink.send([*before, reading("laeq", 55.4)])
        server.set_up_anew()
        if kind == "a restart":
            await sink.close()
            sink = sink_for(url, ids)
        elif kind == "a failure":
            server.faults["unavailable"] = 1.0
            with pytest.raises(NotSent):
                await sink.send([reading("pm10", 7.2, 4)])
            server.faults.clear()
        else:
            monkeypatch.setattr(_sensorthings_entities, "SILENCE_S", 0.0)
        said = await sink.send([reading("pm10", 7.2, 4), reading("laeq", 55.5, 4)])
        assert [type(outcome) for outcome in said] == [Accepted, Accepted]
        await sink.close()
    assert server.held() == {f"{OURS}/pm10": 1, f"{OURS}/laeq": 1}
    assert [t["name"] for t in server.entities["Things"].values()][-1] == OURS


async def test_one_row_of_a_datastream_that_is_gone_puts_all_in_doubt(reading) -> None:
    server = SensorThings()
    async with Serving(server) as url:
        sink = sink_for(url)
        await sink.send([reading("pm10", 7.1), reading("laeq", 55.4)])
        streams = server.entities["Datastreams"]
        ids = {stream["name"]: id for id, stream in streams.items()}
        server.set_up_anew()
        streams.pop(ids[f"{OURS}/pm10"], None)
        assert ids[f"{OURS}/laeq"] in streams, "a stranger has it"
        ours, theirs = reading("pm10", 7.2, 4), reading("laeq", 55.5, 4)
        said, other = await sink.send([ours, theirs])
        assert isinstance(said, Retry), "the Datastream is not ours any more"
        assert isinstance(other, Retry), "nor is one that took a row"
        said, other = await sink.send([ours, theirs])
        assert isinstance(said, Accepted)
        assert isinstance(other, Accepted)
        await sink.close()
    assert {f"{OURS}/pm10": 1, f"{OURS}/laeq": 1}.items() <= server.held().items()


async def test_nothing_is_asked_while_readings_flow(reading) -> None:
    server = SensorThings()
    async with Serving(server) as url:
        sink = sink_for(url)
        await sink.send([reading("pm10", 7.1)])
        asked = server.requests["GET"]
        for minute in range(1, 20):
            await sink.send([reading("pm10", 7.1, minute)])
        await sink.close()
    assert server.requests["GET"] == asked
