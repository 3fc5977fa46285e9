"""The archive, its ledger, timeline and quarantine, opened together and kept in step.

Everything in memory here is ahead of its tables by at most one snapshot; the frames themselves are
never ahead of the disk.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from collector.archive import archive, hour_index, quarantine
from collector.archive.hour_index import HourIndex
from collector.archive.inline_writer import InlineWriter
from collector.archive.parcels import commit, commit_now
from collector.archive.quarantine import Quarantine
from collector.archive.thread_writer import ThreadWriter
from collector.archive.upgrade import bring_up_to_date
from collector.archive.witness import Witness, identify
from collector.archive.writer import Fatal, WriteFailed, Writer, end_process
from collector.clock import EARLIEST_UNIX_MS, Clock
from collector.ledger import ledger_store
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_boot import BootLedger
from collector.ledger.ledger_store import Damage, LedgerRows
from collector.storage import healing, recovery, rollup
from collector.storage.derived import Derived
from collector.storage.indexing import Indexing
from collector.timeline import knots
from collector.timeline.timeline import Timeline
from collector.timeline.timeline_fit import Knot
from collector.turns import in_turns

log = logging.getLogger(__name__)

MakeWriter = Callable[..., Writer]
"""Takes what ThreadWriter takes."""

SNAPSHOT_INTERVAL_S = 600.0
SNAPSHOT_FRAMES = 32
"""With fewer new frames a snapshot waits until an hour has to be computed."""
REPLAY_FRAMES = 20_000
"""Frames of a replay at start before a snapshot is written."""


@dataclass(slots=True)
class Storage:
    """What intake, forwarders and status share."""

    writer: Writer
    quarantine_writer: Writer
    ledger: Ledger
    indexing: Indexing
    quarantine: Quarantine
    start: int
    _clock: Clock
    replayed: int = 0
    restored: bool = False
    healed: list[Damage] = field(default_factory=list)
    """Rows of the ledger that were damaged, and were made again from the frames."""
    snapshots: int = 0
    _snapshot_id: int = 0
    _snapshot_hour: int | None = None
    _near: "_Near | None" = None
    _witness: Witness | None = None
    _closed: bool = field(default=False)

    @property
    def timeline(self) -> Timeline:
        """When boots' samples were."""
        return self.indexing.timeline

    @property
    def hours(self) -> HourIndex:
        """Which frames fall into which hour, since the last snapshot."""
        return self.indexing.hours

    async def snapshot(self, *, everything: bool = False) -> bool:
        """Writes ledger, hour index and knots; False when that failed and will be tried again."""
        try:
            async with self.indexing.writing:
                await self._snapshot(everything)
        except Exception as error:
            expected = isinstance(error, WriteFailed | sqlite3.Error)
            log.error(
                "snapshot of the ledger failed, tried again later: %s", error, exc_info=not expected
            )
            return False
        return True

    async def _snapshot(self, everything: bool) -> None:
        await in_turns(self.timeline.settle())
        hour = rollup.open_hour(self._clock.unix_ms())
        rows = LedgerRows(self.ledger, self.ledger.newest_id)
        found = Derived(self.indexing, closed_only=not everything, with_moved=True)

        async def complete() -> None:
            await in_turns(found.find_dirty(await self._moved_keys(found)))
            # the last before it is written: else newer rows of a first contact would be overtaken
            rows.take_changed()

        await commit(self.writer, [rows, found], first=complete(), urgent=True)
        self.snapshots += 1
        self._snapshot_id, self._snapshot_hour = rows.newest_id or 0, hour

    async def _moved_keys(self, found: Derived) -> list[tuple[hour_index.Key, int]]:
        moved = found.moved
        if not moved:
            return []
        try:
            return await self.writer.read(lambda connection: rollup.moved_keys(connection, moved))
        except sqlite3.Error as error:
            log.error("hours with new times are not found, tried again later: %s", error)
            found.leave_moved()
            return []

    async def run(self) -> None:
        """Snapshots as they are due, the quarantine as its write rate allows; for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.quarantine.run())
            group.create_task(self._keep_snapshots())

    async def _keep_snapshots(self) -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_INTERVAL_S)
            await in_turns(self.timeline.settle())
            if self.snapshot_is_due():
                await self.snapshot()

    def snapshot_is_due(self) -> bool:
        """Whether there is much to write, or the means of an hour wait for what there is."""
        return (
            self.ledger.newest_id - self._snapshot_id >= SNAPSHOT_FRAMES
            or rollup.open_hour(self._clock.unix_ms()) != self._snapshot_hour
            or bool(self.timeline.moved)
        )

    async def close(self) -> None:
        """Writes a last snapshot and closes the files; each database is one file then."""
        if self._closed:
            return
        self._closed = True
        await self.snapshot(everything=True)
        if self._near is not None:
            self._near.close()
        await self.writer.close()
        await self.quarantine_writer.close()
        if self._witness is not None:
            self._witness.close()


def open_storage(
    path: Path | str,
    quarantine_path: Path | str,
    clock: Clock,
    *,
    threaded: bool = True,
    make_writer: MakeWriter = ThreadWriter,
    durable: bool = True,
    earliest_ms: int = EARLIEST_UNIX_MS,
    fatal: Fatal = end_process,
    going_on: Callable[[int], None] | None = None,
) -> Storage:
    """Opens (or makes) both files, replays the ledger, and notes the start.

    `threaded` False is for virtual time: one connection, no threads; paths may be ":memory:". Else
    `make_writer` makes what writes; a simulation has it commit later in virtual time. `fatal` is
    called when fsync fails and must not return. `going_on` is told from time to time how
    many frames were replayed; what it raises ends the start, and the next one goes on from there.
    Raises SchemaError for a file of another version.
    """
    if str(path) != ":memory:":
        bring_up_to_date(Path(path))
    witness = Witness.beside(path, durable)
    connection = archive.open_archive(path, durable=durable)
    near = _Near(connection)
    try:
        identity, restored = identify(connection, witness)
        ledger = Ledger(identity, near.find_boot)
        times = Timeline(near.anchor_of(ledger), near.knots, earliest_ms)
        indexing = Indexing(times, HourIndex())
        start = ledger.start = archive.begin_start(connection, clock.monotonic_ms())
        archive.forget_starts(connection)
        healed = healing.load_and_heal(connection, ledger, indexing)
        for damage in healed.damaged:
            log.error("a damaged row of the ledger was made again from the frames: %s", damage)
        replayed = replay(connection, ledger, indexing, healed.snapshot_id, going_on)
        if witness is not None:
            witness.follow(connection)
            witness.sync()
    except BaseException:
        connection.close()
        raise
    writer, quarantine_writer = _writers(
        path, quarantine_path, connection, witness, threaded, make_writer, durable, fatal
    )
    if isinstance(writer, InlineWriter):
        near.follow(writer)
    else:
        connection.close()
        near.connection = archive.open_reader(path)
    return Storage(
        writer=writer,
        quarantine_writer=quarantine_writer,
        ledger=ledger,
        indexing=indexing,
        quarantine=Quarantine(quarantine_writer, clock),
        start=start,
        replayed=replayed,
        restored=restored,
        healed=healed.damaged,
        _clock=clock,
        _near=near,
        _witness=witness,
    )


class FollowUp:
    """After each commit: the witness follows, and the log is moved when it has grown."""

    def __init__(self, witness: Witness, checkpoint: archive.Checkpoint | None = None) -> None:
        self._witness = witness
        self.checkpoint = checkpoint or archive.Checkpoint()

    def __call__(self, connection: sqlite3.Connection) -> None:
        """sqlite3.Error when the log could not be moved."""
        self._witness.follow(connection)
        if self.checkpoint(connection):
            self._witness.sync()


def replay(
    connection: sqlite3.Connection,
    ledger: Ledger,
    indexing: Indexing,
    last_id: int,
    going_on: Callable[[int], None] | None = None,
) -> int:
    """Takes the frames since the snapshot that ends with `last_id` back; returns how many.

    Of many frames a snapshot is written every now and then: memory holds a part of what they bring,
    and a start that is interrupted does not begin anew.
    """
    newest_id, ledger.newest_id = ledger.newest_id, last_id
    replayed = 0
    while True:
        rows = recovery.frames_after(connection, last_id, REPLAY_FRAMES)
        frames = recovery.take_back(ledger, indexing, _until_full(rows, indexing))
        replayed += frames
        if frames < REPLAY_FRAMES and not indexing.full:
            break
        last_id = ledger.newest_id
        _write_between(connection, ledger, indexing)
        if going_on is not None:
            going_on(replayed)
    ledger.newest_id = max(newest_id, ledger.newest_id)
    return replayed


def _until_full(rows: Iterable[recovery.Row], indexing: Indexing) -> Iterator[recovery.Row]:
    for row in rows:
        yield row
        if indexing.full:
            return


def _write_between(connection: sqlite3.Connection, ledger: Ledger, indexing: Indexing) -> None:
    """A snapshot in the middle of a replay; its failure ends the start."""
    for _ in indexing.timeline.settle():
        pass
    rows = LedgerRows(ledger, ledger.newest_id)
    rows.take_changed()
    found = Derived(indexing, closed_only=False, with_moved=True)
    for _ in found.find_dirty(rollup.moved_keys(connection, found.moved)):
        pass
    commit_now(connection, [rows, found])


class _Near:
    """Small look-ups of the event loop itself: a boot's ledger row, a boot's knots."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._writer: InlineWriter | None = None

    def follow(self, writer: InlineWriter) -> None:
        """Uses the writer's own connection, which it may open anew."""
        self._writer = writer

    def close(self) -> None:
        if self._writer is None:
            self.connection.close()

    def find_boot(self, node: int, boot: int) -> BootLedger | None:
        return ledger_store.find_boot(self._current(), node, boot)

    def knots(self, node: int, boot: int, first_hour: int, last_hour: int) -> list[Knot]:
        return knots.load(self._current(), node, boot, first_hour, last_hour)

    def _current(self) -> sqlite3.Connection:
        return self.connection if self._writer is None else self._writer.connection

    @staticmethod
    def anchor_of(ledger: Ledger) -> Callable[[int, int], int | None]:
        def anchor(node: int, boot: int) -> int | None:
            known = ledger.known_boot(node, boot)
            return None if known is None else known.anchor_ms

        return anchor


def _writers(
    path: Path | str,
    quarantine_path: Path | str,
    connection: sqlite3.Connection,
    witness: Witness | None,
    threaded: bool,
    make_writer: MakeWriter,
    durable: bool,
    fatal: Fatal,
) -> tuple[Writer, Writer]:
    after_commit = None if witness is None else FollowUp(witness)
    open_ = partial(archive.open_archive, path, durable=durable)
    open_quarantine = partial(quarantine.open_quarantine, quarantine_path)
    if not threaded:
        inline = InlineWriter(open_, connection=connection, after_commit=after_commit, fatal=fatal)
        return inline, InlineWriter(open_quarantine)
    return (
        make_writer(
            open_, partial(archive.open_reader, path), after_commit=after_commit, fatal=fatal
        ),
        make_writer(open_quarantine, partial(archive.open_reader, quarantine_path)),
    )
