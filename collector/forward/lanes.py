"""The loop that feeds one network: two lanes, a window at a time, and how a stop ends them.

Live goes before backlog. While a backlog's window is sent the next one is prepared and claimed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from collector.archive.writer import WriteFailed
from collector.forward.provisioner import Provisioner
from collector.forward.sending import NetworkWaits, Results, Sender
from collector.forward.states import Lane
from collector.forward.windows import Window, Windows

log = logging.getLogger(__name__)

IDLE_S = 30.0
STOP_S = 5.0
WRITE_RETRY_S = 5.0
EXPIRE_EVERY_S = 60.0


class Lanes:
    """Runs the lanes of one sink; `one_by_one`: no window is claimed while another is sent."""

    def __init__(
        self,
        name: str,
        lanes: Sequence[Lane],
        windows: Windows,
        sender: Sender,
        provisioner: Provisioner,
        *,
        one_by_one: bool,
    ) -> None:
        self.is_idle = asyncio.Event()
        self._name = name
        self._lanes = lanes
        self._windows = windows
        self._sender = sender
        self._provisioner = provisioner
        self._one_by_one = one_by_one
        self._wakes = {lane: asyncio.Event() for lane in lanes}
        self._resting: set[Lane] = set()
        self._live_quiet = asyncio.Event()
        self._alone = asyncio.Lock()
        self._stopping = False
        self._expire_at_s = float("-inf")

    async def run(self, went_round: Callable[[], None]) -> None:
        """Feeds the network until cancelled; `went_round` is told when a lane did what it can."""
        self._resting.clear()
        self._live_quiet.set()
        self._stopping = False
        self._provisioner.forget()
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(self._run_lane(lane, went_round))
        finally:
            self._windows.close_rest()

    def wake(self, *lanes: Lane) -> None:
        """Says that these lanes, or all, have work."""
        self.is_idle.clear()
        for lane in lanes or self._lanes:
            self._wakes[lane].set()

    async def give_up(self, last_id: int) -> int:
        """Expires what is open up to this id; returns up to where nothing is needed any more."""
        async with self._alone:
            return await self._windows.give_up(last_id)

    async def _run_lane(self, lane: Lane, went_round: Callable[[], None]) -> None:
        while True:
            try:
                await self._open_network(lane)
                await self._expire()
                await self._resolve()
                self._windows.look_at_dates()
                worked = await self._drain(lane)
                went_round()
                if not worked:
                    await self._rest(lane)
            except WriteFailed as failure:
                log.warning("%s: cannot note what is sent: %s", self._name, failure)
                await asyncio.sleep(WRITE_RETRY_S)
            except NetworkWaits:
                continue

    async def _open_network(self, lane: Lane) -> None:
        """Waits while this lane's gates are closed, then sees that the sink is prepared."""
        while (wait_s := self._sender.gates_wait_s(lane)) > 0:
            await asyncio.sleep(min(wait_s, EXPIRE_EVERY_S))
            await self._expire()
        async with self._alone:
            await self._provisioner.prepare()

    async def _expire(self) -> None:
        async with self._alone:
            if _now_s() < self._expire_at_s:
                return
            expired = await self._windows.expire()
            self._expire_at_s = _now_s() + EXPIRE_EVERY_S
        if expired:
            log.warning("%s: %d frames of its backlog expired", self._name, expired)

    async def _resolve(self) -> None:
        """Finds out about every unknown claim. Raises NetworkWaits when the network cannot say.

        Where it can be asked, a few frames at a time; where not, a claim at once.
        """
        async with self._alone:
            for claim in list(self._windows.unknown.values()):
                while claim.ids:
                    ids, sent = await self._windows.recall(claim, few=self._sender.asks)
                    results = Results(unknown=list(sent.readings))
                    await self._sender.look_for(results)
                    if results.unknown:
                        self._sender.cannot_tell()
                    self._windows.resolve(claim, ids, sent, results)

    async def _drain(self, lane: Lane) -> bool:
        """Sends windows until this lane has none; the next one is prepared meanwhile."""
        window = await self._prepare(lane)
        worked = window is not None
        while window is not None:
            if self._one_by_one or lane == "live":
                await self._deliver(window)
                window = await self._prepare(lane)
                continue
            upcoming = asyncio.create_task(self._prepare(lane))
            try:
                await self._deliver(window)
            except NetworkWaits:
                if prepared := await upcoming:
                    self._windows.close(prepared)
                raise
            except BaseException:
                upcoming.cancel()
                await asyncio.gather(upcoming, return_exceptions=True)
                raise
            window = await upcoming
        return worked

    async def _prepare(self, lane: Lane) -> Window | None:
        """The lane's next window, provisioned and claimed; None when it has nothing to send."""
        while (window := await self._windows.render_next(lane)) is not None:
            try:
                window.set_apart(await self._provisioner.provision(window.readings))
                if window.readings:
                    await self._windows.claim(window)
                    return window
            except BaseException:
                self._windows.close(window)
                raise
            self._windows.close(window)
        return None

    async def _deliver(self, window: Window) -> None:
        """Sends a window and closes it. Raises NetworkWaits when the rest has to wait.

        However it ends, what was handed to the sink and not answered is unknown.
        """
        results = Results()
        sending = asyncio.create_task(self._send(window, results))
        waits: NetworkWaits | None = None
        try:
            try:
                await asyncio.shield(sending)
            except NetworkWaits as interruption:
                waits = interruption
            await self._sender.look_for(results)
        except BaseException:
            await self._end(sending)
            self._sender.presume(results)
            self._close(window, results)
            raise
        self._close(window, results)
        if waits is not None:
            raise waits

    def _close(self, window: Window, results: Results) -> None:
        self._windows.record(window, results)
        self._windows.close(window)

    async def _send(self, window: Window, results: Results) -> None:
        try:
            if window.lane == "live":
                self._live_quiet.clear()
            for group in self._sender.split(window.readings, results):
                if window.lane == "backlog":
                    await self._live_quiet.wait()
                if self._stopping:
                    return
                await self._sender.send(group, results, window.lane)
        finally:
            if window.lane == "live":
                self._live_quiet.set()

    async def _end(self, sending: asyncio.Task[None]) -> None:
        """Lets the request under way end, for a little while; who cancels again waits no longer."""
        self._stopping = True
        with suppress(asyncio.CancelledError):
            await asyncio.wait((sending,), timeout=STOP_S)
        sending.cancel()
        while not sending.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((sending,))
        if not sending.cancelled():
            sending.exception()

    async def _rest(self, lane: Lane) -> None:
        event = self._wakes[lane]
        self._resting.add(lane)
        if len(self._resting) == len(self._lanes) and not any(
            other.is_set() for other in self._wakes.values()
        ):
            self.is_idle.set()
        due_s = self._windows.frames.next_due_s()
        rest_s = IDLE_S if due_s is None else min(IDLE_S, due_s - _now_s())
        with suppress(TimeoutError):
            async with asyncio.timeout(rest_s):
                await event.wait()
        event.clear()
        self._resting.discard(lane)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
