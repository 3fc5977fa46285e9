"""Claims whose outcome is unknown: it is found out before anything else is sent."""

from __future__ import annotations

import asyncio

from collector.forward.account import Account
from collector.forward.closing import Closing
from collector.forward.frame_reader import FrameReader
from collector.forward.limits import Gate
from collector.forward.read_back import ReadBack
from collector.forward.selection import Policy, Selection
from collector.forward.sending import NetworkWaits, Results
from collector.forward.window import Window
from collector.forward.worklist import Cause, Worklist
from collector.ranges import Ranges
from protocol.wire import T_DATA

RESOLVE_FRAMES = 64
EVERY_READING = Selection(Policy())


class Resolver:
    """Finds out about the frames of unknown claims.

    Where the network can be asked, a few at a time. Where it cannot, a claim is resolved in one go:
    what may have been sent is chosen again as it was then, and its possible duplicates are counted
    in the transaction that lets go of the claim, so once.
    """

    def __init__(
        self,
        reader: FrameReader,
        read_back: ReadBack,
        work: Worklist,
        account: Account,
        closing: Closing,
        gate: Gate,
        selection: Selection,
    ) -> None:
        self._reader = reader
        self._read_back = read_back
        self._work = work
        self._account = account
        self._closing = closing
        self._gate = gate
        self._selection = selection

    async def resolve(self) -> None:
        """Resolves every unknown claim. Raises NetworkWaits when the network cannot say."""
        unknown, chosen_ms = self._closing.unknown, self._closing.chosen_ms
        for batch in list(unknown):
            while unknown[batch]:
                await self._resolve_some(unknown[batch], chosen_ms[batch])
            del unknown[batch], chosen_ms[batch]
            self._account.release(batch)
            self._account.flush_soon()

    async def _resolve_some(self, claimed: Ranges, chosen_ms: int) -> None:
        first, last = claimed.first or 0, claimed.last or 0
        asks = self._read_back.asks
        if asks:
            last = min(last, first + RESOLVE_FRAMES - 1)
        ids = Ranges(claimed.overlap(first, last))
        sent = Window("backlog", chosen_ms)
        selection = EVERY_READING if asks else self._selection.afresh()
        for frame in await self._reader.read(ids):
            rendered = await self._reader.render_in_turn(frame)
            if frame.type == T_DATA and not isinstance(rendered, Cause):
                sent.take(rendered, self._account.partial.get(frame.id, 0), selection)
        sent.narrow(selection)
        results = Results(unknown=list(sent.readings))
        now_s = asyncio.get_running_loop().time
        if await self._read_back.look_for(results):
            self._gate.failed(now_s(), "cannot read back what was sent")
            raise NetworkWaits("cannot read back what was sent")
        self._account.record(sent.tasks, results, now_s())
        done = Ranges()
        if results.accepted:
            done = Ranges(
                (frame, frame) for frame, task in sent.tasks.items() if self._closing.settle(task)
            )
        self._work.give_back(ids, "backlog")
        self._closing.finish(done)
        for low, high in ids:
            claimed.remove(low, high)
