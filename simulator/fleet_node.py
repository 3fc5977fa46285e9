"""Nodes for large fleets: values enter above the drivers, and steps come only when due."""

from array import array
from math import sin
from operator import add

from firmware.node import Node
from firmware.sampling import Grid, Sampler
from protocol import quantity
from protocol.samples import Batch
from protocol.wire import Q_MISSING, Q_OK, Q_SUSPECT
from simulator.world import hashed

IDLE_MAX_MS = 30_000
PATIENCE_MS = 600_000
QUIET_MS = 1_000
UPLINK_WAIT_MAX_MS = 60_000

FEED_CHANNELS = (
    (quantity.PM10, None),
    (quantity.PM2_5, None),
    (quantity.PM1, None),
    (quantity.TEMPERATURE, None),
    (quantity.HUMIDITY, None),
    (quantity.PRESSURE, None),
    (quantity.VOC_INDEX, None),
    (quantity.NOX_INDEX, None),
)
"""The eight channels of a feed, as a driver's CHANNELS."""

_LEVELS = (180, 90, 60, 1_150, 7_000, 101_325, 100, 20)
_SWINGS = (90, 40, 25, 600, 1_500, 900, 60, 15)
_JITTERS = (6, 4, 3, 5, 20, 4, 5, 2)
_PATTERN_LENGTH = 4_096


def _pattern() -> list[tuple[int, ...]]:
    """A stretch of plausible air: slow swings with a little noise; the same in every run."""
    rows = []
    for step in range(_PATTERN_LENGTH):
        rows.append(
            tuple(
                round(
                    level
                    + swing * sin(step / (190.0 + 23 * column) + column)
                    + jitter * (hashed(77, column, step) - 0.5)
                )
                for column, (level, swing, jitter) in enumerate(
                    zip(_LEVELS, _SWINGS, _JITTERS, strict=True)
                )
            )
        )
    return rows


_ROWS = _pattern()


def feed_values(seed: int, instant: int) -> tuple[int, ...]:
    """What the feed of a node says at its n-th instant: eight scaled integers, never negative."""
    row = _ROWS[(instant * _STRIDE + seed * 613) % _PATTERN_LENGTH]
    # The last digits make every instant of every node recognisable.
    mark = instant & 1023
    return (*row[:5], row[5] + (mark & 31), row[6] + (mark >> 5), row[7])


# Steps of 5 through the pattern reach every row once, so an instant's place in this order is
# its own number plus what the seed adds; doubled, so that a stretch never wraps.
_STRIDE = 5
_STRIDE_INVERSE = pow(_STRIDE, -1, _PATTERN_LENGTH)
_COLUMNS = [
    array("i", [_ROWS[_STRIDE * step % _PATTERN_LENGTH][column] for step in range(_PATTERN_LENGTH)])
    * 2
    for column in range(len(FEED_CHANNELS))
]
_MARKS_LOW = array("i", [mark & 31 for mark in range(1024)]) * 2
_MARKS_HIGH = array("i", [mark >> 5 for mark in range(1024)]) * 2


def feed_columns(seed: int, first: int, count: int) -> "list[array[int]]":
    """What the feed says at count instants from the first on, a column for each channel."""
    at = (first + seed * 613 * _STRIDE_INVERSE) % _PATTERN_LENGTH
    mark = first & 1023
    columns = [column[at : at + count] for column in _COLUMNS]
    for column, marks in ((5, _MARKS_LOW), (6, _MARKS_HIGH)):
        columns[column] = array("i", map(add, columns[column], marks[mark : mark + count]))
    return columns


QUALITY_RUN = 7
QUALITY_RUNS_APART = 11


def feed_quality(seed: int, instant: int, column: int) -> int:
    """Quality of a feed's channel at its n-th instant: at times a run, of one channel or all."""
    stretch = instant // QUALITY_RUN + seed
    if stretch % QUALITY_RUNS_APART:
        return Q_OK
    kind = stretch // QUALITY_RUNS_APART
    return 1 + kind % Q_SUSPECT if kind % 9 in (column, 8) else Q_OK


class Feed:
    """A sensor of the firmware that is always ready; see firmware.types.Sensor."""

    CHANNELS = FEED_CHANNELS
    LEAD_MS = 0
    ANSWER_MS = 0

    def __init__(self, seed: int, interval_ms: int, origin_ms: int = 0) -> None:
        self.ready = False
        self.bus_errors = 0
        self.checksum_errors = 0
        self._seed = seed
        self.interval_ms = interval_ms
        self.origin_ms = origin_ms
        self._now_ms = 0

    def begin(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self.ready = True

    def poll(self, now_ms: int) -> int:
        return -1

    def read(self, row: "object") -> None:
        instant = (self.origin_ms + self._now_ms) // self.interval_ms
        values = feed_values(self._seed, instant)
        put = row.put  # type: ignore[attr-defined]
        if (instant // QUALITY_RUN + self._seed) % QUALITY_RUNS_APART:
            for column, value in enumerate(values):
                put(column, value, Q_OK)
        else:
            for column, value in enumerate(values):
                quality = feed_quality(self._seed, instant, column)
                put(column, None if quality == Q_MISSING else value, quality)
        self.ready = False

    def fill(self, sampler: Sampler, count: int) -> None:
        """Put count rows into the batch at once, as so many instants of the sampler would.

        There must be room for them, and the sampler's instants be a grid of its interval.
        """
        batch = sampler.batch
        interval_ms = sampler.interval_ms
        start_ms = sampler._instant
        if not batch.rows:
            batch.start(start_ms, interval_ms)
        row = batch._first + batch.rows
        offset_ms = start_ms - (batch._high << 24 | batch._low)
        end_ms = offset_ms + count * interval_ms
        batch._times[row : row + count] = array("i", range(offset_ms, end_ms, interval_ms))
        first = (self.origin_ms + start_ms) // interval_ms
        for column, values in enumerate(feed_columns(self._seed, first, count)):
            at = (column + 1) * batch._rows_max + row
            batch._values[at : at + count] = values
            batch._quality[at : at + count] = bytes(count)
        self._degrade(batch, row, first, count)
        batch.rows += count
        sampler.rows += count
        sampler.last_ms = start_ms + (count - 1) * interval_ms
        sampler._instant = start_ms + count * interval_ms

    def _degrade(self, batch: Batch, row: int, first: int, count: int) -> None:
        """Give rows from the first instant on the feed's qualities; what is missing repeats."""
        end = first + count
        stretch = first // QUALITY_RUN
        stretch += -(stretch + self._seed) % QUALITY_RUNS_APART
        while stretch * QUALITY_RUN < end:
            begin = stretch * QUALITY_RUN
            for instant in range(max(first, begin), min(end, begin + QUALITY_RUN)):
                for column in range(len(FEED_CHANNELS)):
                    at = (column + 1) * batch._rows_max + row + instant - first
                    quality = feed_quality(self._seed, instant, column)
                    batch._quality[at] = quality
                    if quality == Q_MISSING:
                        batch._values[at] = batch._values[at - 1] if row + instant > first else 0
            stretch += QUALITY_RUNS_APART


class PatientNode(Node):
    """The firmware's node, asked again only when something of it is due.

    Where the board steps once a second because that costs nothing, a thousand boards in one
    process cannot. Only for sensors that do nothing between instants, and for links that wake
    the node when a frame arrives. On a link that is `patient` (it never changes by itself while it
    stands) the node is not woken for its samples either: they are taken, each with its own
    instant, before anything can see them. What the board sends is the same.
    """

    def step(self) -> int:
        self.catch_up()
        wait_ms = super().step()
        patient = self._is_patient()
        if wait_ms < QUIET_MS and not patient:
            return wait_ms
        now_ms = self.clock.uptime_ms()
        return max(1, self._due_ms(now_ms, patient) - now_ms)

    def catch_up(self) -> None:
        """Take the samples of all instants that have passed."""
        sampler = self.sampler
        if sampler is None or sampler.row_open:
            return
        now_ms = self.clock.uptime_ms()
        instant_ms = sampler._instant
        if instant_ms >= now_ms:
            return
        live = sampler.live
        # Only the newest row can be seen in a LIVE.
        sampler.live = None
        feed = self._plain_feed(sampler)
        while sampler.next_instant(instant_ms) <= now_ms:
            if feed is None:
                self._sample(instant_ms)
            else:
                self._fill(sampler, feed, (now_ms - instant_ms) // sampler.interval_ms)
            instant_ms = sampler._instant
        sampler.live = live
        self._sample(instant_ms)

    def _plain_feed(self, sampler: Sampler) -> Feed | None:
        """The feed of a node that has no other sensor, and whose instants are the feed's own."""
        feed = sampler.slots[0].sensor
        grid = sampler._schedule
        if len(sampler.slots) > 1 or not isinstance(feed, Feed) or not isinstance(grid, Grid):
            return None
        own = grid.interval_ms == sampler.interval_ms == feed.interval_ms
        return feed if own and not feed.origin_ms % feed.interval_ms else None

    def _sample(self, instant_ms: int) -> None:
        assert self.sampler is not None
        self.sampler.step(instant_ms)
        if self.sampler.batch.full:
            self._report(instant_ms)

    def _fill(self, sampler: Sampler, feed: Feed, instants: int) -> None:
        """Take the next instants at once, as many as find room."""
        batch = sampler.batch
        feed.fill(sampler, min(instants, batch._rows_max - batch._first - batch.rows))
        if batch.full:
            self._report(sampler.last_ms)

    def _due_ms(self, now_ms: int, patient: bool) -> int:
        due_ms = min(self.hello_due, now_ms + (PATIENCE_MS if patient else IDLE_MAX_MS))
        if self.sampler is not None:
            instant_ms = self._full_ms(self.sampler) if patient else self.sampler._instant
            due_ms = min(due_ms, instant_ms, self._report_due)
        outbox = self.outbox
        uplink = outbox.uplink
        if outbox.spool.unsynced:
            due_ms = min(due_ms, outbox._sync_due)
        if self.link.connected:
            due_ms = min(due_ms, self.link.live_due)
            wait_ms = uplink.wait_ms(now_ms)
            if wait_ms < UPLINK_WAIT_MAX_MS or uplink._flight or not patient:
                due_ms = min(due_ms, now_ms + wait_ms)
        if patient and self._silent_ms:
            due_ms = min(due_ms, max(0, self.downlink.ack_ms) + self._silent_ms)
        return due_ms

    def _full_ms(self, sampler: Sampler) -> int:
        """When the batch will be full, at the nominal interval."""
        batch = sampler.batch
        missing = max(1, batch._rows_max - batch._first - batch.rows)
        return sampler._instant + (missing - 1) * sampler.interval_ms

    def _is_patient(self) -> bool:
        """Whether nothing but the deadlines of _due_ms and arrivals can make a difference."""
        return (
            self.link.connected
            and (self.sampler is None or not self.sampler.row_open)
            and getattr(self.link.transport, "patient", False)
            and self._good
            and self._trial is None
            and self.sleeper is None
            and self.downlink.trial is None
            and self.downlink.update is None
            and not (self.safe_mode or self.restart_wanted or self._identify_until)
        )
