"""The one MQTT client: its watches of a socket never outlive it, and it knows its libraries."""

import asyncio
import socket
import threading
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.client import Client as PahoClient

from collector import daemon
from collector.config import parse
from collector.exit_codes import EXIT_CONFIG
from collector.settings import MqttSettings
from collector.sinks._mqtt import Publisher, PublisherSettings
from collector.transports import mqtt as transport_mqtt
from collector.transports.mqtt import MqttTransport
from collector.transports.mqtt_client import (
    SUPPORTED,
    BrokerClient,
    PromptLoop,
    UnsupportedLibraries,
    probe,
)
from simulator.upstream.mqtt import MqttBroker

ROOT = Path(__file__).parents[2]
CONNACK = b"\x20\x02\x00\x00"


class Faults:
    """What the event loop was told of callbacks that failed."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self.seen.append(context)
        )


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def transports_client(port: int) -> aiomqtt.Client:
    return MqttTransport(MqttSettings(port=port))._client(lambda raw, source: None)


def sinks_client(port: int) -> aiomqtt.Client:
    return Publisher(PublisherSettings(port=port), "test")._made()


def plain_client(port: int) -> aiomqtt.Client:
    return BrokerClient("127.0.0.1", port)


CLIENTS = pytest.mark.parametrize("make", [transports_client, sinks_client, plain_client])
Make = Callable[[int], aiomqtt.Client]


@asynccontextmanager
async def connected(make: Make) -> AsyncIterator[tuple[aiomqtt.Client, socket.socket, int]]:
    """A client, the broker's end of its connection, and the number of its own end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = make(server.getsockname()[1])
        entering = asyncio.create_task(client.__aenter__())
        end, _ = await asyncio.to_thread(server.accept)
        with end:
            end.sendall(CONNACK)
            before = numbers()
            await entering
            ours = next(n for n in before if is_peer(n, end))
            yield client, end, ours


def numbers() -> list[int]:
    return sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())


def is_peer(number: int, end: socket.socket) -> bool:
    """Whether a number is the other end of a connection."""
    try:
        with socket.socket(fileno=number) as other:
            try:
                return other.getsockname() == end.getpeername()
            finally:
                other.detach()
    except OSError:
        return False


@CLIENTS
async def test_a_socket_closed_in_the_turn_of_its_watch_is_not_watched(make: Make) -> None:
    faults = Faults()
    async with connected(make) as (client, end, _):
        end.close()
        await asyncio.sleep(0)
        client._client.publish("a", b"b", qos=0)
        await turns()
    assert not faults.seen


@CLIENTS
async def test_another_socket_with_the_same_number_is_left_alone(make: Make) -> None:
    loop = asyncio.get_running_loop()
    others: list[socket.socket] = []

    def take_the_number() -> None:
        while number not in (other.fileno() for other in others) and len(others) < 50:
            others.extend(socket.socketpair())

    async with connected(make) as (client, end, number):
        end.close()
        await asyncio.sleep(0)
        loop.call_soon(take_the_number)
        client._client.publish("a", b"b", qos=0)
        await turns()
        assert number in (other.fileno() for other in others)
        assert not loop.remove_writer(number)
    for other in others:
        other.close()


async def test_a_watch_from_another_thread_of_a_socket_that_is_closed_by_then_is_none() -> None:
    faults = Faults()
    prompt: Any = PromptLoop(asyncio.get_running_loop())

    def connect_and_lose() -> None:
        left, right = socket.socketpair()
        with left, right:
            prompt.call_soon_threadsafe(prompt.add_reader, left.fileno(), lambda: None)
            prompt.call_soon_threadsafe(prompt.add_writer, left.fileno(), lambda: None)

    thread = threading.Thread(target=connect_and_lose)
    thread.start()
    thread.join()
    await turns()
    assert not faults.seen


async def test_messages_of_every_quality_are_handed_over() -> None:
    heard: asyncio.Queue[tuple[bytes, bytes, bool]] = asyncio.Queue()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = BrokerClient(
            "127.0.0.1", server.getsockname()[1], message=lambda *found: heard.put_nowait(found)
        )
        entering = asyncio.create_task(client.__aenter__())
        end, _ = await asyncio.to_thread(server.accept)
        with end:
            end.sendall(CONNACK + b"\x31\x04\x00\x01ax" + b"\x32\x06\x00\x01b\x00\x07y")
            await entering
            async with asyncio.timeout(60):
                found = [await heard.get(), await heard.get()]
            await client.__aexit__(None, None, None)
    assert found == [(b"a", b"x", True), (b"b", b"y", False)]


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


async def test_the_installed_libraries_are_as_the_client_needs_them() -> None:
    await probe()


def without_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiomqtt that keeps its loop under another name."""
    init = aiomqtt.Client.__init__

    def renamed(self: Any, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self._event_loop = self.__dict__.pop("_loop")

    monkeypatch.setattr(aiomqtt.Client, "__init__", renamed)


def with_another_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiomqtt that has a `_loop` and does not use it."""
    opened = aiomqtt.Client._on_socket_open

    def bypassing(self: Any, *arguments: Any) -> None:
        prompt, self._loop = self._loop, self.prompt_loop._loop
        opened(self, *arguments)
        self._loop = prompt

    def deferred(self: Any, *arguments: Any) -> None:
        self.prompt_loop._loop.call_soon_threadsafe(bypassing, self, *arguments)

    monkeypatch.setattr(aiomqtt.Client, "_on_socket_open", deferred)


def without_create_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """paho that makes its socket in another method."""
    monkeypatch.delattr(PahoClient, "_create_socket")


def with_another_create_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """paho that has the method, with an argument more."""

    def reconnect(self: Any) -> None:
        self._sock = self._create_socket(5.0)

    monkeypatch.setattr(PahoClient, "reconnect", reconnect)


BREAKS = pytest.mark.parametrize(
    "change", [without_a_loop, with_another_loop, without_create_socket, with_another_create_socket]
)


@BREAKS
async def test_libraries_of_another_shape_are_named_with_what_to_install(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    with pytest.raises(UnsupportedLibraries, match=r"aiomqtt \d.* pip install 'aiomqtt>=2"):
        await probe()


def test_the_daemon_does_not_start_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_create_socket(monkeypatch)
    config = parse({"collector": {"data": str(tmp_path)}, "mqtt": [{}]}, tmp_path / "c.toml", "")
    assert daemon.run_daemon(config) == EXIT_CONFIG
    assert "pip install 'aiomqtt" in caplog.text


def test_the_package_asks_for_the_versions_that_were_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, versions in SUPPORTED.items():
        assert f"{name}{versions}" in project["dependencies"]
