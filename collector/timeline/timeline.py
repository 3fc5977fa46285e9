"""Time for frames: a board dates them by its uptime, this says what that was in Unix time.

Observations come from LIVE frames (the earliest of each hour, while the collector's own clock is
synchronised) and from the CLOCK sections that boards with a clock send. They are kept as knots, so
every time can be computed again, with a bound on its error.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Generator
from typing import NamedTuple

from collector.archive.parcels import Repeatable
from collector.clock import EARLIEST_UNIX_MS, HOUR_MS
from collector.timeline import knots
from collector.timeline.knots import RECENT_HOURS, BootKnots, Change, LiveHour
from collector.timeline.timeline_fit import LIVE, SOURCES, Fit, Knot, fit
from protocol import frame_bounds
from protocol.identity import BootId

REACH_HOURS_MAX = 20_000
"""How far on both sides the next knot is looked for: more than two years."""

BOOTS_MAX = 4_096
BLOCKS_MAX = 2_048
CLOCK_AHEAD_MAX_MS = 60_000

Moved = tuple[int, int, int, int, int]
"""(node, boot, first hour, last hour, old minus new time), by the boot's index hours."""

MOVED_MS = 1_000
MOVED_MAX = 10_000
FITS_PER_SEARCH = 500
"""Fits for one look at what has moved; beyond them a boot's times count as moved."""

HELD_MAX = 10_000
"""Knots in memory that no table holds yet: then they have to be written."""

Load = Callable[[int, int, int, int], list[Knot]]
Anchor = Callable[[int, int], int | None]


class Stamp(NamedTuple):
    """A time, how wrong it may be, and what it rests on: live, time, rtc, gps, ntp."""

    unix_ms: int
    error_ms: int
    source: str


class Timeline:
    """`anchor` gives a boot's fixed hour shift, `load` its stored knots between two hours.

    Nothing before `earliest_ms` is believed.
    """

    def __init__(
        self,
        anchor: Anchor | None = None,
        load: Load | None = None,
        earliest_ms: int = EARLIEST_UNIX_MS,
    ) -> None:
        self._earliest_ms = earliest_ms
        self._anchor = anchor or (lambda node, boot: None)
        self._load = load or (lambda node, boot, first_hour, last_hour: [])
        self._boots: OrderedDict[BootId, BootKnots] = OrderedDict()
        self._blocks: OrderedDict[tuple[BootId, int], Fit] = OrderedDict()
        self._fresh: set[BootId] = set()
        self._changed: set[BootId] = set()
        self._held = 0
        self.moved: set[Moved] = set()
        """Parts of boots whose times have changed by more than a second: for the hourly means."""
        self.refused = 0
        self.fits = 0
        """How many fits were made: what a time costs when something new is known."""

    @property
    def full(self) -> bool:
        """Whether so many knots wait to be written that nothing more may be taken in before."""
        return self._held >= HELD_MAX

    def observe_live(self, node: int, boot: int, uptime_ms: int, received_ms: int) -> None:
        """Takes a LIVE in that a collector with a synchronised clock just received."""
        if received_ms < self._earliest_ms:
            self.refused += 1
            return
        offset_ms = received_ms - uptime_ms
        known = self._known(node, boot, offset_ms)
        undated = not known.knots
        hour = known.hour_of(uptime_ms)
        if known.hour is None or known.hour.hour != hour:
            stored = known.knots.get((hour, LIVE))
            if stored is None and known.hour is None:
                stored = self._stored(known.id, hour, LIVE)
            if stored is not None:
                known.hour = LiveHour(hour, stored.uptime_ms, stored.offset_ms)
                known.hour.add(uptime_ms, offset_ms)
            else:
                known.hour = LiveHour(hour, uptime_ms, offset_ms)
        else:
            known.hour.add(uptime_ms, offset_ms)
        self._put(known, hour, known.hour.knot())
        if known.complete_from is None:  # uptimes of LIVE only rise: what was stored is no later
            known.complete_from = hour + 2
        if undated:
            self._note_move(known.id, hour, hour, 0)

    def _stored(self, boot: BootId, hour: int, source: int) -> Knot | None:
        """An hour's knot from before a restart; one that says less must not take its place."""
        found = (knot for knot in self._load(*boot, hour, hour) if knot.source == source)
        return next(found, None)

    def observe_clock(self, node: int, boot: int, knot: Knot, received_ms: int | None) -> None:
        """Takes what a board says of its clock; impossible times are counted and left out.

        What it changes is found when somebody asks for a time, and what has moved by `settle`.
        """
        if not self._is_possible(knot, received_ms):
            self.refused += 1
            return
        known = self._known(node, boot, knot.offset_ms)
        if abs(knot.offset_ms - known.anchor_ms) > frame_bounds.DISPLACED_MAX_MS:
            self.refused += 1
            return
        hour = known.hour_of(knot.uptime_ms)
        key = hour, knot.source
        before = known.knots.get(key)
        if before is None:
            before = self._stored(known.id, hour, knot.source)
        if before is None or _says_more(knot, before):
            known.changed.setdefault(key, (knot.uptime_ms, before))
            self._changed.add(known.id)
            self._put(known, hour, knot)

    def _is_possible(self, knot: Knot, received_ms: int | None) -> bool:
        unix_ms = knot.uptime_ms + knot.offset_ms
        latest_ms = frame_bounds.UNIX_MAX_MS
        if received_ms is not None:
            latest_ms = min(latest_ms, received_ms + CLOCK_AHEAD_MAX_MS + knot.error_ms)
        return (
            self._earliest_ms <= unix_ms <= latest_ms
            and knot.uptime_ms <= frame_bounds.UPTIME_MAX_MS
            and knot.error_ms <= frame_bounds.CLOCK_ERROR_MAX_MS
        )

    def settle(self) -> Generator[None, None, None]:
        """Finds what clocks have moved since the last time; pauses after every few fits.

        Of a boot whose search is given up at a pause, all that changed counts as moved.
        """
        fits = 0
        for boot in list(self._changed):
            self._changed.discard(boot)
            known = self._boots.get(boot)
            if known is None or not known.changed:
                continue
            changes, known.changed = known.changed, {}
            self._forget_stale(known)
            by_block: dict[int, dict[tuple[int, int], Change]] = {}
            for key, change in changes.items():
                by_block.setdefault(known.block_of(change[0]), {})[key] = change
            fits += 2 * len(by_block)
            formers, known.formers = known.formers, {}
            found = False
            try:
                if fits <= FITS_PER_SEARCH:
                    yield from self._find_moves(known, by_block, changes, formers)
                    found = True
            finally:
                if not found:
                    hours = [hour for hour, _ in changes]
                    self._note_move(boot, min(hours), max(hours), 0)

    def _find_moves(
        self,
        known: BootKnots,
        by_block: dict[int, dict[tuple[int, int], Change]],
        changes: dict[tuple[int, int], Change],
        formers: dict[int, tuple[Fit, Fit]],
    ) -> Generator[None, None, None]:
        for block, part in by_block.items():
            if (known.id, block) in self._blocks:
                continue  # nothing that this fit rests on has changed since it was asked
            before = formers.get(block)
            if before is None:
                before = (self._fitted(known, block, changes),) * 2
            for former in before[: 1 + (before[0] is not before[1])]:
                self._compare(known, part, former)
            yield

    def _compare(
        self, known: BootKnots, changes: dict[tuple[int, int], Change], former: Fit
    ) -> None:
        """Notes where a former fit gave another time than the present one."""
        shifts: dict[int, list[int]] = {}
        for (hour, _), (uptime_ms, _) in changes.items():
            old = _stamp(former, uptime_ms)
            new = _stamp(self._fit(known, uptime_ms), uptime_ms)
            shift_ms = old.unix_ms - new.unix_ms if old is not None and new is not None else 0
            if old is None or new is None or abs(shift_ms) > MOVED_MS:
                shifts.setdefault(shift_ms, []).append(hour)
        for shift_ms, hours in shifts.items():
            self._note_move(known.id, min(hours), max(hours), shift_ms)

    def _note_move(self, boot: BootId, first_hour: int, last_hour: int, shift_ms: int) -> None:
        if len(self.moved) < MOVED_MAX:
            reach = first_hour - RECENT_HOURS, last_hour + RECENT_HOURS
            self.moved.add((*boot, *reach, shift_ms))

    @property
    def unsettled(self) -> bool:
        """Whether clocks have said something since moves were last looked for."""
        return bool(self._changed)

    def take_moved(self) -> set[Moved]:
        """What `moved` holds, once."""
        moved, self.moved = self.moved, set()
        return moved

    def time_of(self, node: int, boot: int, uptime_ms: int) -> Stamp | None:
        """Unix time of an uptime, with its error bound; None for an undated boot."""
        known = self._boot(node, boot)
        if known is None:
            return None
        return _stamp(self._fit(known, uptime_ms), uptime_ms)

    def uptime_at(self, node: int, boot: int, unix_ms: int) -> int | None:
        """The uptime at a Unix time, to within the drift; None for an undated boot."""
        known = self._boot(node, boot)
        if known is None:
            return None
        uptime_ms = unix_ms - known.anchor_ms
        for _ in range(2):
            stamp = self.time_of(node, boot, uptime_ms)
            if stamp is None:
                return None
            uptime_ms += unix_ms - stamp.unix_ms
        return uptime_ms

    def bounds_of(
        self, node: int, boot: int, before: tuple[int, int] | None, after: int | None
    ) -> tuple[int | None, int | None]:
        """Earliest and latest Unix ms of an undated boot, from its neighbours.

        `before` is the (boot, last uptime) of the boot before it, `after` the boot that follows.
        """
        earliest = None if before is None else self.time_of(node, *before)
        latest = None if after is None else self.time_of(node, after, 0)
        return (
            None if earliest is None else earliest.unix_ms - earliest.error_ms,
            None if latest is None else latest.unix_ms + latest.error_ms,
        )

    def anchor_ms(self, node: int, boot: int) -> int | None:
        """The boot's hour shift, None while nothing dates it."""
        known = self._boots.get(BootId(node, boot))
        return known.anchor_ms if known is not None else self._anchor(node, boot)

    def take_first(self) -> "KnotRows":
        """Knots of boots that had none yet: without them a crash would leave the boot undated."""
        fresh, self._fresh = self._fresh, set()
        taken = KnotRows(self, fresh)
        for boot in fresh:
            if (known := self._boots.get(boot)) is not None:
                taken.take(known, closed_only=False)
        return taken

    def take(self, *, closed_only: bool = True) -> "KnotRows":
        """Knots to be written: those of closed hours, or all."""
        taken = KnotRows(self)
        for known in self._boots.values():
            known.trim()
            taken.take(known, closed_only=closed_only)
        self._held = 0
        return taken

    def put_back(self, knots_held: int, fresh: set[BootId]) -> None:
        """So many knots that were taken wait again, and all of these boots."""
        self._held += knots_held
        self._fresh |= fresh

    def _known(self, node: int, boot: int, offset_ms: int) -> BootKnots:
        known = self._boot(node, boot)
        if known is None:
            known = self._keep(BootKnots(BootId(node, boot), offset_ms, 0))
        if not known.knots:
            self._fresh.add(known.id)
        return known

    def _boot(self, node: int, boot: int) -> BootKnots | None:
        known = self._boots.get(BootId(node, boot))
        if known is not None:
            self._boots.move_to_end(known.id)
            return known
        anchor_ms = self._anchor(node, boot)
        return None if anchor_ms is None else self._keep(BootKnots(BootId(node, boot), anchor_ms))

    def _keep(self, known: BootKnots) -> BootKnots:
        self._boots[known.id] = known
        if len(self._boots) > BOOTS_MAX:
            for key, old in list(self._boots.items())[: BOOTS_MAX // 4]:
                if not old.unwritten and not old.changed and not old.writing:
                    del self._boots[key]
        return known

    def _fit(self, known: BootKnots, uptime_ms: int) -> Fit:
        """The fit around an uptime: recent knots from memory, older ones from the archive."""
        self._forget_stale(known)
        block = known.block_of(uptime_ms)
        key = known.id, block
        found = self._blocks.get(key)
        if found is not None:
            self._blocks.move_to_end(key)
            return found
        found = self._blocks[key] = self._fitted(known, block, {})
        known.blocks.add(block)
        while len(self._blocks) > BLOCKS_MAX:
            self._blocks.popitem(last=False)
        return found

    def _fitted(self, known: BootKnots, block: int, without: dict[tuple[int, int], Change]) -> Fit:
        """The fit of a block, as it would be without some changes."""
        self.fits += 1
        first_ms = block * RECENT_HOURS * HOUR_MS - known.anchor_ms
        within_ms = first_ms, first_ms + RECENT_HOURS * HOUR_MS
        return fit(self._knots_around(known, block, without), within_ms=within_ms)

    def _forget_stale(self, known: BootKnots) -> None:
        """Gives up the fits that newer knots have touched."""
        for block in known.take_stale_blocks():
            known.blocks.discard(block)
            fitted = self._blocks.pop((known.id, block), None)
            if fitted is not None:
                known.give_up(block, fitted)

    def _knots_around(
        self, known: BootKnots, block: int, without: dict[tuple[int, int], Change]
    ) -> list[Knot]:
        """Knots of a block and its neighbours, and where there are none the next ones beyond."""
        first, last = (block - 1) * RECENT_HOURS, (block + 2) * RECENT_HOURS - 1
        found = self._between(known, first, last, without)
        hours = [known.hour_of(knot.uptime_ms) for knot in found]
        begin = known.anchor_ms // HOUR_MS
        if not hours or min(hours) > block * RECENT_HOURS:
            reach, least = RECENT_HOURS, max(begin, first - REACH_HOURS_MAX)
            while first > least:
                before = self._between(known, max(least, first - reach), first - 1, without)
                if before:
                    found.append(max(before))
                    break
                first -= reach
                reach *= 2
        if not hours or max(hours) < (block + 1) * RECENT_HOURS - 1:
            reach, most = RECENT_HOURS, last + REACH_HOURS_MAX
            if known.complete_from is not None and known.complete_from <= last + 1:
                ends = max((hour for hour, _ in known.knots), default=last)
                later = self._between(known, last + 1, ends, without)
                return [*found, min(later)] if later else found
            while last < most:
                after = self._between(known, last + 1, min(most, last + reach), without)
                if after:
                    found.append(min(after))
                    break
                last += reach
                reach *= 2
        return found

    def _between(
        self,
        known: BootKnots,
        first_hour: int,
        last_hour: int,
        without: dict[tuple[int, int], Change],
    ) -> list[Knot]:
        last_stored = last_hour
        if known.complete_from is not None:
            last_stored = min(last_hour, known.complete_from - 1)
        stored: dict[tuple[int, int], Knot] = {}
        if first_hour <= last_stored:
            for knot in self._load(*known.id, first_hour, last_stored):
                stored[known.hour_of(knot.uptime_ms), knot.source] = knot
        near = {k: knot for k, knot in known.knots.items() if first_hour <= k[0] <= last_hour}
        found = stored | near
        for key, (_, before) in without.items():
            if key in found:
                if before is None:
                    del found[key]
                else:
                    found[key] = before
        return list(found.values())

    def _put(self, known: BootKnots, hour: int, knot: Knot) -> None:
        """Keeps a knot; the fits that it touches are given up when one of them is asked for."""
        before = known.knots.get((hour, knot.source))
        if before == knot:
            return
        self._held += before is None
        known.put(hour, knot)


class KnotRows(Repeatable):
    """Knots on their way into their table; `fresh` are boots whose first ones these are."""

    def __init__(self, timeline: Timeline, fresh: set[BootId] | None = None) -> None:
        self._timeline = timeline
        self._fresh = fresh or set()
        self._taken: list[tuple[BootKnots, list[tuple[int, Knot]]]] = []

    def take(self, known: BootKnots, *, closed_only: bool) -> None:
        """Takes what a boot has."""
        if taken := known.take_unwritten(closed_only=closed_only):
            known.writing += 1
            self._taken.append((known, taken))

    def write(self, connection: sqlite3.Connection) -> None:
        """See Parcel."""
        knots.write(
            connection,
            [(known.id, hour, knot) for known, taken in self._taken for hour, knot in taken],
        )

    def committed(self) -> None:
        """See Parcel."""
        for known, _ in self._taken:
            known.writing -= 1

    def failed(self) -> None:
        """See Parcel."""
        self.committed()
        for known, taken in self._taken:
            known.unwritten.update((hour, knot.source) for hour, knot in taken)
        self._timeline.put_back(sum(len(taken) for _, taken in self._taken), self._fresh)


def _stamp(fitted: Fit, uptime_ms: int) -> Stamp | None:
    bound = fitted.at(uptime_ms)
    if bound is None:
        return None
    return Stamp(uptime_ms + bound.offset_ms, bound.error_ms, SOURCES[bound.source])


def _says_more(knot: Knot, before: Knot) -> bool:
    """Whether a clock's knot is better than its hour's; the same again moves no time."""
    if knot.error_ms == before.error_ms:
        return abs(knot.offset_ms - before.offset_ms) > knot.error_ms
    return knot.error_ms < before.error_ms
