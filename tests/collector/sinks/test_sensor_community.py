"""sensor.community: P1 is PM10, one request a pin, unknown nodes and names."""

import pytest

from collector.sinks import sensor_community
from collector.sinks.base import AccessDenied, MemoryIds, Refused
from collector.structure import KeyFault
from simulator.upstream.base import Serving
from simulator.upstream.sensor_community import SensorCommunity

UIDS = {"a1b2c3d4": "raspi-a1b2c3d4"}


def sink_for(url: str, **more) -> sensor_community.SensorCommunity:
    config = sensor_community.Config(url=f"{url}/v1/push-sensor-data/", uids=UIDS, **more)
    return sensor_community.build(config, "sc", MemoryIds())


async def test_a_request_for_each_pin_and_time(reading) -> None:
    server = SensorCommunity()
    batch = [
        reading("pm10", 12.3), reading("pm2_5", 7.1), reading("temperature", 21.5),
        reading("pressure", 101325.0), reading("laeq", 55.4), reading("pm10", 12.4, 3),
    ]  # fmt: skip
    async with Serving(server) as url:
        sink = sink_for(url)
        for group in sink.split(batch):
            await sink.send(group.observations)
        await sink.close()
    sent = [
        {row["value_type"]: row["value"] for row in body["sensordatavalues"]}
        for body in server.bodies
    ]
    assert sent == [
        {"P1": "12.3", "P2": "7.1"},
        {"temperature": "21.5", "pressure": "101325"},
        {"noise_LAeq": "55.4"},
        {"P1": "12.4"},
    ]
    assert all("timestamp" not in body for body in server.bodies), "live readings have no time"


async def test_backfill_sends_the_time(reading) -> None:
    server = SensorCommunity()
    async with Serving(server) as url:
        sink = sink_for(url, backfill=True)
        await sink.send([reading("pm10", 12.3)])
        await sink.close()
    assert server.bodies[0]["timestamp"] == "2026-02-02T02:40:00.000Z"
    assert sink.capabilities.backlog


def test_live_only_unless_said_otherwise(reading) -> None:
    sink = sink_for("http://127.0.0.1:1")
    assert not sink.capabilities.backlog
    assert sink.capabilities.interval_s == 145


async def test_the_published_server_knows_fewer_names(reading) -> None:
    server = SensorCommunity(strict=True)
    async with Serving(server) as url:
        sink = sink_for(url, names="published")
        assert sink.upstream_name(reading("pm4", 1.0).channel) is None
        assert sink.upstream_name(reading("co2", 1.0).channel) is None
        await sink.send([reading("laeq", 55.0)])
        await sink.close()
        modern = sink_for(url)
        with pytest.raises(Refused, match="not a valid choice"):
            await modern.send([reading("pm4", 1.0)])
        await modern.close()
    assert [key[1] for key in server.stored] == ["noise_Leq"]


async def test_an_unknown_node_concerns_its_address_only(reading) -> None:
    server = SensorCommunity(nodes=["raspi-other"])
    async with Serving(server) as url:
        sink = sink_for(url)
        with pytest.raises(AccessDenied, match="Node not found"):
            await sink.send([reading("pm10", 1.0)])
        await sink.close()
    (group,) = sink.split([reading("pm10", 1.0)])
    assert group.address == "raspi-a1b2c3d4/1"


def test_second_sensors_and_corrected_values_are_not_sent(reading) -> None:
    sink = sink_for("http://127.0.0.1:1")
    assert sink.upstream_name(reading("pm10", 1.0, instance=1).channel) is None
    assert sink.upstream_name(reading("pm10", 1.0, formula="linear-1").channel) is None


def test_the_slash_at_the_end_matters() -> None:
    with pytest.raises(KeyFault, match="must end with /"):
        sensor_community.Config(url="https://example.org/v1/push-sensor-data", uids=UIDS)
