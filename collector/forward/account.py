"""One sink's books: what became of each reading, gathered and written with the next commit."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.archive.writer import Operation, WriteFailed, Writer
from collector.forward import delivery
from collector.forward.delivery import Count, DeadLetter, Settlement
from collector.forward.recent_outcomes import RecentOutcomes
from collector.forward.sending import Results
from collector.ranges import Ranges
from collector.readings.observation import Observation
from collector.readings.rendering import Rendered
from collector.timeline.frozen_time import FrozenTimes, write_lines

log = logging.getLogger(__name__)

REASONS_MAX = 64
WRITE_RETRY_S = 5.0


@dataclass(slots=True)
class Task:
    """A frame under way: a bit for each settled reading, how many are still open, what is next."""

    rendered: Rendered
    settled: int
    open: int
    due_s: float | None = None
    lost: bool = False

    def settle(self, index: int) -> None:
        self.settled |= 1 << index
        self.open -= 1


class Account:
    """Changes of one sink's tables, in memory until the writer has them."""

    def __init__(self, sink: str, writer: Writer, frozen: FrozenTimes) -> None:
        self.partial: dict[int, int] = {}
        self.recent = RecentOutcomes(sink)
        self._sink = sink
        self._writer = writer
        self._frozen = frozen
        self._change = Settlement()
        self._reasons: set[str] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._batch = 0

    def restore(self, state: delivery.SinkState) -> None:
        """Takes over what the tables held."""
        self.partial = state.partial
        self._batch = max(state.claims, default=0)

    def record(self, tasks: Mapping[int, Task], results: Results, now_s: float) -> None:
        """Notes on each frame what became of its readings."""
        for (frame, node), readings in Counter(
            (o.frame.id, o.frame.node) for o in results.accepted
        ).items():
            self._change.counts[Count(delivery.DELIVERED, "", node)] += readings
            if readings == tasks[frame].open:
                tasks[frame].open = 0
        for observation in results.accepted:
            task = tasks[observation.frame.id]
            if task.open:
                task.settle(observation.reading)
        for observation, reason in results.rejected:
            tasks[observation.frame.id].settle(observation.reading)
            self._reject(observation, reason)
        self.recent.note(len(results.accepted), [reason for _, reason in results.rejected])
        self.possible_duplicates(results.resent)
        for observation, wait_s in results.delayed:
            task = tasks[observation.frame.id]
            task.due_s = max(task.due_s or 0.0, now_s + wait_s)

    def possible_duplicates(self, readings: Iterable[Observation]) -> None:
        """Counts readings that go out again although the network may hold them."""
        for observation in readings:
            count = Count(delivery.POSSIBLE_DUPLICATE, "", observation.frame.node)
            self._change.counts[count] += 1

    def complete(self, task: Task) -> None:
        """Every reading of this frame is settled or left out."""
        ref = task.rendered.ref
        for reason, readings in task.rendered.left_out.items():
            self._change.counts[Count(delivery.LEFT_OUT, reason, ref.node)] += readings
        self.finish(Ranges([(ref.id, ref.id)]))

    def interrupt(self, task: Task) -> None:
        """Some readings of this frame are settled, others are not."""
        frame = task.rendered.ref.id
        if task.settled and task.settled != self.partial.get(frame):
            self.partial[frame] = self._change.partial[frame] = task.settled

    def expire(self, node: int, frame: int, readings: int, reason: str) -> None:
        """The rest of this frame will not be sent any more."""
        self._change.counts[Count(delivery.EXPIRED, reason, node)] += readings
        self.finish(Ranges([(frame, frame)]))

    def finish(self, ids: Ranges) -> None:
        """These frames are done."""
        self._change.done.update(ids)
        for partial in (self.partial, self._change.partial):
            for frame in [f for f in partial if f in ids] if partial else ():
                del partial[frame]

    def release(self, batch: int) -> None:
        """Nothing of this claim is unknown any more."""
        self._change.released.add(batch)

    async def claim(self, ids: Ranges, chosen_ms: int, *, urgent: bool) -> int:
        """Commits that these frames may be sent from now on; returns the claim's number."""
        self._batch += 1
        batch, rows, change = self._batch, self._frozen.rows(), self._change
        self._change = Settlement()

        def operation(connection: sqlite3.Connection) -> None:
            delivery.settle(connection, self._sink, change)
            write_lines(connection, rows)
            delivery.claim(connection, self._sink, batch, ids, chosen_ms)

        await self._have_written(change, operation, urgent=urgent)
        self._frozen.written(rows)
        return batch

    async def replay(self, first_id: int, last_id: int) -> Ranges:
        """Makes the tables forget what is done of these frames; returns which are open again.

        Those that are settled while this is being written count as sent after it.
        """
        change, self._change = self._change, Settlement()

        def operation(connection: sqlite3.Connection) -> None:
            delivery.settle(connection, self._sink, change)
            delivery.replay(connection, self._sink, first_id, last_id)

        await self._have_written(change, operation, urgent=True)
        for frame in [frame for frame in self.partial if first_id <= frame <= last_id]:
            if frame not in self._change.partial:
                del self.partial[frame]
        return Ranges(self._change.done.missing(first_id, last_id))

    def flush_soon(self) -> None:
        """Has the changes written with the next commit; returns at once."""
        if self._change and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.create_task(self._flush())

    async def flushed(self) -> None:
        """Waits until all changes are committed."""
        self.flush_soon()
        if self._flushing:
            await asyncio.shield(self._flushing)

    async def close(self) -> None:
        """Writes what is left, once."""
        if self._flushing:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        try:
            await self._write()
        except WriteFailed as failure:
            log.warning("%s: the last deliveries could not be noted: %s", self._sink, failure)

    async def _flush(self) -> None:
        while self._change:
            try:
                await self._write()
            except WriteFailed as failure:
                log.warning("%s: deliveries could not be noted: %s", self._sink, failure)
                await asyncio.sleep(WRITE_RETRY_S)

    async def _write(self) -> None:
        change, self._change = self._change, Settlement()
        if change:
            await self._have_written(change, lambda c: delivery.settle(c, self._sink, change))

    async def _have_written(
        self, change: Settlement, operation: Operation[None], *, urgent: bool = False
    ) -> None:
        """Has the change written by an operation; what was not written is taken back."""
        try:
            await self._writer.write(operation, urgent=urgent)
        except BaseException:
            self._change.absorb(change)
            raise

    def _reject(self, observation: Observation, reason: str) -> None:
        word = self._word(reason)
        self._change.counts[Count(delivery.REJECTED, word, observation.frame.node)] += 1
        self._change.dead_letters.append(
            DeadLetter(
                observation.frame.id,
                observation.reading,
                observation.channel.key,
                observation.time_ms,
                reason,
            )
        )

    def _word(self, reason: str) -> str:
        """The part of a reason that is counted: what stands before its first colon."""
        word = reason.split(":", 1)[0][:60]
        if word not in self._reasons and len(self._reasons) >= REASONS_MAX:
            return "other"
        self._reasons.add(word)
        return word
