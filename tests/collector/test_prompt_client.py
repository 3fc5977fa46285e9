"""aiomqtt's watches of its socket never outlive what they are for."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import aiomqtt
import pytest

from collector.settings import MqttSettings
from collector.sinks import _mqtt as sink_mqtt
from collector.transports import mqtt as transport_mqtt
from collector.transports.mqtt import MqttTransport
from collector.transports.prompt_client import PromptClient
from simulator.upstream.mqtt import MqttBroker

TURNS = 5


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


class Faults:
    """What the event loop was told of callbacks that failed."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self.seen.append(context)
        )


async def turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def transports_client() -> aiomqtt.Client:
    return MqttTransport(MqttSettings())._client(lambda raw, source: None)


def sinks_client() -> aiomqtt.Client:
    return sink_mqtt.MqttClient(sink_mqtt.MqttSettings(), "test")._made()


def probing_client() -> aiomqtt.Client:
    """What `reach` enters."""
    return PromptClient(**transport_mqtt._options(MqttSettings()))


CLIENTS = pytest.mark.parametrize("make", [transports_client, sinks_client, probing_client])


@CLIENTS
async def test_a_socket_closed_in_the_turn_of_its_watch_is_not_watched(make, pair) -> None:
    ours, _ = pair
    faults = Faults()
    paho: Any = make()._client
    paho._sock = ours
    paho._call_socket_register_write()
    paho._sock_close()
    await turn()
    assert not faults.seen


@CLIENTS
async def test_another_socket_with_the_same_number_is_left_alone(make, pair) -> None:
    ours, _ = pair
    paho: Any = make()._client
    paho._sock = ours
    number = ours.fileno()
    paho._call_socket_register_write()
    paho._sock_close()
    left, right = socket.socketpair()
    with left, right:
        assert number in (left.fileno(), right.fileno())
        await turn()
        assert not asyncio.get_running_loop().remove_writer(number)


@CLIENTS
async def test_nothing_is_watched_once_there_is_nothing_to_write(make, pair) -> None:
    ours, _ = pair
    paho: Any = make()._client
    paho._sock = ours
    paho._call_socket_register_write()
    paho._call_socket_unregister_write()
    await turn()
    assert not asyncio.get_running_loop().remove_writer(ours.fileno())


@CLIENTS
async def test_a_socket_closed_by_the_connecting_thread_is_not_watched(make, pair) -> None:
    ours, _ = pair
    faults = Faults()
    paho: Any = make()._client

    def connect_and_lose() -> None:
        paho._sock = ours
        paho._call_socket_open(ours)
        paho._call_socket_register_write()
        paho._sock_close()

    await asyncio.to_thread(connect_and_lose)
    await turn()
    assert not faults.seen


async def test_a_subscription_that_is_refused_is_no_connection() -> None:
    broker = MqttBroker()
    broker.denied = ("osn/1/",)
    async with broker.serving() as url:
        settings = MqttSettings(port=int(url.rsplit(":", 1)[1]), reconnect_s=0.01)
        transport = MqttTransport(settings)
        running = asyncio.create_task(transport.run(lambda raw, source: None))
        async with asyncio.timeout(60):
            while "subscribe to osn/1/+/u" not in transport.state.reason:
                assert not transport.state.connected
                await asyncio.sleep(0.01)
        assert transport.state.counters.connects == 0
        with pytest.raises(transport_mqtt.UNREACHED, match="access list"):
            await transport_mqtt.reach(settings)
        broker.denied = ()
        async with asyncio.timeout(60):
            while not transport.state.connected:
                assert not running.done()
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
