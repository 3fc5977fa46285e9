"""Intake: from bytes of a transport to frames in the archive, and the answers that follow.

`receive` decides at once and keeps accepted frames in memory; `flush` commits them as one group,
and only then composes ACKs, from what is durable.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ParamSpec

from collector.archive import archive
from collector.archive.archive import StoredFrame
from collector.boards.downlink import Answers, Downlink
from collector.clock import Clock, SteadyClock
from collector.intake.admission import Admission, KeyRing
from collector.intake.commit import GroupCommit, Waiting, forget
from collector.intake.decision import (
    ACCEPTED,
    CONFLICT,
    DUPLICATE,
    ERASED,
    LIVE,
    PENDING,
    UNSURE,
    Decision,
    Kind,
)
from collector.intake.flood import Flood
from collector.intake.hearing import Hearing
from collector.intake.live import LiveReports
from collector.intake.receipts import Receipts
from collector.intake.renewal import Renewal
from collector.intake.resends import Compared, UnsureResends
from collector.ledger.ledger import Alarm, TooManyBoots
from collector.ledger.ledger_boot import BootLedger, Verdict
from collector.seldom import is_worth_a_line
from collector.storage.storage import Storage
from collector.transports.base import Source
from protocol import wire
from protocol.envelope import Head
from protocol.outline import RAISED, outline_of

log = logging.getLogger(__name__)

PART_COST_MAX = 20_000
"""Frames, and index rows beyond an ordinary frame's, that one transaction holds."""

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Bounds of what waits in memory, and of what one node may send."""

    group_frames: int = 500
    group_interval_s: float = 1.0
    waiting_frames: int = 20_000
    unsure_frames: int = 1_000
    node_frames_per_s: int = 500
    node_burst: int = 5_000


@dataclass(slots=True)
class IntakeCounters:
    """What intake saw since it started."""

    bytes: int = 0
    decisions: Counter[Kind] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unheard: int = 0
    """Frames that somebody who listens here could not make use of: a fault of this program."""

    @property
    def received(self) -> int:
        """All frames."""
        return self.decisions.total()

    @property
    def live(self) -> int:
        """LIVE frames that were believed."""
        return self.decisions[Kind.LIVE]


def _log_alarm(alarm: Alarm) -> None:
    log.warning("%s", alarm)


class Intake:
    """All that is received goes through here. `send` hands a downlink frame to the transports."""

    def __init__(
        self,
        keys: KeyRing,
        storage: Storage,
        clock: Clock,
        *,
        send: Callable[[Downlink], None],
        limits: IntakeLimits | None = None,
        on_commit: Callable[[int], None] | None = None,
        on_alarm: Callable[[Alarm], None] = _log_alarm,
        on_live: Callable[[int, int, Source], None] | None = None,
        on_answer: Callable[[StoredFrame], None] | None = None,
    ) -> None:
        clock = SteadyClock(clock)
        ledger, quarantine, timeline = storage.ledger, storage.quarantine, storage.timeline
        self.counters = IntakeCounters()
        self.limits = limits = limits or IntakeLimits()
        self.latest: dict[int, StoredFrame] = {}
        """The newest DATA frame of each node, for whoever shows live values."""
        self.accepting = True
        """False while the disk is nearly full: then nothing new is taken nor acknowledged."""
        self.hearing = Hearing(clock.monotonic_ms)
        self._receipts = Receipts(clock, storage.start)
        self._renewal = Renewal(ledger, clock)
        self.commits = GroupCommit(storage, self._receipts, self._renewal)
        self._ledger = ledger
        self._clock = clock
        self._on_commit = on_commit
        self._on_alarm = on_alarm
        self._on_live = on_live
        self._on_answer = on_answer
        self._waiting: list[Waiting] = []
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._quarantine = quarantine
        self._admission = Admission(keys, quarantine)
        self._flood = Flood(clock.monotonic_ms, limits.node_frames_per_s, limits.node_burst)
        self._unsure = UnsureResends(ledger, storage.writer, limits.unsure_frames)
        self._answers = Answers(keys.down, ledger, clock, send)
        self._live = LiveReports(
            keys,
            ledger,
            clock,
            timeline,
            self._answers,
            self._renewal,
            on_alarm=on_alarm,
            wake=self._wake.set,
        )

    @property
    def waiting(self) -> int:
        """Frames in memory that no commit holds yet."""
        return len(self._waiting)

    def receive(self, raw: bytes, source: Source) -> Decision:
        """Decides about one frame; never blocks and never raises.

        A frame whose processing raises is refused as "failed", counted and kept in quarantine.
        """
        counters = self.counters
        counters.bytes += len(raw)
        try:
            head = self._admission.admit(raw, source)
            if isinstance(head, Decision):
                decision = head
            elif head.type == wire.T_LIVE:
                decision = self._live.take(raw, head, source)
                if decision is LIVE and self._on_live is not None:
                    self._told(self._on_live, head.node, head.seq, source)
            else:
                decision = self._sequenced(raw, head, source)
        except sqlite3.Error as error:
            log.error("a frame is not taken in, its boot's ledger cannot be read: %s", error)
            decision = Decision(Kind.REFUSED, "storage")
        except Exception:
            decision = self._failed(raw, source)
        counters.decisions[decision.kind] += 1
        if decision.reason:
            counters.refused[decision.reason] += 1
        return decision

    def _failed(self, raw: bytes, source: Source) -> Decision:
        """A frame whose processing has just raised."""
        if is_worth_a_line(self.counters.refused[RAISED] + 1):
            log.exception("a frame is refused, processing it raised an error: %s", raw.hex())
        node = int.from_bytes(raw[4:8], "little") if source.node is None else source.node
        self._quarantine.offer(raw, node, RAISED, source.transport)
        return Decision(Kind.REFUSED, RAISED)

    def _sequenced(self, raw: bytes, head: Head, source: Source) -> Decision:
        try:
            boot = self._ledger.boot(head.node, head.boot, self._clock.unix_ms())
        except TooManyBoots:
            return Decision(Kind.REFUSED, "too_many_boots")
        tag = raw[head.end :]
        verdict = boot.judge(head.seq, tag)
        if verdict is Verdict.NEW or verdict is Verdict.CONFLICT:
            return self._store(raw, head, source, boot, verdict is Verdict.CONFLICT)
        if verdict is Verdict.DUPLICATE or verdict is Verdict.ERASED:
            self._resent(head, boot)
            self._answers.note(head.node, head.boot, source)
            self._wake.set()
            return DUPLICATE if verdict is Verdict.DUPLICATE else ERASED
        if verdict is Verdict.PENDING:
            return PENDING
        if verdict is Verdict.UNSURE:
            if not self._unsure.add(raw, head, source):
                return Decision(Kind.REFUSED, "busy")
            self._wake.set()
            return UNSURE
        return Decision(Kind.REFUSED, verdict.value)

    def _store(
        self, raw: bytes, head: Head, source: Source, boot: BootLedger, conflict: bool
    ) -> Decision:
        doubtful = self.commits.doubtful
        if not self.accepting or doubtful:
            return Decision(Kind.REFUSED, "storage" if doubtful else "disk_full")
        if len(self._waiting) >= self.limits.waiting_frames:
            return Decision(Kind.REFUSED, "busy")
        if not self._flood.passes(head.node):
            return Decision(Kind.REFUSED, "flood")
        seen = outline_of(raw, head.type)
        if seen.extra_cost and not self._flood.passes(head.node, seen.extra_cost):
            return Decision(Kind.REFUSED, "flood")
        state = archive.CONFLICT if conflict else _state_of(seen.reason)
        frame = StoredFrame(
            0,
            head.node,
            head.boot,
            head.seq,
            head.type,
            state,
            self._receipts.stamp(),
            seen.first_ms,
            seen.last_ms,
            raw,
        )
        tag = raw[head.end :]
        if conflict:
            boot.wait_conflict(head.seq, tag)
        else:
            boot.wait(head.seq, tag)
        self._waiting.append(Waiting(frame, boot, seen, source))
        if len(self._waiting) >= self.limits.group_frames:
            self._full.set()
        self._wake.set()
        return CONFLICT if conflict else ACCEPTED

    async def flush(self) -> int:
        """Commits what waits, then answers; returns how many frames were committed."""
        group, self._waiting = self._waiting, []
        self._full.clear()
        self._wake.clear()
        committed = 0
        if group or self.commits.due:
            durable = await self._commit_in_parts(group)
            committed = len(durable)
            self._tell(durable)
        if self.commits.doubtful and not await self.commits.compare_with_disk():
            self._wake.set()
        for resend in await self._unsure.compare():
            self._compared(resend)
        self._answers.flush()
        if self.commits.due:
            self._wake.set()
        if committed and self._on_commit is not None:
            self._on_commit(self._ledger.newest_id)
        return committed

    async def _commit_in_parts(self, group: list[Waiting]) -> list[Waiting]:
        """Commits a group; one that costs much in several transactions, for memory's sake."""
        durable: list[Waiting] = []
        first = 0
        try:
            while True:
                end = _end_of_part(group, first)
                stored = await self.commits.commit(group[first:end])
                durable += stored
                part, first = end - first, end
                if first == len(group) or (part and not stored):
                    return durable
        finally:
            forget(group[first:])

    def _tell(self, group: list[Waiting]) -> None:
        """What a durable group means for boards and for whoever listens."""
        note, latest, on_answer = self._answers.note, self.latest, self._on_answer
        for waiting in group:
            frame = waiting.frame
            if frame.state == archive.CONFLICT:
                self._told(self._on_alarm, _conflict_alarm(frame))
            if frame.type == wire.T_DATA:
                latest[frame.node] = frame
            elif on_answer is not None:
                self._told(on_answer, frame)
            note(frame.node, frame.boot, waiting.source)

    def _told(self, listener: Callable[P, None], *what: P.args, **more: P.kwargs) -> None:
        """Tells a listener; what it raises is its own fault, and the frame stays taken in."""
        try:
            listener(*what, **more)
        except Exception:
            self.counters.unheard += 1
            if is_worth_a_line(self.counters.unheard):
                log.exception("%s could not make use of a frame", listener)

    def _resent(self, head: Head, boot: BootLedger) -> None:
        if boot.acknowledges(head.seq):
            self.hearing.resent(head.node, head.boot, head.seq)

    def _compared(self, resend: Compared) -> None:
        head = resend.head
        if resend.same:
            self._resent(head, resend.boot)
            self._answers.note(head.node, head.boot, resend.source)
        elif resend.boot.judge_different(head.seq, resend.raw[head.end :]) is Verdict.CONFLICT:
            self._store(resend.raw, head, resend.source, resend.boot, True)

    async def run(self) -> None:
        """Flushes for ever: a second after the first frame of a group, or when it is full."""
        while True:
            await self._wake.wait()
            # not wait_for: before Python 3.12 it may swallow a cancellation
            with suppress(TimeoutError):
                async with asyncio.timeout(self.limits.group_interval_s):
                    await self._full.wait()
            await self.flush()


def _end_of_part(group: list[Waiting], first: int) -> int:
    cost = 0
    for position in range(first, len(group)):
        cost += 1 + group[position].seen.extra_cost
        if cost >= PART_COST_MAX:
            return position + 1
    return len(group)


def _state_of(reason: str) -> int:
    if reason == RAISED:
        return archive.FAILED
    return archive.UNDECODED if reason else archive.OK


def _conflict_alarm(frame: StoredFrame) -> Alarm:
    text = f"two frames have the number {frame.seq}: two boards with one identity?"
    return Alarm("conflict", frame.node, frame.boot, 1, text)
