"""Whoever is told to end does end, also where a library swallows the cancellation."""

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import collector
from collector.settings import MqttSettings
from collector.transports.mqtt import MqttTransport

NODE = 0xA1B2C3D4
TURNS = 50


async def answered_as_it_is_cancelled() -> None:
    """Waits like aiomqtt; the answer and the cancellation come in one turn of the loop."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    loop.call_soon(answer.set_result, None)
    loop.call_soon(task.cancel)
    await asyncio.wait_for(answer, 240)


class Client:
    """Stands for aiomqtt's client; `ends` is the call within which the task is cancelled."""

    def __init__(self, ends: str) -> None:
        self._ends = ends
        self.published = 0

    async def __aenter__(self) -> "Client":
        return await self._call("enter")

    async def __aexit__(self, *exception: object) -> None:
        return None

    async def subscribe(self, topic: str, qos: int) -> None:
        await self._call("subscribe")

    async def publish(self, *arguments: object, **options: object) -> None:
        self.published += 1
        await self._call("publish")

    async def _call(self, name: str) -> "Client":
        if name == self._ends:
            await answered_as_it_is_cancelled()
        return self

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


@pytest.mark.parametrize("ends", ["enter", "subscribe"])
async def test_a_transport_ends_that_is_cancelled_while_it_connects(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = MqttTransport(MqttSettings())
    monkeypatch.setattr(transport, "_client", lambda deliver: Client(ends))
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
    task = asyncio.create_task(transport._publish(client))  # type: ignore[arg-type]
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
