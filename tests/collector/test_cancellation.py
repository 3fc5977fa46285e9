"""Whoever is told to end does end, also where a library swallows the cancellation."""

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiomqtt
import pytest

import collector
from collector.settings import MqttSettings
from collector.transports.mqtt import MqttTransport
from collector.transports.mqtt_client import BrokerClient

NODE = 0xA1B2C3D4
TURNS = 50


Answer = Callable[[asyncio.Future[None]], None]


def succeeds(answer: "asyncio.Future[None]") -> None:
    answer.set_result(None)


def fails(answer: "asyncio.Future[None]") -> None:
    answer.set_exception(aiomqtt.MqttError("the broker went away"))


async def answered_as_it_is_cancelled(how: Answer) -> None:
    """Waits like aiomqtt; the answer and the cancellation come in one turn of the loop."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()
    loop.call_soon(how, answer)
    loop.call_soon(task.cancel)
    await asyncio.wait_for(answer, 240)


class Client(BrokerClient):
    """A client without a broker; `ends` is the call within which the task is cancelled."""

    def __init__(self, ends: str, how: Answer = succeeds) -> None:
        super().__init__("127.0.0.1")
        self._ends = ends
        self._how = how
        self.published = 0

    async def __aenter__(self) -> Self:
        await self._call("enter")
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._call("exit")

    async def listen(self, topic: str, qos: int = 0) -> None:
        await self._call("listen")
        if self._ends == "exit":
            raise aiomqtt.MqttError("the broker went away")

    async def publish(self, *arguments: object, **options: object) -> None:
        self.published += 1
        await self._call("publish")

    async def _call(self, name: str) -> None:
        if name == self._ends:
            await answered_as_it_is_cancelled(self._how)

    @property
    async def messages(self) -> Any:
        await asyncio.Event().wait()
        yield None


async def turns(holds: Callable[[], bool]) -> bool:
    for _ in range(TURNS):
        if holds():
            return True
        await asyncio.sleep(0)
    return holds()


@pytest.mark.parametrize("how", [succeeds, fails])
@pytest.mark.parametrize("ends", ["enter", "listen", "exit"])
async def test_a_transport_ends_that_is_cancelled_while_it_connects(
    ends: str, how: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = MqttTransport(MqttSettings())
    monkeypatch.setattr(transport, "_client", lambda deliver: Client(ends, how))
    task = asyncio.create_task(transport.run(lambda raw, source: None))
    ended = await turns(task.done)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert ended
    assert task.cancelled()
    assert not transport.state.connected


async def test_publishing_ends_that_is_cancelled_amid_a_publish() -> None:
    transport = MqttTransport(MqttSettings())
    client = Client("publish")
    transport._outbox.put_nowait((NODE, b"first"))
    transport._outbox.put_nowait((NODE, b"second"))
    task = asyncio.create_task(transport._publish(client))
    ended = await turns(task.done)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert ended
    assert task.cancelled()
    assert client.published == 1


def test_the_collector_itself_never_waits_with_wait_for() -> None:
    """`asyncio.timeout` and `asyncio.wait` pass a cancellation on in every version of Python."""
    uses = [
        f"{path.name}:{node.lineno}"
        for path in Path(collector.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name | ast.alias)
        and (getattr(node, "attr", None) or getattr(node, "id", None) or getattr(node, "name", ""))
        == "wait_for"
    ]
    assert uses == []
