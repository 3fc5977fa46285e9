"""Where the time of a hosted board comes from."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol


class Timers(Protocol):
    """Where time comes from: a VirtualLoop, or RealTime."""

    @property
    def now_ms(self) -> int: ...

    def call_at_ms(self, when_ms: int, callback: Callable[..., object], *arguments: Any) -> Any: ...

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> Any: ...


class RealTime:
    """This machine's clock and the running event loop, for boards hosted in real time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()

    @property
    def now_ms(self) -> int:
        """Milliseconds since this was made."""
        return int((self._loop.time() - self._start_s) * 1000)

    def call_at_ms(self, when_ms: int, callback: Callable[..., object], *arguments: Any) -> Any:
        """Call back at a millisecond."""
        return self._loop.call_at(self._start_s + when_ms / 1000, callback, *arguments)

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> Any:
        """Call back as soon as can be."""
        return self._loop.call_soon(callback, *arguments)
