"""Time for frames: a board dates them by its uptime, this says what that was in Unix time.

Observations come from LIVE frames (the earliest of each hour, while the collector's own clock is
synchronised) and from the CLOCK sections that boards with a clock send. They are kept as knots, so
every time can be computed again, with a bound on its error.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from collector.clock import EARLIEST_UNIX_MS, HOUR_MS
from collector.timeline.boot_knots import RECENT_HOURS, BootKnots, Change, LiveHour
from collector.timeline.knot_table import KnotRow
from collector.timeline.timeline_fit import LIVE, SOURCES, Fit, Knot, fit
from protocol import frame_bounds

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
        self._boots: OrderedDict[tuple[int, int], BootKnots] = OrderedDict()
        self._blocks: OrderedDict[tuple[int, int, int], Fit] = OrderedDict()
        self._fresh: set[tuple[int, int]] = set()
        self._changed: set[tuple[int, int]] = set()
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
                stored = self._stored(node, boot, hour, LIVE)
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
            self._note_move(node, boot, hour, hour, 0)

    def _stored(self, node: int, boot: int, hour: int, source: int) -> Knot | None:
        """An hour's knot from before a restart; one that says less must not take its place."""
        found = (knot for knot in self._load(node, boot, hour, hour) if knot.source == source)
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
            before = self._stored(node, boot, hour, knot.source)
        if before is None or _says_more(knot, before):
            known.changed.setdefault(key, (knot.uptime_ms, before))
            self._changed.add((node, boot))
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

    def settle(self) -> Iterator[None]:
        """Finds what clocks have moved since the last time; pauses after every few fits."""
        changed, self._changed = self._changed, set()
        fits = 0
        for node, boot in changed:
            known = self._boots.get((node, boot))
            if known is None or not known.changed:
                continue
            changes, known.changed = known.changed, {}
            self._forget_stale(known, node, boot)
            formers, known.formers = known.formers, {}
            by_block: dict[int, dict[tuple[int, int], Change]] = {}
            for key, change in changes.items():
                by_block.setdefault(known.block_of(change[0]), {})[key] = change
            fits += 2 * len(by_block)
            if fits > FITS_PER_SEARCH:
                hours = [hour for hour, _ in changes]
                self._note_move(node, boot, min(hours), max(hours), 0)
                continue
            for block, part in by_block.items():
                if (node, boot, block) in self._blocks:
                    continue  # nothing that this fit rests on has changed since it was asked
                before = formers.get(block)
                if before is None:
                    before = (self._fitted(known, node, boot, block, changes),) * 2
                for former in before[: 1 + (before[0] is not before[1])]:
                    self._compare(known, node, boot, part, former)
                yield

    def _compare(
        self,
        known: BootKnots,
        node: int,
        boot: int,
        changes: dict[tuple[int, int], Change],
        former: Fit,
    ) -> None:
        """Notes where a former fit gave another time than the present one."""
        shifts: dict[int, list[int]] = {}
        for (hour, _), (uptime_ms, _) in changes.items():
            old = _stamp(former, uptime_ms)
            new = _stamp(self._fit(known, node, boot, uptime_ms), uptime_ms)
            shift_ms = old.unix_ms - new.unix_ms if old is not None and new is not None else 0
            if old is None or new is None or abs(shift_ms) > MOVED_MS:
                shifts.setdefault(shift_ms, []).append(hour)
        for shift_ms, hours in shifts.items():
            self._note_move(node, boot, min(hours), max(hours), shift_ms)

    def _note_move(
        self, node: int, boot: int, first_hour: int, last_hour: int, shift_ms: int
    ) -> None:
        if len(self.moved) < MOVED_MAX:
            reach = first_hour - RECENT_HOURS, last_hour + RECENT_HOURS
            self.moved.add((node, boot, *reach, shift_ms))

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
        return _stamp(self._fit(known, node, boot, uptime_ms), uptime_ms)

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
        known = self._boots.get((node, boot))
        return known.anchor_ms if known is not None else self._anchor(node, boot)

    def take_first_rows(self) -> list[KnotRow]:
        """Knots of boots that had none yet: without them a crash would leave the boot undated."""
        rows: list[KnotRow] = []
        for node, boot in self._fresh:
            known = self._boots.get((node, boot))
            if known is not None:
                rows += self._rows(node, boot, known, closed_only=False)
        self._fresh.clear()
        return rows

    def take_rows(self, *, closed_only: bool = True) -> list[KnotRow]:
        """Knots to be written: those of closed hours, or all."""
        rows: list[KnotRow] = []
        for (node, boot), known in self._boots.items():
            known.trim()
            rows += self._rows(node, boot, known, closed_only=closed_only)
        self._held = 0
        return rows

    @staticmethod
    def _rows(node: int, boot: int, known: BootKnots, *, closed_only: bool) -> list[KnotRow]:
        return [
            (hour, node, boot, knot.source, *knot[:3])
            for hour, knot in known.take_unwritten(closed_only=closed_only)
        ]

    def give_back(self, rows: Iterable[KnotRow]) -> None:
        """Rows that could not be written are to be taken again."""
        for hour, node, boot, source, *_ in rows:
            known = self._boots.get((node, boot))
            if known is not None and (hour, source) in known.knots:
                known.unwritten.add((hour, source))

    def _known(self, node: int, boot: int, offset_ms: int) -> BootKnots:
        known = self._boot(node, boot)
        if known is None:
            known = self._keep(node, boot, BootKnots(offset_ms, 0))
        if not known.knots:
            self._fresh.add((node, boot))
        return known

    def _boot(self, node: int, boot: int) -> BootKnots | None:
        known = self._boots.get((node, boot))
        if known is not None:
            self._boots.move_to_end((node, boot))
            return known
        anchor_ms = self._anchor(node, boot)
        return None if anchor_ms is None else self._keep(node, boot, BootKnots(anchor_ms))

    def _keep(self, node: int, boot: int, known: BootKnots) -> BootKnots:
        self._boots[node, boot] = known
        if len(self._boots) > BOOTS_MAX:
            for key, old in list(self._boots.items())[: BOOTS_MAX // 4]:
                if not old.unwritten and not old.changed:
                    del self._boots[key]
        return known

    def _fit(self, known: BootKnots, node: int, boot: int, uptime_ms: int) -> Fit:
        """The fit around an uptime: recent knots from memory, older ones from the archive."""
        self._forget_stale(known, node, boot)
        block = known.block_of(uptime_ms)
        key = node, boot, block
        found = self._blocks.get(key)
        if found is not None:
            self._blocks.move_to_end(key)
            return found
        found = self._blocks[key] = self._fitted(known, node, boot, block, {})
        known.blocks.add(block)
        while len(self._blocks) > BLOCKS_MAX:
            self._blocks.popitem(last=False)
        return found

    def _fitted(
        self,
        known: BootKnots,
        node: int,
        boot: int,
        block: int,
        without: dict[tuple[int, int], Change],
    ) -> Fit:
        """The fit of a block, as it would be without some changes."""
        self.fits += 1
        first_ms = block * RECENT_HOURS * HOUR_MS - known.anchor_ms
        within_ms = first_ms, first_ms + RECENT_HOURS * HOUR_MS
        return fit(self._knots_around(known, node, boot, block, without), within_ms=within_ms)

    def _forget_stale(self, known: BootKnots, node: int, boot: int) -> None:
        """Gives up the fits that newer knots have touched."""
        for block in known.take_stale_blocks():
            known.blocks.discard(block)
            fitted = self._blocks.pop((node, boot, block), None)
            if fitted is not None:
                known.give_up(block, fitted)

    def _knots_around(
        self,
        known: BootKnots,
        node: int,
        boot: int,
        block: int,
        without: dict[tuple[int, int], Change],
    ) -> list[Knot]:
        """Knots of a block and its neighbours, and where there are none the next ones beyond."""
        first, last = (block - 1) * RECENT_HOURS, (block + 2) * RECENT_HOURS - 1
        found = self._between(known, node, boot, first, last, without)
        hours = [known.hour_of(knot.uptime_ms) for knot in found]
        begin = known.anchor_ms // HOUR_MS
        if not hours or min(hours) > block * RECENT_HOURS:
            reach, least = RECENT_HOURS, max(begin, first - REACH_HOURS_MAX)
            while first > least:
                before = self._between(
                    known, node, boot, max(least, first - reach), first - 1, without
                )
                if before:
                    found.append(max(before))
                    break
                first -= reach
                reach *= 2
        if not hours or max(hours) < (block + 1) * RECENT_HOURS - 1:
            reach, most = RECENT_HOURS, last + REACH_HOURS_MAX
            if known.complete_from is not None and known.complete_from <= last + 1:
                ends = max((hour for hour, _ in known.knots), default=last)
                later = self._between(known, node, boot, last + 1, ends, without)
                return [*found, min(later)] if later else found
            while last < most:
                after = self._between(known, node, boot, last + 1, min(most, last + reach), without)
                if after:
                    found.append(min(after))
                    break
                last += reach
                reach *= 2
        return found

    def _between(
        self,
        known: BootKnots,
        node: int,
        boot: int,
        first_hour: int,
        last_hour: int,
        without: dict[tuple[int, int], Change],
    ) -> list[Knot]:
        last_stored = last_hour
        if known.complete_from is not None:
            last_stored = min(last_hour, known.complete_from - 1)
        stored: dict[tuple[int, int], Knot] = {}
        if first_hour <= last_stored:
            for knot in self._load(node, boot, first_hour, last_stored):
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
