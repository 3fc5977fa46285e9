"""Time for frames: a board dates them by its uptime, this says what that was in Unix time.

Observations come from LIVE frames (the earliest of each hour, while the collector's own clock is
synchronised) and from the CLOCK sections that boards with a clock send. They are kept as knots, so
every time can be computed again, with a bound on its error.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from collector.archive.boot_knots import HOUR_MS, RECENT_HOURS, BootKnots, LiveHour
from collector.archive.knot_table import KnotRow
from collector.archive.timeline_fit import LIVE, SOURCES, Fit, Knot, fit
from collector.clock import EARLIEST_UNIX_MS

REACH_HOURS_MAX = 100_000
"""How far ahead the next knot is looked for: more than ten years."""

BOOTS_MAX = 4_096
BLOCKS_MAX = 2_048
CLOCK_AHEAD_MAX_MS = 60_000

Moved = tuple[int, int, int, int, int]
"""(node, boot, first hour, last hour, old minus new time), by the boot's index hours."""

MOVED_MS = 1_000
MOVED_MAX = 10_000

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
        self.moved: set[Moved] = set()
        """Parts of boots whose times have changed by more than a second: for the hourly means."""
        self.refused = 0

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
        self._put(known, node, boot, hour, known.hour.knot())
        if known.complete_from is None:  # uptimes of LIVE only rise: what was stored is no later
            known.complete_from = hour + 2
        if undated:
            self._note_move(node, boot, hour, uptime_ms, None)

    def _stored(self, node: int, boot: int, hour: int, source: int) -> Knot | None:
        """An hour's knot from before a restart; one that says less must not take its place."""
        found = (knot for knot in self._load(node, boot, hour, hour) if knot.source == source)
        return next(found, None)

    def observe_clock(self, node: int, boot: int, knot: Knot, received_ms: int | None) -> None:
        """Takes what a board says of its clock; impossible times are counted and left out."""
        unix_ms = knot.uptime_ms + knot.offset_ms
        late_ms = CLOCK_AHEAD_MAX_MS + knot.error_ms
        if unix_ms < self._earliest_ms or (
            received_ms is not None and unix_ms > received_ms + late_ms
        ):
            self.refused += 1
            return
        known = self._known(node, boot, knot.offset_ms)
        hour = known.hour_of(knot.uptime_ms)
        before = known.knots.get((hour, knot.source))
        if before is None:
            before = self._stored(node, boot, hour, knot.source)
        if before is None or _says_more(knot, before):
            old = self._time_before(known, node, boot, knot.uptime_ms)
            self._put(known, node, boot, hour, knot)
            if old is None or abs(unix_ms - old.unix_ms) > MOVED_MS:
                self._note_move(node, boot, hour, knot.uptime_ms, old)

    def _time_before(self, known: BootKnots, node: int, boot: int, uptime_ms: int) -> Stamp | None:
        """What an uptime's time was when somebody last asked, or is if nobody has yet."""
        block = known.block_of(uptime_ms)
        if (node, boot, block) in self._blocks or known.former is None or known.former[0] != block:
            return self.time_of(node, boot, uptime_ms)
        return _stamp(known.former[1], uptime_ms)

    def _note_move(
        self, node: int, boot: int, hour: int, uptime_ms: int, old: Stamp | None
    ) -> None:
        new = self.time_of(node, boot, uptime_ms)
        still = old is not None and new is not None and abs(new.unix_ms - old.unix_ms) <= MOVED_MS
        if not still and len(self.moved) < MOVED_MAX:
            shift_ms = old.unix_ms - new.unix_ms if old is not None and new is not None else 0
            reach = hour - RECENT_HOURS, hour + RECENT_HOURS
            self.moved.add((node, boot, *reach, shift_ms))

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
            taken = self._rows(node, boot, known, closed_only=closed_only)
            if taken:
                rows += taken
                known.trim()
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
                if not old.unwritten:
                    del self._boots[key]
        return known

    def _fit(self, known: BootKnots, node: int, boot: int, uptime_ms: int) -> Fit:
        """The fit around an uptime: recent knots from memory, older ones from the archive."""
        block = known.block_of(uptime_ms)
        key = node, boot, block
        found = self._blocks.get(key)
        if found is not None:
            self._blocks.move_to_end(key)
            return found
        first_ms = block * RECENT_HOURS * HOUR_MS - known.anchor_ms
        within_ms = first_ms, first_ms + RECENT_HOURS * HOUR_MS
        found = fit(self._knots_around(known, node, boot, block), within_ms=within_ms)
        self._blocks[key] = found
        known.blocks.add(block)
        while len(self._blocks) > BLOCKS_MAX:
            self._blocks.popitem(last=False)
        return found

    def _knots_around(self, known: BootKnots, node: int, boot: int, block: int) -> list[Knot]:
        """Knots of a block and its neighbours, and where there are none the next ones beyond."""
        first, last = (block - 1) * RECENT_HOURS, (block + 2) * RECENT_HOURS - 1
        found = self._between(known, node, boot, first, last)
        hours = [known.hour_of(knot.uptime_ms) for knot in found]
        begin = known.anchor_ms // HOUR_MS
        if not hours or min(hours) > block * RECENT_HOURS:
            reach = RECENT_HOURS
            while first > begin:
                before = self._between(known, node, boot, max(begin, first - reach), first - 1)
                if before:
                    found.append(max(before))
                    break
                first -= reach
                reach *= 2
        if not hours or max(hours) < (block + 1) * RECENT_HOURS - 1:
            reach = RECENT_HOURS
            if known.complete_from is not None and known.complete_from <= last + 1:
                later = [knot for (hour, _), knot in known.knots.items() if hour > last]
                return [*found, min(later)] if later else found
            while reach < REACH_HOURS_MAX:
                after = self._between(known, node, boot, last + 1, last + reach)
                if after:
                    found.append(min(after))
                    break
                last += reach
                reach *= 2
        return found

    def _between(
        self, known: BootKnots, node: int, boot: int, first_hour: int, last_hour: int
    ) -> list[Knot]:
        last_stored = last_hour
        if known.complete_from is not None:
            last_stored = min(last_hour, known.complete_from - 1)
        stored: dict[tuple[int, int], Knot] = {}
        if first_hour <= last_stored:
            for knot in self._load(node, boot, first_hour, last_stored):
                stored[known.hour_of(knot.uptime_ms), knot.source] = knot
        near = {k: knot for k, knot in known.knots.items() if first_hour <= k[0] <= last_hour}
        return list((stored | near).values())

    def _put(self, known: BootKnots, node: int, boot: int, hour: int, knot: Knot) -> None:
        """Keeps a knot and forgets the fits that it touches: up to its neighbours on both sides."""
        before = known.knots.get((hour, knot.source))
        if before == knot:
            return
        known.put(hour, knot)
        block = hour // RECENT_HOURS
        touched = {block - 1, block, block + 1}
        if before is None:
            earlier = max((h for h, _ in known.knots if h < hour), default=None)
            oldest = min(known.blocks, default=0)
            if earlier is not None:
                oldest = earlier // RECENT_HOURS - 1
            touched.update([each for each in known.blocks if each >= oldest])
        for each in sorted(touched & known.blocks):
            fitted = self._blocks.pop((node, boot, each), None)
            if fitted is not None:
                known.former = each, fitted
        known.blocks -= touched


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
