"""Claims whose outcome is unknown: it is found out before anything else is sent."""

from __future__ import annotations

import asyncio

from collector.forward.account import Account, Task
from collector.forward.closing import Closing
from collector.forward.frame_reader import FrameReader
from collector.forward.limits import Gate
from collector.forward.read_back import ReadBack
from collector.forward.sending import NetworkWaits, Results
from collector.forward.worklist import Cause, Worklist
from collector.ranges import Ranges
from protocol.wire import T_DATA

RESOLVE_FRAMES = 64


class Resolver:
    """Reads back the frames of unknown claims, a few at a time.

    Where nothing can be read back, a claim is resolved in one go: its possible duplicates are
    counted in the transaction that lets go of it, so once.
    """

    def __init__(
        self,
        reader: FrameReader,
        read_back: ReadBack,
        work: Worklist,
        account: Account,
        closing: Closing,
        gate: Gate,
    ) -> None:
        self._reader = reader
        self._read_back = read_back
        self._work = work
        self._account = account
        self._closing = closing
        self._gate = gate

    async def resolve(self) -> None:
        """Resolves every unknown claim. Raises NetworkWaits when the network cannot say."""
        unknown = self._closing.unknown
        for batch in list(unknown):
            while unknown[batch]:
                await self._resolve_some(unknown[batch])
            del unknown[batch]
            self._account.release(batch)
            self._account.flush_soon()

    async def _resolve_some(self, claimed: Ranges) -> None:
        first, last = claimed.first or 0, claimed.last or 0
        if self._read_back.asks:
            last = min(last, first + RESOLVE_FRAMES - 1)
        ids = Ranges(claimed.overlap(first, last))
        tasks: dict[int, Task] = {}
        results = Results()
        for frame in await self._reader.read(ids):
            rendered = self._reader.render(frame)
            if frame.type != T_DATA or isinstance(rendered, Cause):
                continue
            settled = self._account.partial.get(frame.id, 0)
            readings = [o for o in rendered.observations if not settled >> o.reading & 1]
            tasks[frame.id] = Task(rendered, settled, len(readings))
            results.unknown += readings
        now_s = asyncio.get_running_loop().time
        if await self._read_back.look_for(results):
            self._gate.failed(now_s(), "cannot read back what was sent")
            raise NetworkWaits("cannot read back what was sent")
        self._account.record(tasks, results, now_s())
        done = Ranges((frame, frame) for frame, task in tasks.items() if self._closing.settle(task))
        self._work.give_back(ids, "backlog")
        self._closing.finish(done)
        for low, high in ids:
            claimed.remove(low, high)
