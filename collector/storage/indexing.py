"""Stored frames into what memory derives from them: the timeline and the hour index.

Intake enters frames here after their commit, a start when it replays them. What one frame raises
stays with that frame: it is left out, counted, and marked in the archive.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable

from collector.archive import archive
from collector.archive.hour_index import HourIndex
from collector.archive.parcels import Repeatable
from collector.ledger.ledger_boot import BootLedger
from collector.seldom import is_worth_a_line
from collector.timeline.timeline import Timeline
from collector.timeline.timeline_fit import LIVE, SOURCES, Knot
from protocol.outline import RAISED, Outline
from protocol.parsers import parse_clock
from protocol.wire import FrameError

log = logging.getLogger(__name__)

FAILED_MAX = 10_000


class Indexing:
    """Enters frames into a timeline and an hour index."""

    def __init__(self, timeline: Timeline, hours: HourIndex) -> None:
        self.timeline = timeline
        self.hours = hours
        self.writing = asyncio.Lock()
        """Held while what was taken is on its way: a snapshot must not overtake it."""
        self.marked = 0
        self.undecoded: Counter[str] = Counter()
        """Frames that were left undecoded, by reason."""
        self._failed: set[int] = set()

    @property
    def full(self) -> bool:
        """Whether memory holds as much as it may: it is written before more is taken in."""
        return self.hours.full or self.timeline.full

    def enter(
        self, frame_id: int, boot: BootLedger, seq: int, received: int, seen: Outline
    ) -> None:
        """Takes one stored frame in. What must stay undecoded is found by its number only."""
        if seen.reason:
            self.undecoded[seen.reason] += 1
            if is_worth_a_line(self.undecoded[seen.reason]):
                name = f"node {boot.node:08x} boot {boot.boot} frame {seq}"
                log.warning("%s is stored and stays undecoded: %s", name, seen.reason)
        try:
            self._enter(frame_id, boot, seq, received, seen)
        except Exception:
            self.failed(frame_id, f"node {boot.node:08x} boot {boot.boot} frame {seq}")

    def failed(self, frame_id: int, name: str) -> None:
        """Counts a stored frame whose processing has just raised, and marks it later."""
        self.undecoded[RAISED] += 1
        if is_worth_a_line(self.undecoded[RAISED]):
            log.exception("%s cannot be processed and stays undecoded", name)
        if len(self._failed) < FAILED_MAX:
            self._failed.add(frame_id)

    def _enter(
        self, frame_id: int, boot: BootLedger, seq: int, received: int, seen: Outline
    ) -> None:
        if seen.clocks:
            observe_clocks(self.timeline, boot.node, boot.boot, seen.clocks, received)
        anchor_ms = boot.anchor_ms
        if anchor_ms is None:
            anchor_ms = choose_anchor(boot, self.timeline, received, seen.last_ms)
        self.hours.add(frame_id, boot.node, boot.boot, seq, anchor_ms, seen.first_ms, seen.last_ms)

    def take_failed(self) -> "FailedMarks":
        """Frames that the archive does not know as failed yet."""
        failed, self._failed = self._failed, set()
        return FailedMarks(self, failed)

    def put_back(self, failed: set[int]) -> None:
        """Frames that were taken are to be marked again."""
        self._failed |= failed


class FailedMarks(Repeatable):
    """Marks of frames whose processing raised; a conflict stays one."""

    def __init__(self, indexing: Indexing, failed: set[int]) -> None:
        self._indexing = indexing
        self._failed = failed

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        connection.executemany(
            "UPDATE frame SET state = ? WHERE id = ? AND state <> ?",
            [(archive.FAILED, frame_id, archive.CONFLICT) for frame_id in self._failed],
        )

    def failed(self) -> None:
        """See Parcel."""
        self._indexing.put_back(self._failed)


def choose_anchor(boot: BootLedger, timeline: Timeline, received: int, last_ms: int) -> int:
    """Fixes the hour shift of a boot by its time, or by its first frame; returns it.

    For a boot that nothing dates any serves, and one near the truth serves best: its number starts
    at the Unix second of its board's provisioning.
    """
    anchor_ms = timeline.anchor_ms(boot.node, boot.boot)
    if anchor_ms is None:
        anchor_ms = received - last_ms if received >= 0 else boot.boot * 1_000
    boot.anchor(anchor_ms)
    return anchor_ms


def observe_clocks(
    timeline: Timeline, node: int, boot: int, sections: Iterable[bytes], received: int
) -> None:
    """Gives the timeline what a stored frame's CLOCK sections say; nothing if one is damaged."""
    try:
        clocks = [parse_clock(data) for data in sections]
    except FrameError:
        return
    for clock in clocks:
        if clock.source in SOURCES and clock.source != LIVE:
            offset_ms = clock.unix_ms - clock.uptime_ms
            knot = Knot(clock.uptime_ms, offset_ms, clock.error_ms, clock.source)
            timeline.observe_clock(node, boot, knot, received if received >= 0 else None)
