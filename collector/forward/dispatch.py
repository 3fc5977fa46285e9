"""Windows out to the network; live goes before backlog, and a request under way may end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress

from collector.forward.closing import Closing
from collector.forward.read_back import ReadBack
from collector.forward.sending import NetworkWaits, Results, Sender
from collector.forward.window import Window
from collector.readings.observation import Observation
from collector.sinks.base import Group, Sink

log = logging.getLogger(__name__)

STOP_S = 5.0
UNGROUPED_S = 300.0


def split_safely(sink: Sink, readings: Sequence[Observation], results: Results) -> Iterable[Group]:
    """The sink's groups; a reading that it cannot group is rejected when it can group others."""
    try:
        return list(sink.split(readings))
    except Exception as error:
        reason = f"crashed: {type(error).__name__} while it was grouped"
        log.exception("%s: cannot group readings", sink.name)
    groups: list[Group] = []
    refused: list[Observation] = []
    for reading in readings:
        try:
            groups += sink.split([reading])
        except Exception:
            refused.append(reading)
    if groups:
        results.rejected += [(reading, reason) for reading in refused]
    else:
        results.delayed += [(reading, UNGROUPED_S) for reading in refused]
    return groups


class Dispatch:
    """Sends the windows of both lanes of one sink."""

    def __init__(self, sink: Sink, sender: Sender, read_back: ReadBack, closing: Closing) -> None:
        self._sink = sink
        self._sender = sender
        self._read_back = read_back
        self._closing = closing
        self._live_quiet = asyncio.Event()
        self.restart()

    def restart(self) -> None:
        """Begins anew after a run was cancelled."""
        self._stopping = False
        self._live_quiet.set()

    async def deliver(self, window: Window) -> None:
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
            lost = await self._read_back.look_for(results)
        except BaseException:
            await self._end(sending)
            self._close(window, results, self._read_back.to_ask_for(results))
            raise
        self._close(window, results, lost)
        if waits is not None:
            raise waits

    async def _send(self, window: Window, results: Results) -> None:
        try:
            if window.lane == "live":
                self._live_quiet.clear()
            for group in split_safely(self._sink, window.readings, results):
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

    def _close(self, window: Window, results: Results, lost: Sequence[Observation]) -> None:
        for reading in lost:
            window.tasks[reading.frame.id].lost = True
        self._closing.record(window, results)
