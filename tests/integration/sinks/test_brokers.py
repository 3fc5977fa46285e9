"""The mqtt and home_assistant sinks, and the collector's transport, against real brokers."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiomqtt
import pytest

from collector.settings import MqttSettings
from collector.sinks import home_assistant, mqtt
from collector.sinks.base import MemoryIds
from collector.transports.mqtt import MqttTransport
from tests.integration.sinks.nats import nats

pytestmark = pytest.mark.integration
NODE = 0xA1B2C3D4


@pytest.fixture(params=["mosquitto", "NATS"])
def broker(request: pytest.FixtureRequest, tmp_path: Path, required) -> Iterator[int]:
    """Port of a broker."""
    if request.param == "mosquitto":
        yield request.getfixturevalue("mosquitto")().port
        return
    if shutil.which("go") is None:
        pytest.skip("Go is not installed; it builds NATS")
    with ExitStack() as stack:
        with required():
            port = stack.enter_context(nats(tmp_path))
        yield port


async def until(holds: Callable[[], object]) -> None:
    deadline_s = asyncio.get_running_loop().time() + 240
    while not holds():
        assert asyncio.get_running_loop().time() < deadline_s, "it never came true"
        await asyncio.sleep(0.01)


async def listen(port: int, topic: str, found: list[aiomqtt.Message], ready: asyncio.Event) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topic, qos=1)
        ready.set()
        async for message in client.messages:
            found.append(message)


def test_every_reading_is_published(broker: int, forward, readings: int) -> None:
    found: list[aiomqtt.Message] = []
    sink = mqtt.build(mqtt.Config(mqtt=mqtt.PublisherSettings(port=broker)), "mqtt", MemoryIds())
    prepare, send = sink.prepare, sink.send
    listening: list[asyncio.Task[None]] = []

    async def prepared(nodes) -> None:
        ready = asyncio.Event()
        listening.append(asyncio.create_task(listen(broker, "osn/readings/#", found, ready)))
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


def test_discovery_stays_with_the_broker(broker: int, forward) -> None:
    settings = home_assistant.PublisherSettings(port=broker)
    forward(
        home_assistant.build(home_assistant.Config(mqtt=settings), "home", MemoryIds()), "street"
    )

    async def retained() -> list[aiomqtt.Message]:
        found: list[aiomqtt.Message] = []
        task = asyncio.create_task(listen(broker, "homeassistant/#", found, asyncio.Event()))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    found = asyncio.run(retained())
    assert found
    assert all(json.loads(message.payload)["cmps"] for message in found)


async def test_frames_come_up_and_downlinks_go_down(broker: int) -> None:
    received: list[bytes] = []
    settings = MqttSettings(port=broker, reconnect_s=0.05, reconnect_longest_s=0.1)
    transport = MqttTransport(settings)
    running = asyncio.create_task(transport.run(lambda raw, source: received.append(raw)))
    try:
        await until(lambda: transport.state.connected)
        async with aiomqtt.Client("127.0.0.1", broker) as node:
            await node.subscribe("osn/1/a1b2c3d4/d")
            await node.publish("osn/1/a1b2c3d4/u", b"frame", qos=1)
            await until(lambda: received)
            assert transport.send(NODE, b"ack")
            async with asyncio.timeout(10):
                message = await anext(node.messages)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (received, message.payload, message.retain) == ([b"frame"], b"ack", False)
