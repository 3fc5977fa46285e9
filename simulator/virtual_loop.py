"""An asyncio event loop whose time jumps to the next thing that is scheduled."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

RESOLUTION_S = 1e-6


class Stalled(RuntimeError):
    """Nothing is scheduled any more, so virtual time cannot go on."""


class _JumpingSelector(selectors.BaseSelector):
    """A selector that waits by moving the clock; it never looks at a file."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, number, events, data)
        self._keys[number] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return self._keys.pop(number)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("nothing is scheduled: a task waits for what can never happen")
        if timeout > 0:
            self.now_s += timeout
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """Event loop in virtual time: sleeping costs nothing, sockets and threads do not exist.

    Work handed to an executor runs at once in the loop, so that the order of events depends on
    nothing but the program and its seed.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        return self._jumping.now_s

    @property
    def now_ms(self) -> int:
        """Virtual milliseconds since the loop was made."""
        return round(self._jumping.now_s * 1000)

    def call_at_ms(
        self, when_ms: int, callback: Callable[..., object], *arguments: Any
    ) -> asyncio.TimerHandle:
        """Call back at a virtual millisecond; a time that has passed means as soon as can be."""
        return self.call_at(when_ms / 1000, callback, *arguments)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class VirtualClock:
    """The collector's clock in virtual time.

    unix_ms starts at start_unix_ms and can be stepped or run fast by parts per million;
    monotonic_ms is the loop's own time and never jumps.
    """

    def __init__(self, loop: VirtualLoop, start_unix_ms: int = 0) -> None:
        self._loop = loop
        self._start_unix_ms = start_unix_ms
        self.step_ms = 0
        self.drift_ppm = 0
        self.is_synchronised = True

    def true_unix_ms(self) -> int:
        """What a perfect clock would say."""
        return self._start_unix_ms + self._loop.now_ms

    def unix_ms(self) -> int:
        elapsed_ms = self._loop.now_ms
        return (
            self._start_unix_ms
            + elapsed_ms
            + self.step_ms
            + (elapsed_ms * self.drift_ppm // 1_000_000)
        )

    def monotonic_ms(self) -> int:
        return self._loop.now_ms

    def synchronised(self) -> bool:
        return self.is_synchronised


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run main(loop) to its end on a fresh virtual loop."""
    loop = VirtualLoop()

    async def started() -> T:
        return await main(loop)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(started())
