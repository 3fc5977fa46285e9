"""The mqtt and home_assistant sinks against a real mosquitto."""

import asyncio
import json

import aiomqtt
import pytest

from collector.sinks import home_assistant, mqtt
from collector.sinks.base import MemoryIds

pytestmark = pytest.mark.integration


async def listen(port: int, topic: str, found: list[aiomqtt.Message], ready: asyncio.Event) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topic, qos=1)
        ready.set()
        async for message in client.messages:
            found.append(message)


def test_every_reading_is_published(mosquitto, forward, readings: int) -> None:
    broker = mosquitto()
    found: list[aiomqtt.Message] = []
    sink = mqtt.build(mqtt.Config(mqtt=mqtt.MqttSettings(port=broker.port)), "mqtt", MemoryIds())
    prepare, send = sink.prepare, sink.send
    listening: list[asyncio.Task[None]] = []

    async def prepared(nodes) -> None:
        ready = asyncio.Event()
        listening.append(asyncio.create_task(listen(broker.port, "osn/readings/#", found, ready)))
        await ready.wait()
        await prepare(nodes)

    async def sent(batch):
        outcomes = await send(batch)
        await asyncio.sleep(0.05)
        return outcomes

    sink.prepare, sink.send = prepared, sent
    forward(sink, "street")
    documents = [json.loads(message.payload) for message in found]
    keys = {(one["node"], one["channel"], one["time"]) for one in documents}
    assert len(keys) == readings


def test_discovery_stays_with_the_broker(mosquitto, forward) -> None:
    broker = mosquitto()
    settings = home_assistant.MqttSettings(port=broker.port)
    forward(
        home_assistant.build(home_assistant.Config(mqtt=settings), "home", MemoryIds()), "street"
    )

    async def retained() -> list[aiomqtt.Message]:
        found: list[aiomqtt.Message] = []
        task = asyncio.create_task(listen(broker.port, "homeassistant/#", found, asyncio.Event()))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    found = asyncio.run(retained())
    assert found
    assert all(json.loads(message.payload)["cmps"] for message in found)
