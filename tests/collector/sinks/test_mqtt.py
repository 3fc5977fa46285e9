"""MQTT: a message or a pack, accepted with its PUBACK."""

import json
from dataclasses import replace

import pytest

from collector.secret import Secret
from collector.sinks import mqtt
from collector.sinks.base import Accepted, AccessDenied, MemoryIds, NotSent, Unknown
from collector.structure import KeyFault
from simulator.upstream.mqtt import MqttBroker


def sink_for(url: str, password: str | None = None, **more) -> mqtt.Mqtt:
    settings = mqtt.PublisherSettings(
        port=int(url.rsplit(":", 1)[1]),
        user="u" if password else None,
        password=Secret(password) if password else None,
        timeout_s=5,
    )
    return mqtt.build(mqtt.Config(mqtt=settings, **more), "mqtt", MemoryIds())


async def test_a_message_for_each_reading(reading, node) -> None:
    broker = MqttBroker()
    async with broker.serving() as url:
        sink = sink_for(url, topic="city/{node}/{channel}")
        said = await sink.send([reading("pm10", 7.1), reading("pm10", 7.2, 1, instance=1)])
        await sink.close()
    assert said == [Accepted(), Accepted()]
    found = {topic: json.loads(payload) for topic, payload in broker.stored}
    assert list(found) == ["city/a1b2c3d4/pm10", "city/a1b2c3d4/pm10.1"]
    assert found["city/a1b2c3d4/pm10"] == {
        "node": "a1b2c3d4", "uuid": str(node.uuid), "channel": "pm10",
        "time": "2026-02-02T02:40:00.000Z", "value": 7.1, "unit": "ug/m3", "quality": "ok",
        "place": [2.2, 41.4],
    }  # fmt: skip


async def test_a_pack_for_each_node_and_time(reading, node) -> None:
    broker = MqttBroker()
    async with broker.serving() as url:
        sink = sink_for(url, format="senml")
        await sink.send([reading("pm10", 7.1), reading("temperature", 20.5), reading("pm10", 7, 1)])
        await sink.close()
    packs = [json.loads(payload) for _, payload in broker.stored]
    assert packs[0] == [
        {"bn": f"urn:uuid:{node.uuid}/", "bt": 1770000000.0, "n": "pm10", "u": "ug/m3", "v": 7.1},
        {"n": "temperature", "u": "Cel", "v": 20.5},
    ]
    assert len(packs) == 2


async def test_without_a_puback_nobody_knows(reading) -> None:
    broker = MqttBroker({"drop_after": 1.0})
    async with broker.serving() as url:
        sink = sink_for(url)
        (said,) = await sink.send([reading("pm10", 7.1)])
        assert isinstance(said, Unknown)
        broker.faults.clear()
        (said,) = await sink.send([reading("pm10", 7.1)])
        assert isinstance(said, Accepted), "connects again"
        await sink.close()


async def test_a_broker_that_refuses(reading) -> None:
    broker = MqttBroker(password="right")
    async with broker.serving() as url:
        sink = sink_for(url, password="wrong")
        with pytest.raises(AccessDenied) as denied:
            await sink.send([reading("pm10", 7.1)])
        assert "wrong" not in str(denied.value)
    with pytest.raises(NotSent, match="cannot connect"):
        await sink_for("mqtt://127.0.0.1:1").send([reading("pm10", 7.1)])


def test_topics_and_tls() -> None:
    for topic in ("a/+", "a/#", "a/{secret}", "a/{0}"):
        with pytest.raises(KeyFault):
            mqtt.Config(topic=topic)
    with pytest.raises(KeyFault, match="not this machine"):
        mqtt.PublisherSettings(host="broker.example.org")


@pytest.mark.parametrize("name", ["#+/", "$SYS/broker", "a\u0000b", "", "\ud800"])
async def test_no_name_of_a_node_makes_a_topic_that_mqtt_forbids(reading, node, name: str) -> None:
    broker = MqttBroker()
    named = replace(node, name=name)
    async with broker.serving() as url:
        sink = sink_for(url, topic="{name}")
        said = await sink.send([reading("pm10", 7.1, node=named), reading("pm10", 7.2, 1)])
        await sink.close()
    assert said == [Accepted(), Accepted()]
    assert not any(set("+#\0$") & set(topic) for topic, _ in broker.stored)
