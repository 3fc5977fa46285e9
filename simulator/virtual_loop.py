"""An asyncio event loop whose time jumps to the next thing that is scheduled."""

import asyncio
import gc
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

T = TypeVar("T")

RESOLUTION_S = 1e-6
SWEEP_MIN = 100
COLLECT_AFTER = 50_000
"""Objects between two looks for cycles: next to nothing here makes any."""


class Stalled(RuntimeError):
    """Nothing is scheduled any more, so virtual time cannot go on."""


class _DeafSelector(selectors.BaseSelector):
    """A selector that never looks at a file: nothing outside the program can happen."""

    def __init__(self) -> None:
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
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class Timer:
    """A call that is due at a virtual time; what it raises ends the run."""

    __slots__ = ("_arguments", "_callback", "_cancelled", "_loop")

    def __init__(
        self, loop: "VirtualLoop", callback: Callable[..., object], arguments: tuple[Any, ...]
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._arguments = arguments
        self._cancelled = False

    def cancel(self) -> None:
        """Do not call; does nothing after the call."""
        if not self._cancelled:
            self._cancelled = True
            self._loop.forget_timer()

    def _run(self) -> None:
        # Cancelling it from now on does nothing.
        self._cancelled = True
        self._callback(*self._arguments)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Event loop in virtual time: sleeping costs nothing, sockets and threads do not exist.

    Calls of one moment happen in the order in which they were scheduled. Work handed to an executor
    runs at once in the loop, so that the order of events depends on nothing but the program and its
    seed. now_ms: whole virtual milliseconds since the loop was made.
    """

    _ready: deque[Any]
    _stopping: bool

    def __init__(self) -> None:
        self.now_ms = 0
        self._now_s = 0.0
        self._timers: list[tuple[float, int, Any]] = []
        self._scheduled_count = 0
        self._cancelled_count = 0
        super().__init__(_DeafSelector())
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        return self._now_s

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        handle._scheduled = True  # type: ignore[attr-defined]
        self._scheduled_count += 1
        heappush(self._timers, (when, self._scheduled_count, handle))
        return handle

    def call_at_ms(self, when_ms: int, callback: Callable[..., object], *arguments: Any) -> Timer:
        """Call back at a virtual millisecond; a time that has passed means as soon as can be."""
        timer = Timer(self, callback, arguments)
        self._scheduled_count += 1
        heappush(self._timers, (when_ms / 1000, self._scheduled_count, timer))
        return timer

    def forget_timer(self) -> None:
        """One of the timers was cancelled; they are swept out when they are many."""
        self._cancelled_count += 1
        if self._cancelled_count > SWEEP_MIN and self._cancelled_count * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapify(self._timers)
            self._cancelled_count = 0

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.forget_timer()

    def _run_once(self) -> None:
        """One turn: jump to the next moment if nothing is ready, then call all that is due."""
        ready = self._ready
        timers = self._timers
        if not ready and not self._stopping:
            while timers and timers[0][2]._cancelled:
                heappop(timers)
            if not timers:
                raise Stalled("nothing is scheduled: a task waits for what can never happen")
            if timers[0][0] > self._now_s:
                self._now_s = timers[0][0]
                self.now_ms = round(self._now_s * 1000)
        due_s = self._now_s + RESOLUTION_S
        while timers and timers[0][0] < due_s:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

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

    thresholds = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *thresholds[1:])
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(started())
    finally:
        gc.set_threshold(*thresholds)
