"""The end of a run: boards report what they have, and it is waited until nothing moves."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence

from collector.storage.storage import Storage
from simulator.building import NEVER_MS, Instants
from simulator.collector_host import CollectorHost
from simulator.fleet_node import PatientNode
from simulator.hosted import HostedNode
from simulator.truth import Truth
from simulator.virtual_loop import VirtualLoop

SETTLE_MAX_S = 4 * 3600.0
SETTLE_STEP_S = 60.0
SLEEPING_STEP_S = 7.3
"""No multiple of an interval, so that no look always meets the same board awake."""
AFTER_MENDING_S = 200
UPLINK_REST_MS = 30_000
REST_CHECK_S = 60
STEPS_MAX = 12_000
"""In a minute: a board that steps more often than each 5 ms all the time does not come to rest."""


class Restless(RuntimeError):
    """A board's firmware runs in circles."""


async def pass_time(
    loop: VirtualLoop, nodes: Sequence[HostedNode], duration_s: float, tidy: Callable[[], None]
) -> None:
    """Let time pass; `tidy` is called each minute. Raises Restless for a board without rest."""
    end_s = loop.time() + duration_s
    while (left_s := end_s - loop.time()) > 0:
        before = [node.steps for node in nodes]
        await asyncio.sleep(min(left_s, REST_CHECK_S))
        tidy()
        for node, steps in zip(nodes, before, strict=True):
            if node.steps - steps > STEPS_MAX:
                raise Restless(
                    f"node {node.address:08x}: {node.steps - steps} steps in {REST_CHECK_S} s"
                )


class Settling:
    """Lets the boards and the collector of a run come to rest.

    `report_s` is how often boards report that sleep between their samples; None for boards that
    are always awake. `all_told` says whether the network has heard of all that can be dated.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        nodes: Sequence[HostedNode],
        host: CollectorHost,
        truth: Truth,
        instants: Instants,
        report_s: float | None,
        tidy: Callable[[], None],
        all_told: Callable[[Storage, sqlite3.Connection], bool],
    ) -> None:
        self._all_told = all_told
        self._loop = loop
        self._nodes = nodes
        self._host = host
        self._truth = truth
        self._instants = instants
        self._report_s = report_s
        self._tidy = tidy

    async def settle(self) -> None:
        """Returns when nothing moves any more, or when that takes too long."""
        await self._pass(AFTER_MENDING_S)
        if self._report_s is not None:  # they stop by themselves, over and over
            await self._pass(3 * self._report_s)
        else:
            self._fall_quiet()
        step_s, calm_steps = (SETTLE_STEP_S, 3) if self._report_s is None else (SLEEPING_STEP_S, 1)
        end_s = self._loop.time() + SETTLE_MAX_S
        calm = 0
        while self._loop.time() < end_s and calm < calm_steps:
            await self._pass(step_s)
            self._host.check()
            calm = calm + 1 if self._is_calm() else 0

    async def _pass(self, duration_s: float) -> None:
        await pass_time(self._loop, self._nodes, duration_s, self._tidy)

    def _fall_quiet(self) -> None:
        """Let no board sample any more, and let all report what they have."""
        for node in self._nodes:
            if isinstance(node.node, PatientNode):
                node.node.catch_up()
        self._instants.quiet = True
        for node in self._nodes:
            self._truth.stopped(node)
            if node.node is not None and node.node.sampler is not None:
                if not node.node.sampler.row_open:  # an open row ends by itself, as the last one
                    node.node.sampler._instant = NEVER_MS
                node.node._report_due = 0
            node.wake()

    def _is_calm(self) -> bool:
        rests = _has_reported if self._report_s is None else self._sleeps
        return all(rests(node) for node in self._nodes) and self._all_delivered()

    def _sleeps(self, hosted: HostedNode) -> bool:
        return hosted.asleep and self._truth.latest[hosted.address].settled

    def _all_delivered(self) -> bool:
        assert self._host.collector is not None
        if self._host.collector.intake.waiting:
            return False
        for forwarder in self._host.collector.forwarders:
            status = forwarder.status()
            if status.unknown_frames:
                return False
            if status.open_frames != status.held_frames + status.waiting_frames:
                return False
        return self._all_told(self._host.storage, self._host.connection)


def _has_reported(hosted: HostedNode) -> bool:
    """Whether a board that is awake has nothing left to send."""
    node = hosted.node
    if node is None:
        return False
    outbox = node.outbox
    if node.sampler is not None and node.sampler.batch.rows:
        return False
    if outbox.spool.unsynced or outbox.uplink.wait_ms(node.clock.uptime_ms()) < UPLINK_REST_MS:
        return False
    return all(
        outbox.settled.covers(boot, last)
        for boot, first, last, *_ in outbox.spool.boots
        if first <= last
    )
