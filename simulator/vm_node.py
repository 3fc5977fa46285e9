"""A node whose firmware runs on the MicroPython VM, in stepped or in real time."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.buses import Buses
from simulator.chip import Chip, Ended, Sleeping
from simulator.hosted import PWRON_RESET, WDT_RESET
from simulator.virtual_loop import VirtualLoop
from simulator.vm_process import VmGone, VmProcess

MAIN = Path(__file__).parent / "shims" / "start.py"
WATCHDOG_CHECK_S = 1.0

MakeBuses = Callable[[Callable[[], int]], Buses]
"""Builds the sensors of a board; it is handed the clock: ms since power-on."""


class VmNode(ABC):
    """What both kinds share: a folder that survives, and the chip of one stretch of power."""

    stepped = False

    def __init__(
        self,
        folder: Path,
        board: dict[str, Any],
        make_buses: MakeBuses,
        unique_id: bytes,
        *,
        script: Path = MAIN,
        arguments: tuple[str, ...] = (),
        heap: str = "256K",
        env: dict[str, str] | None = None,
        make_link: Callable[[], Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.folder = folder
        self.board = board
        self.chip: Chip | None = None
        self.process: VmProcess | None = None
        self.starts = 0
        self.on_end: Callable[[str], None] | None = None
        self.on_start: Callable[[], None] | None = None
        self._make_buses = make_buses
        self._unique_id = unique_id
        self._script = script
        self._arguments = arguments
        self._heap = heap
        self._env = env
        self._make_link = make_link
        self._seed = seed
        self._rtc_memory = b""
        self._powered_ms = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def powered(self) -> bool:
        """Whether a VM is running."""
        return self.process is not None

    @abstractmethod
    def now_ms(self) -> int:
        """Milliseconds on the clock of this kind of node."""

    def _uptime_ms(self) -> int:
        return self.now_ms() - self._powered_ms

    def _start(self, cause: int) -> VmProcess:
        self.starts += 1
        self._powered_ms = self.now_ms()
        if cause == PWRON_RESET:
            self._rtc_memory = b""
        self.chip = Chip(
            self.board,
            self._make_buses(self._uptime_ms),
            self._uptime_ms,
            self._unique_id,
            stepped=self.stepped,
            cause=cause,
            rtc_memory=self._rtc_memory,
            link=self._make_link() if self._make_link else None,
            seed=self._seed * 1_000_003 + self.starts,
        )
        self.process = VmProcess(
            self.folder,
            self._script,
            self._arguments,
            heap=self._heap,
            stepped=self.stepped,
            env=self._env,
        )
        if self.on_start is not None:
            self.on_start()
        return self.process

    def power_off(self) -> None:
        """Cut the power: whatever the firmware was doing does not go on."""
        if self.process is not None:
            self.process.close()
            self.process = None
        if self.chip is not None:
            self._rtc_memory = self.chip.rtc_memory
            self.chip = None


class SteppedVmNode(VmNode):
    """A VM in a virtual loop: time passes while it sleeps, and at no other moment."""

    stepped = True

    def __init__(self, loop: VirtualLoop, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._loop = loop
        self._timer: Any = None
        self.failure: VmGone | None = None

    def now_ms(self) -> int:
        return self._loop.now_ms

    def power_on(self, cause: int = PWRON_RESET) -> None:
        """Start the firmware; nothing while it runs."""
        if self.powered:
            return
        self._start(cause)
        self._timer = self._loop.call_soon(self._run)

    def power_off(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().power_off()

    def wake(self) -> None:
        """End the present sleep early: something has arrived."""
        if self._timer is not None and self.chip is not None:
            self._timer.cancel()
            self._timer = self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        assert self.process is not None
        assert self.chip is not None
        self.process.reply(self.chip.awake())
        self._run()

    def _run(self) -> None:
        """Answer the VM until it sleeps."""
        try:
            self._serve()
        except VmGone as gone:
            self.failure = gone
            self.power_off()
            if self.on_end is not None:
                self.on_end(str(gone))

    def _serve(self) -> None:
        assert self.process is not None
        assert self.chip is not None
        while True:
            answer = self.chip.handle(*self.process.next_request())
            if isinstance(answer, Sleeping):
                due_ms = self._loop.now_ms + max(1, answer.duration_ms)
                self._timer = self._loop.call_at_ms(due_ms, self._resume)
                return
            if isinstance(answer, Ended):
                self.power_off()
                due_ms = self._loop.now_ms + max(0, answer.duration_ms)
                self._timer = self._loop.call_at_ms(due_ms, self.power_on, answer.cause)
                return
            self.process.reply(answer)


class RealTimeVmNode(VmNode):
    """A VM that runs as a board does: its clock is this machine's, its sockets are real."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._loop = asyncio.get_running_loop()
        self._restart: asyncio.TimerHandle | None = None
        self._check: asyncio.TimerHandle | None = None

    def now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def power_on(self, cause: int = PWRON_RESET) -> None:
        """Start the firmware; nothing while it runs."""
        if self.powered:
            return
        process = self._start(cause)
        self._loop.add_reader(process.requests_fd, self._serve)
        self._check = self._loop.call_later(WATCHDOG_CHECK_S, self._look_after)

    def power_off(self) -> None:
        for timer in (self._restart, self._check):
            if timer is not None:
                timer.cancel()
        if self.process is not None:
            self._loop.remove_reader(self.process.requests_fd)
        super().power_off()

    def _serve(self) -> None:
        assert self.process is not None
        assert self.chip is not None
        self.process.receive()
        while self.process is not None:
            request = self.process.take()
            if request is None:
                return
            answer = self.chip.handle(*request)
            if isinstance(answer, Ended):
                self._restart_after(answer.cause, answer.duration_ms)
            elif isinstance(answer, bytes):
                self.process.reply(answer)

    def _restart_after(self, cause: int, duration_ms: int) -> None:
        self.power_off()
        self._restart = self._loop.call_later(max(0, duration_ms) / 1000, self.power_on, cause)

    def _look_after(self) -> None:
        """What hardware does by itself: the watchdog; and notice a firmware that has ended."""
        if self.process is None or self.chip is None:
            return
        if self.process.process.poll() is not None:
            if self.on_end is not None:
                self.on_end(f"{self.folder.name}: the firmware has ended")
            self._restart_after(WDT_RESET, 1000)
        elif self.chip.watchdog_expired():
            self._restart_after(WDT_RESET, 0)
        else:
            self._check = self._loop.call_later(WATCHDOG_CHECK_S, self._look_after)
