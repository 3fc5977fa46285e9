"""A board under power, whose firmware runs in this CPython process.

Gives it power, runs the firmware's steps when they are due, and takes the power away.
"""

import traceback
from collections.abc import Callable
from typing import Any, Protocol

from firmware.node import Node
from simulator.buses import Buses
from simulator.faults.filesystem import PowerCut
from simulator.hosted_board import HostedBoard
from simulator.hosted_hal import DeepSleep, HostedHal, Reset
from simulator.timers import Timers

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4

FAULTS_MAX = 10
FAULT_WAIT_MS = 100
RESTART_MS = 5_000
CRASHES_KEPT_MAX = 20

BusesOf = Callable[[], Buses]
NodeOf = Callable[[HostedHal], Node]


class Links(Protocol):
    """Where a node's connection comes from: the simulated network, or a real broker."""

    def link(self, node: int) -> Any: ...


class HostedNode:
    """A board under power in virtual time.

    make_node builds the firmware's Node on a Hal, with the board's settings and schedule; buses
    are made anew at power-on, for sensors lose power together with the board.
    """

    def __init__(
        self,
        loop: Timers,
        network: Links,
        address: int,
        board: HostedBoard,
        buses: BusesOf,
        make_node: NodeOf,
        seed: int = 0,
    ) -> None:
        self.address = address
        self.board = board
        self.node: Node | None = None
        self.hal: HostedHal | None = None
        self.starts = 0
        self.steps = 0
        self.crashes: list[str] = []
        self.drift_ppm = 0
        self.on_power: Callable[[HostedNode], None] | None = None
        self.on_started: Callable[[HostedNode], None] | None = None
        self.on_off: Callable[[HostedNode], None] | None = None
        self.on_sleep: Callable[[HostedNode], None] | None = None
        self.on_cut: Callable[[HostedNode], None] | None = None
        self.asleep = False
        self._loop = loop
        self._network = network
        self._buses = buses
        self._make_node = make_node
        self._seed = seed
        self._timer: Any = None
        self._faults = 0

    @property
    def powered(self) -> bool:
        """Whether the firmware is running."""
        return self.node is not None

    def power_on(self, cause: int = PWRON_RESET) -> None:
        """Give power, or wake from deep sleep: the firmware starts."""
        self.asleep = False
        self.starts += 1
        if cause == PWRON_RESET:
            self.board.rtc_memory = b""
        self.hal = HostedHal(
            self._loop, self.board, self._buses(), self._new_link, cause,
            self._seed * 1_000_003 + self.starts,
        )  # fmt: skip
        self.hal.drift_ppm = self.drift_ppm
        self.hal.watchdog_feed()
        if self.on_power is not None:
            self.on_power(self)
        self._guarded(self._start)

    def power_off(self) -> None:
        """Take the power away, between two steps or in deep sleep."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.on_off is not None and (self.node is not None or self.asleep):
            self.on_off(self)
        self.asleep = False
        self._stop()

    def _fall_asleep(self, duration_ms: int) -> None:
        """Only the RTC memory stays under power, and a timer that wakes the board."""
        if self.on_sleep is not None:
            self.on_sleep(self)
        self._stop()
        self.asleep = True
        wake_ms = self._loop.now_ms + duration_ms
        self._timer = self._loop.call_at_ms(wake_ms, self.power_on, DEEPSLEEP_RESET)

    def _stop(self) -> None:
        self.node = None
        self.hal = None
        self.board.nvs.lose_power()

    def wake(self) -> None:
        """Run the next step now: something has arrived."""
        if self.node is not None and self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop.call_soon(self._step)

    def _new_link(self) -> Any:
        link = self._network.link(self.address)
        link.on_frame = self.wake
        return link

    def _start(self) -> None:
        assert self.hal is not None
        self.node = self._make_node(self.hal)
        self.node.start()
        if self.on_started is not None:
            self.on_started(self)
        self._schedule(0)

    def _step(self) -> None:
        self._guarded(self._run_step)

    def _run_step(self) -> None:
        assert self.node is not None
        assert self.hal is not None
        self.hal.ahead_ms = 0
        self.hal.idle()
        self.steps += 1
        wait_ms = self.node.step()
        self._faults = 0
        self._schedule(max(1, wait_ms) + self.hal.ahead_ms)

    def _schedule(self, wait_ms: int) -> None:
        assert self.hal is not None
        self._timer = self._loop.call_at_ms(self.hal.due_ms(wait_ms), self._step)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except PowerCut:
            self.power_off()
            if self.on_cut is not None:
                self.on_cut(self)
        except Reset:
            self.power_off()
            self._loop.call_soon(self.power_on, HARD_RESET)
        except DeepSleep as sleep:
            self._fall_asleep(sleep.duration_ms)
        except Exception as fault:
            self._crashed(fault)

    def _crashed(self, fault: Exception) -> None:
        """As the board's program: a step that raises is noted; ten in a row start it anew."""
        if len(self.crashes) < CRASHES_KEPT_MAX:
            self.crashes.append("".join(traceback.format_exception(fault))[-1500:])
        self._faults += 1
        if self.node is None or self._faults >= FAULTS_MAX:
            self._faults = 0
            self.power_off()
            self._loop.call_at_ms(self._loop.now_ms + RESTART_MS, self.power_on, HARD_RESET)
        else:
            self._schedule(FAULT_WAIT_MS)
