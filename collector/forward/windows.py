"""From the archive to the books: windows of frames at one sink, and how each of them ends.

Nothing here speaks with the network. Who does takes a window, hands its readings over, and brings
back what became of them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from collector.archive.archive import StoredFrame
from collector.clock import Clock
from collector.forward.books import Books
from collector.forward.frame_reader import FrameReader
from collector.forward.selection import Policy, Selection
from collector.forward.sending import Results
from collector.forward.states import EXPIRABLE, IDLE, Cause, Event, Frames, Impossible, Lane, State
from collector.ranges import Ranges
from collector.readings.counting import readings_of
from collector.readings.observation import Channel, Observation
from collector.readings.rendering import Rendered
from protocol.wire import T_DATA

WINDOW_FRAMES = 512
LIVE_BEHIND_FRAMES = 2_000
EXPIRED_AT_ONCE = 500
ASKED_FRAMES = 64
EVERY_READING = Selection(Policy())

_frame_of = attrgetter("frame")


@dataclass(slots=True)
class FrameAtSink:
    """A frame under way: a bit for each settled reading, and how many are open.

    due_s: when it may be sent again, if readings have to wait. lost: some got no answer.
    """

    rendered: Rendered
    settled: int
    open: int
    due_s: float | None = None
    lost: bool = False

    def settle(self, readings: Sequence[Observation]) -> None:
        """These open readings are settled. Raises Impossible for one that was."""
        if len(readings) < self.open:
            for reading in readings:
                bit = 1 << reading.reading
                if self.settled & bit:
                    raise Impossible(f"reading {reading.reading} of a frame is settled twice")
                self.settled |= bit
        self.open -= len(readings)
        if self.open < 0:
            raise Impossible("more readings of a frame are settled than were sent")

    def wait(self, due_s: float) -> None:
        """Some of its readings have to wait until then."""
        self.due_s = max(self.due_s or 0.0, due_s)


@dataclass(slots=True)
class Window:
    """Frames that a lane sends under one claim, by id, and what is to be sent of them.

    claim: the claim's number, 0 before it is committed. chosen_ms: when the readings were chosen.
    """

    lane: Lane
    chosen_ms: int
    frames: dict[int, FrameAtSink] = field(default_factory=dict)
    readings: list[Observation] = field(default_factory=list)
    claim: int = 0

    def ids(self) -> Ranges:
        """Its frames."""
        return Ranges((frame, frame) for frame in self.frames)

    def take(self, rendered: Rendered, settled: int, selection: Selection) -> None:
        """Adds a frame; `settled` has a bit for each of its readings that is settled already."""
        chosen = selection.choose(rendered, settled, self.chosen_ms)
        self.frames[rendered.ref.id] = FrameAtSink(rendered, settled, len(chosen))
        self.readings += chosen

    def narrow(self, selection: Selection) -> None:
        """Leaves out what only a look at all frames together tells."""
        self.readings, spared = selection.narrow(self.readings, self.chosen_ms)
        for observation, reason in spared:
            frame = self.frames[observation.frame.id]
            frame.rendered.leave_out(reason)
            frame.open -= 1

    def set_apart(self, waits_s: Mapping[Channel, float]) -> None:
        """Readings of these channels wait; the others go."""
        if not waits_s:
            return
        now_s = asyncio.get_running_loop().time()
        for reading in self.readings:
            if (wait_s := waits_s.get(reading.channel)) is not None:
                self.frames[reading.frame.id].wait(now_s + wait_s)
        self.readings = [o for o in self.readings if o.channel not in waits_s]


@dataclass(slots=True)
class Claim:
    """Frames of a claim whose outcome is unknown; chosen_ms: when their readings were chosen."""

    number: int
    ids: Ranges
    chosen_ms: int


class Windows:
    """The life of frames at one sink; `wake_backlog` says that the backlog has work."""

    def __init__(
        self,
        reader: FrameReader,
        books: Books,
        selection: Selection,
        policy: Policy,
        clock: Clock,
        readings_max: int,
        wake_backlog: Callable[[], None],
    ) -> None:
        self.frames = Frames()
        self.unknown: dict[int, Claim] = {}
        self.last_accepted_ms: int | None = None
        self._reader = reader
        self._books = books
        self._selection = selection
        self._policy = policy
        self._clock = clock
        self._readings_max = readings_max
        self._wake_backlog = wake_backlog
        self._claimed: dict[int, Window] = {}
        self._replaying = asyncio.Lock()

    async def restart(self, *, live: bool) -> None:
        """Takes over what the books say; frames that arrive from now on are `live`, if any are."""
        state = await self._books.open()
        self.unknown = {
            number: Claim(
                number,
                Ranges(gap for first, last in ids for gap in state.done.missing(first, last)),
                state.chosen_ms[number],
            )
            for number, ids in state.claims.items()
        }
        newest = await self._reader.newest_id()
        unknown = [ids for claim in self.unknown.values() for ids in claim.ids]
        self.frames = Frames(state.done, unknown, newest, newest + 1 if live else None)
        self._claimed.clear()

    async def render_next(self, lane: Lane) -> Window | None:
        """The lane's next window, read and rendered; None when it has none."""
        frames = self.frames
        while True:
            frames.arrived(await self._reader.newest_id())
            if lane == "live" and frames.catch_up(LIVE_BEHIND_FRAMES):
                self._wake_backlog()
            ids = frames.take(lane, WINDOW_FRAMES, asyncio.get_running_loop().time())
            if not ids:
                return None
            try:
                window = await self._render(lane, ids, await self._reader.read(ids))
            except BaseException:
                frames.happened(Event.RETURNED, frames.those((State.TAKEN,), ids), lane)
                raise
            if window.readings:
                return window
            self.close(window)

    async def claim(self, window: Window) -> None:
        """Commits that its readings may be sent from now on. When it raises, close the window."""
        ids = window.ids()
        window.claim = await self._books.claim(
            ids, window.chosen_ms, urgent=window.lane == "backlog"
        )
        self.frames.happened(Event.CLAIM_COMMITTED, ids)
        self._claimed[window.claim] = window

    def record(self, window: Window, results: Results) -> None:
        """Notes what became of the readings of a window: here all of it is counted."""
        self._record(window.frames, results)
        for reading in results.unknown:
            window.frames[reading.frame.id].lost = True
        if results.accepted:
            self.last_accepted_ms = self._clock.unix_ms()

    def close(self, window: Window) -> None:
        """Says what happens with each frame of a window next, and lets go of its claim."""
        self._claimed.pop(window.claim, None)
        done, lost, unsent = Ranges(), Ranges(), Ranges()
        for frame, at_sink in window.frames.items():
            if not at_sink.open:
                self._left_out(at_sink)
                done.add(frame)
                continue
            self._books.settled_in_part(frame, at_sink.settled)
            if at_sink.lost:
                lost.add(frame)
            elif at_sink.due_s is not None:
                self.frames.wait(frame, at_sink.due_s)
            else:
                unsent.add(frame)
        claimed = window.claim > 0
        self._finish(Event.SETTLED if claimed else Event.EMPTY, done)
        self.frames.happened(Event.NOT_SENT if claimed else Event.RETURNED, unsent, window.lane)
        if lost:
            self.frames.happened(Event.NO_ANSWER, lost)
            self.unknown[window.claim] = Claim(window.claim, lost, window.chosen_ms)
        elif claimed:
            self._books.released(window.claim)
        self._books.flush_soon()

    def close_rest(self) -> None:
        """Closes windows that were claimed and never handed to the sink, when a run ends."""
        for window in list(self._claimed.values()):
            self.close(window)

    async def recall(self, claim: Claim, *, few: bool) -> tuple[Ranges, Window]:
        """What may have been sent of an unknown claim: its frames, and their readings.

        With `few` the readings of its first frames, each that may have been sent. Else those of all
        its frames, chosen as they were then: what becomes of them is noted in one transaction.
        """
        first, last = claim.ids.first or 0, claim.ids.last or 0
        selection = EVERY_READING if few else self._selection.afresh()
        ids = Ranges(claim.ids.overlap(first, min(last, first + ASKED_FRAMES - 1) if few else last))
        sent = Window("backlog", claim.chosen_ms, claim=claim.number)
        for frame in await self._reader.read(ids):
            rendered = await self._reader.render_in_turn(frame)
            if frame.type == T_DATA and not isinstance(rendered, Cause):
                sent.take(rendered, self._books.partial.get(frame.id, 0), selection)
        sent.narrow(selection)
        return ids, sent

    def resolve(self, claim: Claim, ids: Ranges, sent: Window, results: Results) -> None:
        """Notes what became of these frames of an unknown claim; lets go of it with the last."""
        self._record(sent.frames, results)
        there, rest = Ranges(), ids.copy()
        for frame, at_sink in sent.frames.items():
            if at_sink.open or not results.accepted:
                self._books.settled_in_part(frame, at_sink.settled)
            else:
                self._left_out(at_sink)
                there.add(frame)
                rest.remove(frame)
        self._finish(Event.THERE, there)
        self.frames.happened(Event.NOT_THERE, rest)
        self._let_go(claim, ids)

    def look_again(self) -> None:
        """Frames held for want of a time or a decoder may have become readable."""
        self.frames.readable(self.frames.causes)

    def look_at_dates(self) -> None:
        """Lets go of frames whose boots have a time by now."""
        dated = [cause for cause in self.frames.causes if self._reader.is_dated(cause)]
        self.frames.readable(dated)

    async def expire(self) -> int:
        """Expires the oldest frames that are too old or too many; returns how many."""
        self.frames.arrived(await self._reader.newest_id())
        expired = 0
        while True:
            excess = self.frames.open_count() - self._policy.backlog_frames
            ids = self.frames.oldest_expirable(min(EXPIRED_AT_ONCE, max(excess, 1)))
            if not ids:
                return expired
            stored = await self._reader.read(ids)
            old = [frame for frame in stored if excess > 0 or self._is_too_old(frame)]
            went, gone = self._expire(ids, stored, old, "size" if excess > 0 else "age")
            expired += went
            if not went + gone or len(old) < len(stored):
                return expired

    async def give_up(self, last_id: int) -> int:
        """Expires what is open up to this id, for retention; returns up to where all is written.

        What a lane has at that moment is not given up. Nobody may be resolving claims.
        """
        frames = self.frames
        while ids := Ranges(frames.oldest_expirable(EXPIRED_AT_ONCE).overlap(1, last_id)):
            stored = await self._reader.read(ids)
            self._expire(ids, stored, stored, "retention")
        settled_to = min(last_id, frames.first_open() - 1)
        await self._books.flushed()
        return settled_to

    async def replay(self, first_id: int, last_id: int) -> None:
        """Sends frames again of which something is settled, and which are not under way.

        Raises WriteFailed when that is not noted, or not known to be.
        """
        async with self._replaying:
            frames, partial = self.frames, self._books.partial
            done = frames.those((State.DONE,), [(first_id, last_id)])
            settled = {id: mask for id, mask in partial.items() if first_id <= id <= last_id}
            await self._books.write()
            done = frames.those((State.DONE,), done)
            written = [id for id, mask in settled.items() if partial.get(id) == mask]
            begun = frames.those(IDLE, Ranges((id, id) for id in written))
            frames.happened(Event.REOPENED, begun)

            def told(replayed: bool) -> None:
                if replayed:
                    frames.happened(Event.REPLAYED, done)
                    for frame in [frame for frame in partial if frame in begun]:
                        del partial[frame]
                frames.happened(Event.RETURNED, begun, "backlog")

            await self._books.replay(Ranges([*done, *begun]), told)

    async def _render(self, lane: Lane, ids: Ranges, stored: Sequence[StoredFrame]) -> Window:
        now_ms = self._clock.unix_ms()
        window = Window(lane, now_ms)
        empty = ids.copy()
        for frame in stored:
            if len(window.readings) >= self._readings_max:
                rest = Ranges(empty.overlap(frame.id, ids.last or 0))
                self.frames.happened(Event.RETURNED, rest, lane)
                empty.remove(frame.id, ids.last)
                break
            if frame.type == T_DATA:
                empty.remove(frame.id)
                self._add(window, frame.id, await self._reader.render_in_turn(frame), now_ms)
        self._finish(Event.EMPTY, empty)
        window.narrow(self._selection)
        return window

    def _add(self, window: Window, frame: int, rendered: Rendered | Cause, now_ms: int) -> None:
        if isinstance(rendered, Cause):
            self.frames.hold(frame, rendered)
        elif window.lane == "live" and self._is_old(rendered, now_ms):
            self.frames.happened(Event.OLD, Ranges([(frame, frame)]))
            self._wake_backlog()
        else:
            window.take(rendered, self._books.partial.get(frame, 0), self._selection)

    def _record(self, frames: Mapping[int, FrameAtSink], results: Results) -> None:
        books = self._books
        for ref, group in groupby(results.accepted, _frame_of):
            readings = list(group)
            frames[ref.id].settle(readings)
            books.delivered(ref.node, len(readings))
        for reading, reason in results.rejected:
            frames[reading.frame.id].settle([reading])
            books.rejected(reading, reason)
        books.recent.note(len(results.accepted), [reason for _, reason in results.rejected])
        books.possible_duplicates(results.resent)
        now_s = asyncio.get_running_loop().time()
        for reading, wait_s in results.delayed:
            frames[reading.frame.id].wait(now_s + wait_s)

    def _let_go(self, claim: Claim, ids: Iterable[tuple[int, int]]) -> None:
        """These are not unknown any more; with the last of them the claim goes."""
        for first, last in ids:
            claim.ids.remove(first, last)
        if not claim.ids:
            del self.unknown[claim.number]
            self._books.released(claim.number)
            self._books.flush_soon()

    def _left_out(self, at_sink: FrameAtSink) -> None:
        self._books.left_out(at_sink.rendered.ref.node, at_sink.rendered.left_out)

    def _finish(self, event: Event, ids: Ranges) -> None:
        self.frames.happened(event, ids)
        self._books.done(ids)

    def _expire(
        self, ids: Ranges, stored: Sequence[StoredFrame], old: Sequence[StoredFrame], reason: str
    ) -> tuple[int, int]:
        """Expires those of the old frames that no lane has taken meanwhile; how many, and how many
        are gone. Nobody may be resolving claims."""
        open_ = self.frames.those(EXPIRABLE, ids)
        expired, gone = Ranges(), open_.copy()
        for frame in stored:
            gone.remove(frame.id)
        for frame in old:
            if frame.id in open_:
                settled = self._books.partial.get(frame.id, 0).bit_count()
                self._books.expired(frame.node, readings_of(frame) - settled, reason)
                expired.add(frame.id)
        self._finish(Event.EXPIRED, expired)
        self._finish(Event.GONE, gone)
        for claim in list(self.unknown.values()):
            self._let_go(claim, [*expired, *gone])
        self._books.flush_soon()
        return expired.count(), gone.count()

    def _is_too_old(self, frame: StoredFrame) -> bool:
        age_ms = self._clock.unix_ms() - frame.received_ms
        return frame.received_ms > 0 and age_ms > self._policy.backlog_age_s * 1000

    def _is_old(self, rendered: Rendered, now_ms: int) -> bool:
        if not rendered.observations or self._policy.fresh_s is not None:
            return False
        return now_ms - rendered.observations[-1].time_ms > self._policy.live_age_s * 1000
