"""The archive as the commands read it: beside a running daemon, without changing anything."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from collector.archive import archive, identity, lookup, schema
from collector.archive.archive import StoredFrame
from collector.archive.hour_index import HourIndex
from collector.clock import DATABLE_UNIX_MS
from collector.ledger import ledger_store
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_boot import BootLedger
from collector.nodes import NodeRegistry
from collector.ranges import Ranges
from collector.settings import Config
from collector.storage import healing, recovery
from collector.storage.indexing import Indexing
from collector.timeline import knots
from collector.timeline.timeline import Timeline
from collector.timeline.timeline_fit import Knot
from protocol.frame_bounds import HOUR_MS


class NoArchive(RuntimeError):
    """There is no archive yet, or it cannot be read; the message says which."""


class UndatedBoot(NamedTuple):
    """Stored frames of a boot that no LIVE and no clock dates; bounds in Unix ms, None: open."""

    boot: int
    frames: int
    earliest_ms: int | None
    latest_ms: int | None

    def may_hold(self, unix_ms: int) -> bool:
        """Whether the boot may have run at a time."""
        return (self.earliest_ms is None or self.earliest_ms <= unix_ms) and (
            self.latest_ms is None or unix_ms <= self.latest_ms
        )


class ArchiveView:
    """Ledger, timeline and frames of an archive, as they were committed when it was opened."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.ledger = Ledger(identity.read(connection), self._find_boot)
        self.timeline = Timeline(self._anchor, self._knots)
        indexing = Indexing(self.timeline, HourIndex())
        loaded = healing.load(connection, self.ledger, indexing)
        self.damaged = loaded.damaged
        """Rows of the ledger that cannot be; here they are as the frames say."""
        rows = recovery.frames_after(connection, loaded.snapshot_id)
        recovery.take_back(self.ledger, indexing, rows)
        self._fresh_hours = indexing.hours.keys()
        self._hours: dict[tuple[int, int], Ranges] | None = None

    def boots(self, node: int) -> list[BootLedger]:
        """Every boot of a node that the archive knows, in order."""
        numbers = {
            boot
            for (boot,) in self.connection.execute(
                "SELECT boot FROM ledger WHERE node = ?", (node,)
            )
        }
        owner = self.ledger.nodes.get(node)
        numbers |= set(owner.boots) if owner is not None else set()
        found = (self.ledger.known_boot(node, number) for number in sorted(numbers))
        return [boot for boot in found if boot is not None]

    def nodes(self) -> list[int]:
        """Nodes that the archive has heard."""
        return sorted(self.ledger.nodes)

    def between(
        self, node: int, first_ms: int | None, last_ms: int | None
    ) -> Iterator[StoredFrame]:
        """Frames of a node with samples between two Unix times, boot by boot; None is open."""
        for boot in self.boots(node):
            ran = self._ran(node, boot)
            if ran is None or boot.anchor_ms is None:
                continue
            first: int | None = 0
            last: int | None = _newest_ms(boot)
            if first_ms is not None and first_ms > ran[0]:
                first = self.timeline.uptime_at(node, boot.boot, first_ms)
            if last_ms is not None and last_ms < ran[1]:
                last = self.timeline.uptime_at(node, boot.boot, last_ms)
            if first is None or last is None or last < 0:
                continue
            yield from lookup.by_uptime(
                self.connection, node, boot.boot, boot.anchor_ms, max(0, first), last
            )

    def hours_of(self, node: int) -> Iterator[tuple[int, int]]:
        """First and last Unix ms of each hour of the index that has frames of a node.

        Hours that nothing dates, or that would be at no possible date, are left out.
        """
        if self._hours is None:
            self._hours = self._all_hours()
        for boot in self.boots(node):
            if boot.anchor_ms is None:
                continue
            for first_hour, last_hour in self._hours.get((node, boot.boot), Ranges()):
                for hour in range(first_hour, last_hour + 1):
                    uptime_ms = hour * HOUR_MS - boot.anchor_ms
                    first = self.timeline.time_of(node, boot.boot, max(0, uptime_ms))
                    last = self.timeline.time_of(node, boot.boot, uptime_ms + HOUR_MS - 1)
                    if first is None or last is None:
                        continue
                    if first.unix_ms in DATABLE_UNIX_MS and last.unix_ms in DATABLE_UNIX_MS:
                        yield first.unix_ms, last.unix_ms

    def _all_hours(self) -> dict[tuple[int, int], Ranges]:
        found: dict[tuple[int, int], Ranges] = {}
        stored = self.connection.execute("SELECT hour, node, boot FROM hour")
        for hour, node, boot in chain(stored, self._fresh_hours):
            found.setdefault((node, boot), Ranges()).add(hour)
        return found

    def span(self, nodes: Iterable[int]) -> tuple[int, int] | None:
        """Unix ms of the first start and of the last sign of these nodes; None when undated."""
        ran = [
            times for node in nodes for boot in self.boots(node) if (times := self._ran(node, boot))
        ]
        return (min(start for start, _ in ran), max(end for _, end in ran)) if ran else None

    def undated(self, node: int) -> list[UndatedBoot]:
        """Boots of a node that nothing dates, each with what its neighbours say of its time."""
        boots = self.boots(node)
        found = []
        for number, boot in enumerate(boots):
            frames = boot.account().stored
            if not frames or self.timeline.time_of(node, boot.boot, 0) is not None:
                continue
            before = boots[number - 1] if number else None
            after = boots[number + 1] if number + 1 < len(boots) else None
            earliest_ms, latest_ms = self.timeline.bounds_of(
                node,
                boot.boot,
                None if before is None else (before.boot, max(before.last_ms, 0)),
                None if after is None else after.boot,
            )
            found.append(UndatedBoot(boot.boot, frames, earliest_ms, latest_ms))
        return found

    def _ran(self, node: int, boot: BootLedger) -> tuple[int, int] | None:
        """Unix ms of a boot's start and of its last sign of life; None for an undated boot."""
        start = self.timeline.time_of(node, boot.boot, 0)
        end = self.timeline.time_of(node, boot.boot, _newest_ms(boot))
        return None if start is None or end is None else (start.unix_ms, end.unix_ms)

    def _find_boot(self, node: int, boot: int) -> BootLedger | None:
        return ledger_store.find_boot(self.connection, node, boot)

    def _anchor(self, node: int, boot: int) -> int | None:
        known = self.ledger.known_boot(node, boot)
        return None if known is None else known.anchor_ms

    def _knots(self, node: int, boot: int, first_hour: int, last_hour: int) -> list[Knot]:
        return knots.load(self.connection, node, boot, first_hour, last_hour)


def _newest_ms(boot: BootLedger) -> int:
    return max(boot.last_ms, boot.live_ms, 0)


@contextmanager
def open_view(config: Config) -> Iterator[ArchiveView]:
    """Opens the archive of a configuration for reading; NoArchive when it cannot be had."""
    with open_file(config.collector.archive) as view:
        yield view


@contextmanager
def open_file(path: Path) -> Iterator[ArchiveView]:
    """Opens an archive for reading, as one consistent picture; NoArchive when it cannot be had."""
    if not path.exists():
        raise NoArchive(f"{path}: no archive yet; start the collector first")
    try:
        connection = archive.open_reader(path)
    except sqlite3.Error as error:
        raise NoArchive(f"{path}: {error}") from error
    try:
        schema.require_current(connection)
        connection.execute("BEGIN")
        yield ArchiveView(connection)
    except (sqlite3.DatabaseError, schema.SchemaError) as error:
        raise NoArchive(f"{path}: {error}; `osn-collector doctor` looks closer") from error
    finally:
        connection.close()


def node_name(registry: NodeRegistry, node: int) -> str:
    """A node's name for people, its address when it has none here."""
    info = registry.get(node)
    return f"{node:08x}" if info is None else info.name
