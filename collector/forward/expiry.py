"""A backlog has a largest age and size; what is beyond them expires, and the ledger says so."""

from __future__ import annotations

from collector.archive.archive import StoredFrame
from collector.clock import Clock
from collector.forward.account import Account
from collector.forward.frame_reader import FrameReader
from collector.forward.selection import Policy
from collector.forward.worklist import Worklist
from collector.ranges import Ranges
from collector.readings.counting import readings_of

FRAMES_AT_ONCE = 500


class Expiry:
    """Finishes the oldest frames of one sink that are too old or too many."""

    def __init__(
        self, policy: Policy, work: Worklist, reader: FrameReader, account: Account, clock: Clock
    ) -> None:
        self._policy = policy
        self._work = work
        self._reader = reader
        self._account = account
        self._clock = clock

    async def run(self) -> int:
        """Returns how many frames expired."""
        expired = 0
        while True:
            excess = self._work.open_count() - self._policy.backlog_frames
            ids = self._work.take_oldest(min(FRAMES_AT_ONCE, max(excess, 1)))
            if not ids:
                return expired
            try:
                frames = await self._reader.read(ids)
            except BaseException:
                self._work.give_back(ids, "backlog")
                raise
            kept = Ranges()
            for frame in frames:
                if excess > 0 or self._is_too_old(frame):
                    self._expire(frame, "size" if excess > 0 else "age")
                    expired += 1
                else:
                    kept.add(frame.id)
            gone = Ranges(gap for first, last in ids for gap in kept.missing(first, last))
            self._account.finish(gone)
            self._work.finish(gone)
            self._work.give_back(kept, "backlog")
            self._account.flush_soon()
            if kept:
                return expired

    def _is_too_old(self, frame: StoredFrame) -> bool:
        age_ms = self._clock.unix_ms() - frame.received_ms
        return frame.received_ms > 0 and age_ms > self._policy.backlog_age_s * 1000

    def _expire(self, frame: StoredFrame, reason: str) -> None:
        readings = readings_of(frame) - self._account.partial.get(frame.id, 0).bit_count()
        self._account.expire(frame.node, frame.id, readings, reason)
