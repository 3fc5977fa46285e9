"""One sink's books: what became of each reading, counted once, and written with the next commit.

Entries gather in memory and go out as pages. A page holds everything that is not known to be on the
disk, and totals instead of differences, so that writing it again changes nothing: whether a page
failed or nobody knows, its entries are in the next one. Only a replay may not be written twice; it
is known again by the number of replays on the disk.

Counting is one rule: a reading is entered when it is settled, by one of the methods `delivered`,
`rejected`, `left_out` and `expired`, and a frame is `done` when all of its readings are.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from collector.archive import archive
from collector.archive.parcels import commit
from collector.archive.writer import OutcomeUnknown, WriteFailed, Writer
from collector.forward import book_tables
from collector.forward.book_tables import Count, DeadLetter, Entries, SinkState
from collector.ranges import Ranges
from collector.readings.observation import Observation
from collector.timeline.frozen_time import FrozenTimes

log = logging.getLogger(__name__)

REASONS_MAX = 64
RECENT_READINGS = 10_000
WRITE_RETRY_S = 5.0


class Books:
    """One sink's tables, and what they do not have yet.

    partial: of open frames, a bit for each reading that is settled.
    """

    def __init__(self, sink: str, writer: Writer, frozen: FrozenTimes) -> None:
        self.partial: dict[int, int] = {}
        self.recent = RecentOutcomes(sink)
        self._sink = sink
        self._writer = writer
        self._frozen = frozen
        self._totals: Counter[Count] = Counter()
        self._unwritten = [Entries()]
        """Oldest first; the last one takes what is entered now."""
        self._pages = 0
        self._doubtful: _Replay | None = None
        self._reasons: set[str] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._last_claim = 0
        self._closed = False

    async def open(self) -> SinkState:
        """Writes what is left of a former run, and reads what the tables hold."""
        self._closed = False
        await self.flushed()

        def operation(connection: sqlite3.Connection) -> tuple[SinkState, dict[Count, int]]:
            book_tables.create(connection)
            state = book_tables.load(connection, self._sink)
            claimed = [ranges.last or 0 for ranges in state.claims.values()]
            archive.raise_ids_above(connection, max([state.done.last or 0, *claimed]))
            return state, book_tables.counts(connection, self._sink).get(self._sink, {})

        state, totals = await self._writer.write(operation, urgent=True)
        self._totals = Counter(totals)
        self.partial = state.partial
        self._last_claim = max([self._last_claim, *state.claims])
        return state

    def delivered(self, node: int, readings: int) -> None:
        """The network has these."""
        self._count(Count(book_tables.DELIVERED, "", node), readings)

    def rejected(self, reading: Observation, reason: str) -> None:
        """The network refused this one for ever."""
        self._count(Count(book_tables.REJECTED, self._word(reason), reading.frame.node), 1)
        self._unwritten[-1].dead_letters.append(
            DeadLetter(
                reading.frame.id, reading.reading, reading.channel.key, reading.time_ms, reason
            )
        )

    def left_out(self, node: int, readings: Mapping[str, int]) -> None:
        """This network is spared these, by reason."""
        for reason, number in readings.items():
            self._count(Count(book_tables.LEFT_OUT, reason, node), number)

    def expired(self, node: int, readings: int, reason: str) -> None:
        """These will not be sent any more."""
        self._count(Count(book_tables.EXPIRED, reason, node), readings)

    def possible_duplicates(self, readings: Iterable[Observation]) -> None:
        """Readings that go out again although the network may hold them."""
        for node, number in Counter(reading.frame.node for reading in readings).items():
            self._count(Count(book_tables.POSSIBLE_DUPLICATE, "", node), number)

    def settled_in_part(self, frame: int, settled: int) -> None:
        """These readings of an open frame are settled, a bit for each."""
        if settled != self.partial.get(frame, 0):
            self.partial[frame] = self._unwritten[-1].partial[frame] = settled

    def done(self, ids: Ranges) -> None:
        """These frames are done."""
        entries = self._unwritten[-1]
        entries.done.update(ids)
        for partial in (self.partial, entries.partial):
            for frame in [f for f in partial if f in ids] if partial else ():
                del partial[frame]

    def released(self, claim: int) -> None:
        """Nothing of this claim is claimed or unknown any more."""
        self._unwritten[-1].released.add(claim)

    async def claim(self, ids: Ranges, chosen_ms: int, *, urgent: bool) -> int:
        """Commits that these frames may be sent from now on; returns the claim's number.

        When it raises, nothing is claimed, or that is let go of with the next page.
        """
        self._last_claim += 1
        number = self._last_claim

        def write_claim(connection: sqlite3.Connection) -> None:
            book_tables.claim(connection, self._sink, number, ids, chosen_ms)

        try:
            page = _Page(self, write_claim)
            await commit(self._writer, [page, self._frozen.take()], urgent=urgent)
        except OutcomeUnknown:
            self.released(number)
            raise
        return number

    async def replay(self, ids: Ranges, told: Callable[[bool], None]) -> None:
        """Makes the tables forget what is settled of frames, all of which is written.

        `told` is called once, when it is known whether that is done: at the latest with the next
        page. Raises WriteFailed when it is not, or when that is not known yet.
        """
        await commit(self._writer, [_Replay(self, ids, told)], urgent=True)

    def flush_soon(self) -> None:
        """Has what is unwritten written with the next commit; returns at once."""
        if self._closed:
            return
        if self._is_behind() and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.create_task(self._flush())

    async def flushed(self) -> None:
        """Waits until all that is entered by now is committed. Raises WriteFailed once closed."""
        entered = list(self._unwritten)
        while self._is_behind() and (
            self._doubtful or any(each is mine for each in self._unwritten for mine in entered)
        ):
            if self._closed:
                raise WriteFailed(f"{self._sink}: its books are closed")
            try:
                await self.write()
            except WriteFailed as failure:
                log.warning("%s: deliveries could not be noted: %s", self._sink, failure)
                await asyncio.sleep(WRITE_RETRY_S)

    async def close(self) -> None:
        """Writes what is left, once."""
        self._closed = True
        if self._flushing:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        try:
            await self.write()
        except WriteFailed as failure:
            log.warning("%s: the last deliveries could not be noted: %s", self._sink, failure)

    async def _flush(self) -> None:
        while self._is_behind():
            try:
                await self.write()
            except WriteFailed as failure:
                log.warning("%s: deliveries could not be noted: %s", self._sink, failure)
                await asyncio.sleep(WRITE_RETRY_S)

    async def write(self) -> None:
        """Writes what is unwritten, once. Raises WriteFailed."""
        if self._is_behind():
            await commit(self._writer, [_Page(self)])

    def _is_behind(self) -> bool:
        return any(self._unwritten) or self._doubtful is not None

    def _count(self, key: Count, readings: int) -> None:
        self._unwritten[-1].counts[key] += readings
        self._totals[key] += readings

    def _word(self, reason: str) -> str:
        """The part of a reason that is counted: what stands before its first colon."""
        word = reason.split(":", 1)[0][:60]
        if word not in self._reasons and len(self._reasons) >= REASONS_MAX:
            return "other"
        self._reasons.add(word)
        return word


class _Page:
    """A parcel of all that is not known to be on the disk, and perhaps a claim.

    What failed, or may have, stays unwritten and is on the next page.
    """

    def __init__(
        self, books: Books, write_claim: Callable[[sqlite3.Connection], None] | None = None
    ) -> None:
        self._books = books
        self._write_claim = write_claim
        self._entries = tuple(books._unwritten)
        self._totals = {key: books._totals[key] for each in self._entries for key in each.counts}
        self._doubtful = books._doubtful
        self._replays = 0
        books._unwritten.append(Entries())
        books._pages += 1

    def write(self, connection: sqlite3.Connection) -> None:
        sink = self._books._sink
        self._replays = book_tables.replays(connection, sink) if self._doubtful else 0
        for entries in self._entries:
            book_tables.enter(connection, sink, entries)
        book_tables.put_totals(connection, sink, self._totals)
        if self._write_claim is not None:
            self._write_claim(connection)

    def committed(self) -> None:
        written = {id(entries) for entries in self._entries}
        books = self._books
        books._unwritten = [each for each in books._unwritten if id(each) not in written]
        if self._doubtful is not None and self._doubtful is books._doubtful:
            books._doubtful = None
            self._doubtful.found(self._replays)
        self._told()

    def failed(self) -> None:
        self._told()

    def unknown(self) -> None:
        self._told()

    def _told(self) -> None:
        """Entries that no page holds any more become one, lest failures make many."""
        books = self._books
        books._pages -= 1
        if not books._pages:
            first, *others = books._unwritten
            for later in others:
                first.add(later)
            books._unwritten = [first]


class _Replay:
    """A parcel that may not be written twice."""

    def __init__(self, books: Books, ids: Ranges, told: Callable[[bool], None]) -> None:
        self._books = books
        self._ids = ids
        self._told = told
        self._replays_before = 0

    def write(self, connection: sqlite3.Connection) -> None:
        sink = self._books._sink
        self._replays_before = book_tables.replays(connection, sink)
        for first, last in self._ids:
            book_tables.replay(connection, sink, first, last)

    def committed(self) -> None:
        self._told(True)

    def failed(self) -> None:
        self._told(False)

    def unknown(self) -> None:
        self._books._doubtful = self
        self._books.flush_soon()

    def found(self, replays: int) -> None:
        """The disk has so many replays, counted by a later transaction."""
        self._told(replays != self._replays_before)


class RecentOutcomes:
    """Counts that fade: those of the last 10,000 to 20,000 readings weigh most."""

    def __init__(self, sink: str) -> None:
        self.reason = ""
        self._sink = sink
        self._accepted = 0.0
        self._rejected = 0.0
        self._logged: set[str] = set()

    def note(self, accepted: int, rejected: Sequence[str]) -> None:
        """Adds outcomes; the first rejection of each reason is a line in the log."""
        self._accepted += accepted
        self._rejected += len(rejected)
        if self._accepted + self._rejected > 2 * RECENT_READINGS:
            share = RECENT_READINGS / (self._accepted + self._rejected)
            self._accepted *= share
            self._rejected *= share
        for reason in rejected:
            self.reason = reason
            word = reason.split(":", 1)[0]
            if word not in self._logged and len(self._logged) < REASONS_MAX:
                self._logged.add(word)
                log.warning("%s: rejects readings for ever: %s", self._sink, reason)

    def rejected_share(self) -> float:
        """0 to 1."""
        total = self._accepted + self._rejected
        return self._rejected / total if total else 0.0
