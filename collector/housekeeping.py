"""What the collector does beside receiving: hourly means, and forgetting what it may forget."""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from collector.archive.writer import WriteFailed
from collector.clock import DAY_MS, Clock
from collector.forward import book_tables
from collector.forward.book_tables import EXPIRED, Count
from collector.forward.forwarder import Forwarder
from collector.ranges import Ranges
from collector.readings.counting import readings_of
from collector.storage import retention
from collector.storage.rollup import Rollup
from collector.storage.storage import Storage

log = logging.getLogger(__name__)

INTERVAL_S = 300.0
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

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        keep: Keep,
        forwarders: Callable[[], Sequence[Forwarder]] = tuple,
    ) -> None:
        self.rollup = Rollup(storage.writer, storage.timeline, clock)
        self.removed = 0
        self.held_back = False
        """True while frames are over the limits and a sink still needs them."""
        self._storage = storage
        self._clock = clock
        self._keep = keep
        self._forwarders = forwarders

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
            step = await self._storage.writer.read(partial(look_ahead, due=due, keep=keep))
            if keep.drop_undelivered:
                step = await self._given_up(step)
            removed = await self._storage.writer.write(
                partial(remove, step=step, keep=keep), urgent=True
            )
            self.removed += removed.frames
            if removed.held_back and not self.held_back:
                log.warning("frames are over the limits of retention, but a sink still needs them")
            self.held_back = removed.held_back
            if removed.frames < retention.REMOVED_PER_STEP:
                break
        if due:
            await self._storage.writer.maintain(retention.vacuum)

    async def _given_up(self, step: "Step") -> "Step":
        """As much of a step as sinks that run have given up; their books say so."""
        running = {forwarder.sink.name: forwarder for forwarder in self._forwarders()}
        last_id = step.last_id
        for forwarder in running.values():
            last_id = min(last_id, await forwarder.give_up(step.last_id))
        frames = [frame for frame in step.frames if frame[0] <= last_id]
        apart = tuple(name for name in self._keep.sinks if name not in running)
        return Step(step.due, last_id, frames, apart)


class Step(NamedTuple):
    """The next step of retention towards `due`: frames up to an id, with (id, node, readings).

    apart: sinks that do not run, whose readings of these frames expire with them.
    """

    due: int
    last_id: int
    frames: Sequence[tuple[int, int, int]]
    apart: Sequence[str]


def look_ahead(connection: sqlite3.Connection, due: int, keep: Keep) -> Step:
    """What the next step removes at most; counting readings takes a while, so it is done here."""
    needed = None if keep.drop_undelivered else book_tables.first_needed(connection, keep.sinks)
    frames = list(retention.next_step(connection, due, needed))
    last_id = frames[-1].id if frames else 0
    counted = [(frame.id, frame.node, readings_of(frame)) for frame in frames]
    return Step(due, last_id, counted, keep.sinks if keep.drop_undelivered else ())


def remove(connection: sqlite3.Connection, step: Step, keep: Keep) -> retention.Removed:
    """One step of retention; what goes is on each sink's ledger afterwards."""
    _expire(connection, step.frames, step.apart)
    waited_for = [sink for sink in keep.sinks if sink not in step.apart]
    needed = book_tables.first_needed(connection, waited_for)
    going = [frame for frame in step.frames if needed is None or frame[0] < needed]
    for sink in book_tables.sinks(connection):
        book_tables.forget_frames(connection, sink, going)
    removed = retention.remove_up_to(connection, step.last_id, needed)
    return replace(removed, held_back=needed is not None and needed <= step.due)


def _expire(
    connection: sqlite3.Connection, going: Sequence[tuple[int, int, int]], sinks: Sequence[str]
) -> None:
    """Counts the readings of (frame id, node, readings) that a sink has not settled."""
    if not going:
        return
    ids = Ranges([(going[0][0], going[-1][0])])
    for sink in sinks:
        state = book_tables.load(connection, sink)
        counts: Counter[Count] = Counter()
        for frame, node, readings in going:
            rest = readings - state.settled(frame, readings)
            counts[Count(EXPIRED, RETENTION_REASON, node)] += rest
        book_tables.enter_apart(connection, sink, book_tables.Entries(done=ids, counts=counts))
