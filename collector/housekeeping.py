"""What the collector does beside receiving: hourly means, and forgetting what it may forget."""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from collector.archive import archive, retention
from collector.archive.archive import StoredFrame
from collector.archive.outline import decode_stored
from collector.archive.rollup import Rollup
from collector.archive.storage import Storage
from collector.archive.writer import WriteFailed
from collector.clock import Clock
from collector.forward import delivery
from collector.forward.delivery import EXPIRED, Count
from collector.ranges import Ranges
from protocol import wire
from protocol.wire import FrameError

log = logging.getLogger(__name__)

INTERVAL_S = 300.0
DAY_MS = 86_400_000
RETENTION_REASON = "retention"


@dataclass(frozen=True, slots=True)
class Keep:
    """How much the archive keeps; None: no limit. `sinks` are those that may need frames."""

    days: int | None = None
    bytes_max: int | None = None
    drop_undelivered: bool = False
    sinks: tuple[str, ...] = ()


class Housekeeping:
    """Runs beside intake, a little at a time."""

    def __init__(self, storage: Storage, clock: Clock, keep: Keep) -> None:
        self.rollup = Rollup(storage.writer, storage.timeline, clock)
        self.removed = 0
        self.held_back = False
        """True while frames are over the limits and a sink still needs them."""
        self._storage = storage
        self._clock = clock
        self._keep = keep

    async def run(self) -> None:
        """Every five minutes, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.once()

    async def once(self) -> None:
        """One round; failures of the storage are logged and left to the next."""
        try:
            await self.rollup.catch_up()
            await self._retain()
        except (WriteFailed, sqlite3.Error) as error:
            log.error("housekeeping is put off: %s", error)

    async def _retain(self) -> None:
        keep = self._keep
        if keep.days is None and keep.bytes_max is None:
            return
        older_ms = None if keep.days is None else self._clock.unix_ms() - keep.days * DAY_MS
        due = await self._storage.writer.read(
            lambda connection: retention.due_up_to(connection, older_ms, keep.bytes_max)
        )
        while due:
            removed = await self._storage.writer.write(
                lambda connection: remove(connection, due, keep), urgent=True
            )
            self.removed += removed.frames
            if removed.held_back and not self.held_back:
                log.warning("frames are over the limits of retention, but a sink still needs them")
            self.held_back = removed.held_back
            if removed.frames < retention.REMOVED_PER_STEP:
                break
        if due:
            await self._storage.writer.maintain(retention.vacuum)


def remove(connection: sqlite3.Connection, due: int, keep: Keep) -> retention.Removed:
    """One step of retention; what goes undelivered is on each sink's ledger afterwards."""
    needed = delivery.first_needed(connection, keep.sinks)
    if keep.drop_undelivered:
        _expire(connection, due, keep.sinks)
        needed = None
    return retention.remove_up_to(connection, due, needed)


def _expire(connection: sqlite3.Connection, due: int, sinks: Sequence[str]) -> None:
    """Counts the readings of the next step's frames that a sink has not settled."""
    (first,) = connection.execute("SELECT min(id) FROM frame").fetchone()
    if first is None:
        return
    frames = list(archive.frames(connection, first, due, retention.REMOVED_PER_STEP))
    if not frames:
        return
    ids = Ranges([(frames[0].id, frames[-1].id)])
    for sink in sinks:
        state = delivery.load(connection, sink)
        counts: Counter[Count] = Counter()
        for frame in frames:
            if frame.type == wire.T_DATA and frame.id not in state.done:
                open_readings = _readings(frame) - state.partial.get(frame.id, 0).bit_count()
                counts[Count(EXPIRED, RETENTION_REASON, frame.node)] += open_readings
        delivery.settle(connection, sink, delivery.Settlement(done=ids, counts=counts))


def _readings(frame: StoredFrame) -> int:
    try:
        sections = decode_stored(frame).samples
        return sum(len(column.values) for samples in sections for column in samples.columns)
    except FrameError:
        return 1
