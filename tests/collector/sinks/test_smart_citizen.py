"""Smart Citizen: 200 is no answer, every item has its time, units of its own."""

import pytest

from collector.secret import Secret
from collector.sinks import smart_citizen
from collector.sinks.base import AccessDenied, MemoryIds, Refused
from collector.structure import KeyFault
from simulator.upstream.base import Serving
from simulator.upstream.smart_citizen import SmartCitizen


def sink_for(url: str, **more) -> smart_citizen.SmartCitizen:
    device = smart_citizen.Device(id=7, particles="sps30")
    config = smart_citizen.Config(url=url, token=Secret("t"), devices={"a1b2c3d4": device}, **more)
    return smart_citizen.build(config, "sc", MemoryIds())


async def test_units_and_seconds(reading) -> None:
    server = SmartCitizen(token="t")
    async with Serving(server) as url:
        sink = sink_for(url)
        batch = [
            reading("pressure", 101325.0), reading("pm2_5", 7.1), reading("number_1", 12.5, 0.505)
        ]  # fmt: skip
        data = sink._data(batch)
        await sink.send(batch)
        await sink.close()
    assert data == [
        {
            "recorded_at": "2026-02-02T02:40:00Z",
            "sensors": [{"id": 58, "value": 101.325}, {"id": 183, "value": 7.1}],
        },
        {"recorded_at": "2026-02-02T02:40:30Z", "sensors": [{"id": 187, "value": 1250.0}]},
    ]
    assert len(server.stored) == 3
    assert server.broken_jobs == 0


async def test_bad_in_a_200_is_a_refusal(reading) -> None:
    server = SmartCitizen({"said_bad": 1.0})
    async with Serving(server) as url:
        sink = sink_for(url)
        with pytest.raises(Refused, match="Timestamp"):
            await sink.send([reading("pm2_5", 7.1)])
        await sink.close()


async def test_a_device_that_is_not_there_and_a_wrong_token(reading) -> None:
    for server in (SmartCitizen(devices=frozenset((8,))), SmartCitizen(token="other")):
        async with Serving(server) as url:
            sink = sink_for(url)
            with pytest.raises(AccessDenied):
                await sink.send([reading("pm2_5", 7.1)])
            await sink.close()


async def test_by_mqtt_the_token_is_in_the_topic(reading) -> None:
    from simulator.upstream.mqtt import MqttBroker

    broker = MqttBroker()
    async with broker.serving() as url:
        port = int(url.rsplit(":", 1)[1])
        config = smart_citizen.Config(
            mqtt=smart_citizen.PublisherSettings(port=port),
            devices={"a1b2c3d4": smart_citizen.Device(token=Secret("abc123"))},
        )
        sink = smart_citizen.build(config, "sc", MemoryIds())
        await sink.send([reading("laeq", 55.0)])
        await sink.close()
    ((topic, payload),) = broker.stored
    assert topic == "device/sck/abc123/readings"
    assert b'"recorded_at":"2026-02-02T02:40:00Z"' in payload
    assert "abc123" not in repr(config)


def test_what_each_way_needs() -> None:
    device = smart_citizen.Device(id=7)
    with pytest.raises(KeyFault, match="token"):
        smart_citizen.Config(devices={"a": device})
    with pytest.raises(KeyFault, match="device's token"):
        smart_citizen.Config(devices={"a": device}, mqtt=smart_citizen.PublisherSettings())
