"""openSenseMap: both servers, units by the box, one bad item kills a request."""

import pytest
from aiohttp import web

from collector.readings.observation import Place
from collector.secret import Secret
from collector.sinks import opensensemap
from collector.sinks.base import AccessDenied, Failed, MemoryIds, NotSent, Refused, Rejected
from simulator.upstream.base import Serving
from simulator.upstream.opensensemap import OpenSenseMap

BOX = "5c21ff8f919bf8001adf2488"
SENSORS = {
    "5c21ff8f919bf8001adf2489": ("PM10", "µg/m³"),
    "5c21ff8f919bf8001adf248a": ("Luftdruck", "hPa"),
}


def server_with_a_box(newer: bool = False) -> OpenSenseMap:
    server = OpenSenseMap(newer=newer)
    server.add_box(BOX, "token", SENSORS)
    server.now_s = lambda: 1_770_000_000.0 + 7200
    return server


def sink_for(url: str, token: str = "token", box: str = BOX, **more):
    boxes = {"a1b2c3d4": opensensemap.Box(id=box, token=Secret(token), **more)}
    return opensensemap.build(opensensemap.Config(url=url, boxes=boxes), "osem", MemoryIds())


@pytest.mark.parametrize("newer", [False, True])
async def test_all_sensors_of_a_box_in_one_request(reading, newer: bool) -> None:
    server = server_with_a_box(newer)
    async with Serving(server) as url:
        sink = sink_for(url)
        batch = [reading("pressure", 101325.0, 1), reading("pm10", 7.1, 0)]
        (group,) = sink.split(batch)
        assert [o.time_ms for o in group.observations] == sorted(o.time_ms for o in batch)
        await sink.send(group.observations)
        held = await sink.read_back([*batch, reading("pm10", 7.1, 5)])
        await sink.close()
    assert held == [True, True, False]
    assert server.requests["POST"] == 1


async def test_a_box_in_hectopascal_gets_hectopascal(reading) -> None:
    server = server_with_a_box()
    async with Serving(server) as url:
        sink = sink_for(url)
        await sink.prepare([reading("pressure", 1.0).channel.node])
        box = sink._box(reading("pressure", 1.0).channel.node)
        assert sink._measurement(box, reading("pressure", 101325.0))["value"] == "1013.25"
        await sink.close()


async def test_times_are_written_with_z_and_milliseconds(reading) -> None:
    sink = sink_for("http://127.0.0.1:1")
    sink._sensors[BOX, "pm10"] = opensensemap._Sensor("5c21ff8f919bf8001adf2489", 1.0)
    box = sink._box(reading("pm10", 1.0).channel.node)
    made = sink._measurement(box, reading("pm10", 7.1, 0.5))
    assert made["createdAt"] == "2026-02-02T02:40:30.000Z"


async def test_a_mobile_reading_has_its_place_longitude_first(reading, mobile) -> None:
    sink = sink_for("http://127.0.0.1:1")
    box = opensensemap.Box(id=BOX)
    sink._sensors[BOX, "pm10"] = opensensemap._Sensor("5c21ff8f919bf8001adf2489", 1.0)
    made = sink._measurement(box, reading("pm10", 7.1, node=mobile, place=Place(41.0, 2.0, 12.0)))
    assert made["location"] == [2.0, 41.0, 12.0]


async def test_a_future_time_kills_the_whole_request(reading) -> None:
    for newer, outcome in ((False, Refused), (True, Failed)):
        server = server_with_a_box(newer)
        async with Serving(server) as url:
            sink = sink_for(url)
            with pytest.raises(outcome):
                await sink.send([reading("pm10", 1.0, 0), reading("pm10", 1.0, 600)])
            await sink.close()
        assert not server.stored


async def test_a_wrong_token_and_an_unknown_box_concern_that_box(reading) -> None:
    server = server_with_a_box()
    async with Serving(server) as url:
        for sink in (sink_for(url, token="wrong"), sink_for(url, box="0" * 24)):
            with pytest.raises(AccessDenied) as denied:
                await sink.send([reading("pm10", 1.0)])
            assert "token" not in str(denied.value).replace("Box access token", "")
            await sink.close()


@pytest.mark.parametrize(
    ("status", "words"), [(404, "no box"), (403, "403"), (401, "401"), (410, "410"), (400, "400")]
)
async def test_a_box_that_cannot_be_looked_at_is_its_nodes_fault_alone(
    reading, status: int, words: str
) -> None:
    async def said(request: web.Request) -> web.Response:
        return web.Response(status=status)

    server = server_with_a_box()
    server._box = said
    async with Serving(server) as url:
        sink = sink_for(url)
        await sink.prepare([reading("co2", 1.0).channel.node])
        with pytest.raises(Refused, match=words):
            await sink.provision([reading("co2", 1.0).channel])
        await sink.close()


async def test_a_box_without_such_a_sensor(reading) -> None:
    server = server_with_a_box()
    async with Serving(server) as url:
        sink = sink_for(url)
        await sink.prepare([reading("co2", 1.0).channel.node])
        assert sink.upstream_name(reading("co2", 400.0).channel) is None
        said = await sink.send([reading("co2", 400.0), reading("pm10", 1.0)])
        await sink.close()
    assert isinstance(said[0], Rejected)
    assert server.stored.total() == 1


def test_the_backlog_goes_before_live_readings() -> None:
    assert sink_for("http://127.0.0.1:1").capabilities.oldest_first


@pytest.mark.parametrize("newer", [False, True])
async def test_a_sensor_that_its_owner_made_anew_is_found_again(
    reading, newer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_with_a_box(newer)
    async with Serving(server) as url:
        sink = sink_for(url)
        await sink.send([reading("pm10", 7.1)])
        server.boxes[BOX]["sensors"][0]["_id"] = "5c21ff8f919bf8001adf2499"
        with pytest.raises((Refused, Failed)):
            await sink.send([reading("pm10", 7.2, 1)])
        asked = server.requests["GET"]
        monkeypatch.setattr(opensensemap, "RELOOK_S", 0.0)
        with pytest.raises(NotSent, match="other sensors"):
            await sink.send([reading("pm10", 7.2, 1)])
        assert server.requests["GET"] == asked + 1
        await sink.send([reading("pm10", 7.2, 1)])
        await sink.close()
    assert [sensor for sensor, _ in server.stored] == [
        "5c21ff8f919bf8001adf2489",
        "5c21ff8f919bf8001adf2499",
    ]
