"""An MQTT client that watches its socket at once; every part of ours that speaks MQTT uses it.

aiomqtt defers each watch of its socket, because paho connects in another thread. Between the turns
paho may have closed the socket or have nothing left to write: the watch then fails, is set on
another connection that got the same number, or wakes the loop again and again.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiomqtt

CLOSED = (OSError, ValueError, RuntimeError)
"""What a loop raises for a number that is no open socket any more, or another transport's."""

FAILURE_CODES_FROM = 128


class _PromptLoop:
    """Stands for the running loop; all but `call_soon_threadsafe` is the loop's own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._read: Callable[[], object] | None = None
        self._reads_again = False

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Calls now in the loop's own thread, in the next turn from any other."""
        if threading.get_ident() == self._thread:
            _call(callback, *arguments)
        else:
            self._loop.call_soon_threadsafe(_call, callback, *arguments)

    def add_reader(self, number: int, callback: Callable[[], object]) -> None:
        """The loop's own; remembers what reads the socket."""
        self._read = callback
        self._loop.add_reader(number, callback)

    def remove_reader(self, number: int) -> bool:
        """The loop's own; what read the socket is not called any more."""
        self._read = None
        return self._loop.remove_reader(number)

    def read_again(self) -> None:
        """Reads in the next turn of the loop, whether or not the network has more by then."""
        if not self._reads_again:
            self._reads_again = True
            self._loop.call_soon(self._read_now)

    def _read_now(self) -> None:
        self._reads_again = False
        if self._read is not None:
            self._read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


def _call(callback: Callable[..., object], *arguments: Any) -> None:
    with suppress(*CLOSED):
        callback(*arguments)


class SubscriptionRefused(aiomqtt.MqttError):
    """The broker lets us in, but not listen."""


class PromptClient(aiomqtt.Client):
    """aiomqtt's client, made in a running loop; takes what that takes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        inner: Any = self
        inner._loop = self._prompt = _PromptLoop(self._loop)

    def read_again(self) -> None:
        """Reads what a buffer still holds in the next turn of the loop."""
        self._prompt.read_again()

    async def listen(self, topic: str, qos: int = 0) -> None:
        """Subscribes. Raises SubscriptionRefused with what to do when the broker does not let us.

        aiomqtt takes any SUBACK for a success; a code from 128 up (MQTT 3.1.1, 3.9.3) is none.
        """
        for code in await self.subscribe(topic, qos=qos):
            number = getattr(code, "value", code)
            if number >= FAILURE_CODES_FROM:
                raise SubscriptionRefused(
                    f"the broker does not let us subscribe to {topic} (code {number}): "
                    "allow this user to read it in the broker's access list"
                )
