"""Intake: from bytes of a transport to frames in the archive, and the answers that follow.

`receive` decides at once and keeps accepted frames in memory; `flush` commits them as one group,
and only then composes ACKs, from what is durable. A frame whose commit failed is forgotten: the
board sends it again.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from collector.archive import archive, hour_index, lookup, recovery, timeline
from collector.archive.archive import (
    CONFLICT,
    FORMER_MAX,
    OK,
    UNDECODED,
    StoredFrame,
    new_collector,
    undated_receipt,
)
from collector.archive.hour_index import HourIndex
from collector.archive.recovery import guess_anchor
from collector.archive.timeline import Timeline
from collector.archive.writer import WriteFailed, Writer
from collector.boards.downlink import Answers, Downlink
from collector.clock import Clock, SteadyClock
from collector.intake.flood import Flood
from collector.intake.opening import Head, TagChecker, head_of
from collector.intake.outline import exact, outline
from collector.intake.quarantine import UNKNOWN_NODE, Quarantine
from collector.ledger import ledger_store
from collector.ledger.ledger import LOST_HERE, Alarm, Ledger, TooManyBoots
from collector.ledger.ledger_boot import BootLedger, Verdict
from collector.transports.base import Source
from protocol import wire
from protocol.decoder import decode
from protocol.wire import FrameError

__all__ = ["Decision", "Downlink", "Intake", "IntakeLimits", "Kind"]

log = logging.getLogger(__name__)

IDENTITY_HOLD_MS = 3_600_000
"""A broken board that claims losses must not change the collector's id without end."""


class KeyRing(Protocol):
    """Where keys come from."""

    def up(self, node: int, boot: int, seq: int) -> list[bytes]:
        """Keys that may have signed this frame; empty for an unknown or revoked node."""

    def down(self, node: int) -> bytes | None:
        """The key for frames to the node."""

    def accepted(
        self,
        node: int,
        boot: int,
        seq: int,
        key_up: bytes,
        named: tuple[int, int] | None = None,
    ) -> None:
        """Says under which key a frame held; named: where a HELLO says that the former ended."""

    def settled(self, node: int, oldest_kept: tuple[int, int] | None) -> None:
        """Says what the oldest (boot, seq) is that the board still keeps."""


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Bounds of what waits in memory, and of what one node may send."""

    group_frames: int = 500
    group_interval_s: float = 1.0
    waiting_frames: int = 20_000
    unsure_frames: int = 1_000
    node_frames_per_s: int = 500
    node_burst: int = 5_000


class Kind(Enum):
    """What became of a received frame."""

    ACCEPTED = "accepted"
    CONFLICT = "conflict"
    PENDING = "pending"
    DUPLICATE = "duplicate"
    UNSURE = "unsure"
    ERASED = "erased"
    LIVE = "live"
    IGNORED = "ignored"
    REFUSED = "refused"


class Decision(NamedTuple):
    """The decision, and its reason when the frame was refused or ignored."""

    kind: Kind
    reason: str = ""


_ACCEPTED = Decision(Kind.ACCEPTED)
_PENDING = Decision(Kind.PENDING)
_DUPLICATE = Decision(Kind.DUPLICATE)
_UNSURE = Decision(Kind.UNSURE)
_ERASED = Decision(Kind.ERASED)
_CONFLICT = Decision(Kind.CONFLICT)
_LIVE = Decision(Kind.LIVE)


@dataclass(slots=True)
class Waiting:
    """A frame on its way into the archive."""

    frame: StoredFrame
    boot: BootLedger
    has_clock: bool
    source: Source


@dataclass(slots=True)
class IntakeCounters:
    """What intake saw since it started."""

    received: int = 0
    bytes: int = 0
    live: int = 0
    committed: int = 0
    discarded: int = 0
    commits_failed: int = 0
    decisions: Counter[Kind] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def _ignore_alarm(alarm: Alarm) -> None:
    log.warning(
        "alarm %s node %08x boot %d: %d frames, %s",
        alarm.kind,
        alarm.node,
        alarm.boot,
        alarm.frames,
        alarm.text,
    )


class Intake:
    """All that is received goes through here. `send` hands a downlink frame to the transports.

    `start` is the number of this run of the collector, for receipts without a wall clock.
    """

    def __init__(
        self,
        keys: KeyRing,
        ledger: Ledger,
        quarantine: Quarantine,
        clock: Clock,
        *,
        writer: Writer,
        timeline: Timeline,
        hours: HourIndex,
        send: Callable[[Downlink], None],
        start: int = 0,
        limits: IntakeLimits | None = None,
        on_commit: Callable[[int], None] | None = None,
        on_alarm: Callable[[Alarm], None] = _ignore_alarm,
        on_live: Callable[[int, int, Source], None] | None = None,
        on_answer: Callable[[StoredFrame], None] | None = None,
    ) -> None:
        self.counters = IntakeCounters()
        self.limits = limits or IntakeLimits()
        self.latest: dict[int, StoredFrame] = {}
        """The newest DATA frame of each node, for whoever shows live values."""
        self.accepting = True
        """False while the disk is nearly full: then nothing new is taken nor acknowledged."""
        self._keys = keys
        self._ledger = ledger
        self._quarantine = quarantine
        self._clock = clock = SteadyClock(clock)
        self._writer = writer
        self._timeline = timeline
        self._hours = hours
        self._start = start
        self._start_dated = False
        self._identity_unwritten = False
        self._doubtful = False
        self._identity_fixed_until_ms = 0
        self._on_commit = on_commit
        self._on_alarm = on_alarm
        self._on_live = on_live
        self._on_answer = on_answer
        self._checker = TagChecker()
        self._flood = Flood(
            clock.monotonic_ms, self.limits.node_frames_per_s, self.limits.node_burst
        )
        self._answers = Answers(keys.down, ledger, clock, send)
        self._waiting: list[Waiting] = []
        self._unsure: list[tuple[bytes, Head, Source]] = []
        self._wake = asyncio.Event()
        self._full = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Frames in memory that no commit holds yet."""
        return len(self._waiting)

    @property
    def doubtful(self) -> bool:
        """True after a failed commit, until the storage works again."""
        return self._doubtful

    def receive(self, raw: bytes, source: Source) -> Decision:
        """Decides about one frame; never blocks and never raises for what it holds."""
        counters = self.counters
        counters.received += 1
        counters.bytes += len(raw)
        try:
            decision = self._decide(raw, source)
        except sqlite3.Error as error:
            log.error("a frame is not taken in, its boot's ledger cannot be read: %s", error)
            decision = Decision(Kind.REFUSED, "storage")
        counters.decisions[decision.kind] += 1
        if decision.reason:
            counters.refused[decision.reason] += 1
        return decision

    def _decide(self, raw: bytes, source: Source) -> Decision:
        if source.retained:
            return Decision(Kind.IGNORED, "retained")
        try:
            head = head_of(raw)
        except FrameError as error:
            return self._quarantined(raw, source.node, error.reason, source)
        if source.node is not None and source.node != head.node:
            return Decision(Kind.IGNORED, "topic")
        keys = self._keys.up(head.node, head.boot, head.seq)
        if not keys:
            return self._quarantined(raw, head.node, UNKNOWN_NODE, source)
        if not head.authenticated:
            return self._quarantined(raw, head.node, "downgrade", source)
        for key in keys:
            if self._checker.holds(raw, head.end, key):
                break
        else:
            return self._quarantined(raw, head.node, "tag", source)
        if len(keys) > 1 or head.type == wire.T_HELLO:
            self._keys.accepted(head.node, head.boot, head.seq, key, _named_switch(raw, head))
        if head.type == wire.T_LIVE:
            return self._live(raw, head, source)
        if not 0 < head.type < wire.T_ACK:
            return Decision(Kind.REFUSED, "type")
        if head.seq == 0:
            return Decision(Kind.REFUSED, "seq")
        return self._sequenced(raw, head, source)

    def _quarantined(self, raw: bytes, node: int | None, reason: str, source: Source) -> Decision:
        self._quarantine.offer(raw, node, reason, source.transport)
        return Decision(Kind.REFUSED, reason)

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
            self._acknowledge_later(head.node, head.boot, source)
            return _DUPLICATE if verdict is Verdict.DUPLICATE else _ERASED
        if verdict is Verdict.PENDING:
            return _PENDING
        if verdict is Verdict.UNSURE:
            if len(self._unsure) >= self.limits.unsure_frames:
                return Decision(Kind.REFUSED, "busy")
            self._unsure.append((raw, head, source))
            self._wake.set()
            return _UNSURE
        return Decision(Kind.REFUSED, verdict.value)

    def _store(
        self, raw: bytes, head: Head, source: Source, boot: BootLedger, conflict: bool
    ) -> Decision:
        if not self.accepting or self._doubtful:
            return Decision(Kind.REFUSED, "storage" if self._doubtful else "disk_full")
        if len(self._waiting) >= self.limits.waiting_frames:
            return Decision(Kind.REFUSED, "busy")
        if not self._flood.passes(head.node):
            return Decision(Kind.REFUSED, "flood")
        seen = outline(memoryview(raw)[wire.HEADER : head.end])
        if seen.irregular:
            seen = exact(raw, seen)
        known_type = head.type in (wire.T_DATA, wire.T_HELLO, wire.T_LOG, wire.T_RESULT)
        state = CONFLICT if conflict else OK if seen.decodable and known_type else UNDECODED
        frame = StoredFrame(
            0,
            head.node,
            head.boot,
            head.seq,
            head.type,
            state,
            self._receipt(),
            seen.first_ms,
            seen.last_ms,
            raw,
        )
        tag = raw[head.end :]
        if conflict:
            boot.waiting_conflicts.add((head.seq, tag))
        else:
            boot.wait(head.seq, tag)
        self._waiting.append(Waiting(frame, boot, seen.has_clock, source))
        if len(self._waiting) >= self.limits.group_frames:
            self._full.set()
        self._wake.set()
        return _CONFLICT if conflict else _ACCEPTED

    def _receipt(self) -> int:
        if self._clock.synchronised():
            return self._clock.unix_ms()
        return undated_receipt(self._start, self._clock.monotonic_ms())

    def _live(self, raw: bytes, head: Head, source: Source) -> Decision:
        try:
            state = decode(raw, with_samples=False).state
        except FrameError as error:
            return Decision(Kind.REFUSED, f"live_{error.reason}")
        assert state is not None
        now_ms = self._clock.unix_ms()
        try:
            boot = self._ledger.boot(head.node, head.boot, now_ms)
        except TooManyBoots:
            return Decision(Kind.REFUSED, "too_many_boots")
        if head.seq <= boot.live or state.uptime_ms < boot.live_ms:
            return Decision(Kind.IGNORED, "live_replayed")
        if head.boot < self._ledger.node(head.node).boot:
            return Decision(Kind.IGNORED, "live_of_old_boot")
        for alarm in self._ledger.observe(head.node, head.boot, head.seq, state, now_ms):
            self._on_alarm(alarm)
            self._answers.want_again(alarm.node, alarm.boot, alarm.ranges)
            if alarm.kind == LOST_HERE and state.collector == self._ledger.collector:
                self._change_identity()
        oldest = min(
            ((kept.boot, kept.lowest) for kept in state.boots if kept.lowest <= kept.highest),
            default=None,
        )
        if self._ledger.first_contacts:
            self._wake.set()
        self._keys.settled(head.node, oldest if not state.unlisted else (0, 0))
        self.counters.live += 1
        if self._clock.synchronised():
            self._timeline.observe_live(head.node, head.boot, state.uptime_ms, now_ms)
            self._set_anchor(boot, now_ms - state.uptime_ms)
            self._answers.time(head.node, head.boot, state.uptime_ms, head.seq, now_ms, source)
        boots = [kept.boot for kept in state.boots] or [head.boot]
        self._answers.ack(head.node, boots, source)
        self._answers.ask_again(head.node, source)
        if self._on_live is not None:
            self._on_live(head.node, head.seq, source)
        return _LIVE

    def _change_identity(self) -> None:
        """This archive lacks what was acknowledged in its name: it goes on under another."""
        ledger = self._ledger
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._identity_fixed_until_ms:
            return
        self._identity_fixed_until_ms = now_ms + IDENTITY_HOLD_MS
        ledger.former_collectors = (*ledger.former_collectors, ledger.collector)[-FORMER_MAX:]
        ledger.collector = new_collector(ledger.former_collectors)
        self._identity_unwritten = True
        self._wake.set()

    def _set_anchor(self, boot: BootLedger, offset_ms: int) -> None:
        if boot.anchor_ms is None:
            boot.anchor_ms = offset_ms
            boot.dirty = True

    def _acknowledge_later(self, node: int, boot: int, source: Source) -> None:
        self._answers.note(node, boot, source)
        self._wake.set()

    async def flush(self) -> int:
        """Commits what waits, then answers; returns how many frames were committed."""
        group, self._waiting = self._waiting, []
        self._full.clear()
        self._wake.clear()
        if self._identity_unwritten:
            await self._write_identity()
        committed = 0
        if group or self._ledger.first_contacts:
            committed = await self._commit(group)
        if self._doubtful:
            await self._compare_with_disk()
        await self._check_unsure()
        self._answers.flush()
        if committed and self._on_commit is not None:
            self._on_commit(self._ledger.newest_id)
        return committed

    async def _write_identity(self) -> None:
        ledger = self._ledger
        collector, former = ledger.collector, ledger.former_collectors
        try:
            await self._writer.write(lambda c: archive.put_collector(c, collector, former))
        except (WriteFailed, sqlite3.Error) as error:
            log.error("the new collector id is not written yet: %s", error)
        else:
            self._identity_unwritten = False

    async def _commit(self, group: list[Waiting]) -> int:
        knots = self._timeline.take_first_rows()
        contacts = ledger_store.take_first_contacts(self._ledger)
        dated = self._start_date()

        def store(connection: sqlite3.Connection) -> int:
            last_id = archive.append_many(connection, [waiting.frame for waiting in group])
            timeline.write(connection, knots)
            ledger_store.write_first_contacts(connection, contacts)
            if dated is not None:
                archive.date_start(connection, self._start, dated)
            return last_id

        try:
            last_id = await self._writer.write(store, frames=len(group), urgent=True)
        except (WriteFailed, sqlite3.Error) as error:
            self._discard(group)
            self._timeline.give_back(knots)
            ledger_store.give_back_first_contacts(self._ledger, contacts)
            self._doubtful = True
            log.error("commit failed, %d frames are not acknowledged: %s", len(group), error)
            return 0
        except BaseException:
            self._discard(group)
            self._doubtful = True
            raise
        if dated is not None:
            self._start_dated = True
        if group:
            self._committed(group, last_id - len(group) + 1)
        return len(group)

    async def _compare_with_disk(self) -> None:
        """After a failed commit: takes into the ledger what the archive holds all the same.

        Until that is known nothing new is taken in, so no frame can be stored twice.
        """
        known_id = self._ledger.newest_id
        try:
            await self._writer.write(_touch, urgent=True)
            rows = await self._writer.read(
                lambda reader: list(recovery.frames_after(reader, known_id))
            )
        except (WriteFailed, sqlite3.Error) as error:
            log.error("the archive cannot be written: %s", error)
            self._wake.set()
            return
        recovery.take_back(self._ledger, self._hours, self._timeline, rows)
        self._doubtful = False

    def _start_date(self) -> int | None:
        if self._start_dated or not self._start or not self._clock.synchronised():
            return None
        return self._clock.unix_ms() - self._clock.monotonic_ms()

    def _discard(self, group: list[Waiting]) -> None:
        self.counters.commits_failed += 1
        self.counters.discarded += len(group)
        for waiting in group:
            frame = waiting.frame
            if frame.state == CONFLICT:
                waiting.boot.waiting_conflicts.discard((frame.seq, frame.raw[-wire.TAG_BYTES :]))
            else:
                waiting.boot.discard(frame.seq)

    def _committed(self, group: list[Waiting], first_id: int) -> None:
        answers = self._answers
        for frame_id, waiting in enumerate(group, first_id):
            frame = waiting.frame
            boot = waiting.boot
            tag = frame.raw[-wire.TAG_BYTES :]
            if frame.state == CONFLICT:
                boot.commit_conflict(frame.seq, tag)
                self._on_alarm(_conflict_alarm(frame))
            else:
                boot.commit(frame.seq, tag, frame.last_ms)
            if waiting.has_clock:
                recovery.observe_clocks(
                    self._timeline, frame.node, frame.boot, frame.raw, frame.received_ms
                )
            if boot.anchor_ms is None:
                known_ms = self._timeline.anchor_ms(frame.node, frame.boot)
                self._set_anchor(
                    boot,
                    guess_anchor(frame.boot, frame.received_ms, frame.last_ms)
                    if known_ms is None
                    else known_ms,
                )
            assert boot.anchor_ms is not None
            self._hours.add(
                frame_id,
                frame.node,
                frame.boot,
                frame.seq,
                boot.anchor_ms,
                frame.first_ms,
                frame.last_ms,
            )
            if frame.type == wire.T_DATA:
                self.latest[frame.node] = frame
            elif self._on_answer is not None:
                self._on_answer(frame)
            answers.note(frame.node, frame.boot, waiting.source)
        self._ledger.newest_id = max(self._ledger.newest_id, first_id + len(group) - 1)
        self.counters.committed += len(group)

    async def _check_unsure(self) -> None:
        """Reads the stored namesakes of resends whose trailers are not in memory any more."""
        unsure, self._unsure = self._unsure, []
        if not unsure:
            return
        wanted = [
            lookup.Wanted(head.node, head.boot, head.seq, self._hours_of(raw, head))
            for raw, head, _ in unsure
        ]
        try:
            found = await self._writer.read(lambda reader: lookup.trailers(reader, wanted))
        except sqlite3.Error as error:
            log.error("cannot compare resent frames, they are not acknowledged: %s", error)
            return
        for (raw, head, source), tags in zip(unsure, found, strict=True):
            boot = self._ledger.known_boot(head.node, head.boot)
            if boot is None or tags is None:
                continue
            tag = raw[head.end :]
            if not tags or tag in tags:
                self._answers.note(head.node, head.boot, source)
            elif boot.judge_different(head.seq, tag) is Verdict.CONFLICT:
                self._store(raw, head, source, boot, True)

    def _hours_of(self, raw: bytes, head: Head) -> tuple[int, int] | None:
        """Hours under which the frame is indexed if it is the stored one."""
        boot = self._ledger.known_boot(head.node, head.boot)
        if boot is None or boot.anchor_ms is None:
            return None
        seen = outline(memoryview(raw)[wire.HEADER : head.end])
        hours = hour_index.hours_of(boot.anchor_ms, seen.first_ms, seen.first_ms)
        return hours[0], hours[-1]

    async def run(self) -> None:
        """Flushes for ever: a second after the first frame of a group, or when it is full."""
        while True:
            await self._wake.wait()
            # not wait_for: before Python 3.12 it may swallow a cancellation
            with suppress(TimeoutError):
                async with asyncio.timeout(self.limits.group_interval_s):
                    await self._full.wait()
            await self.flush()


def _named_switch(raw: bytes, head: Head) -> tuple[int, int] | None:
    """The last (boot, seq) under a former key, if this is a HELLO that names one."""
    if head.type != wire.T_HELLO:
        return None
    try:
        info = decode(raw).info
    except FrameError:
        return None
    return None if info is None else info.key_switch


def _touch(connection: sqlite3.Connection) -> None:
    """A write that shows whether the storage works again."""
    archive.put_meta(connection, "recovered", archive.newest_id(connection))


def _conflict_alarm(frame: StoredFrame) -> Alarm:
    text = f"two frames have the number {frame.seq}: two boards with one identity?"
    return Alarm("conflict", frame.node, frame.boot, 1, text)
