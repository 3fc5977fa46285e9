"""Nodes for large fleets: values enter above the drivers, and steps come only when due."""

from math import sin

from firmware.node import Node
from protocol import quantity
from protocol.wire import Q_OK
from simulator.world import hashed

IDLE_MAX_MS = 30_000
QUIET_MS = 1_000

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
    row = _ROWS[(instant * 5 + seed * 613) % _PATTERN_LENGTH]
    # The last digits make every instant of every node recognisable.
    mark = instant & 1023
    return (*row[:5], row[5] + (mark & 31), row[6] + (mark >> 5), row[7])


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
        self._interval_ms = interval_ms
        self._origin_ms = origin_ms
        self._now_ms = 0

    def begin(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self.ready = True

    def poll(self, now_ms: int) -> int:
        return -1

    def read(self, row: "object") -> None:
        values = feed_values(self._seed, (self._origin_ms + self._now_ms) // self._interval_ms)
        put = row.put  # type: ignore[attr-defined]
        for column, value in enumerate(values):
            put(column, value, Q_OK)
        self.ready = False


class PatientNode(Node):
    """The firmware's node, asked again only when something of it is due.

    Where the board steps once a second because that costs nothing, a thousand boards in one
    process cannot. Only for sensors that do nothing between instants, and for links that wake
    the node when a frame arrives.
    """

    def step(self) -> int:
        wait_ms = super().step()
        if wait_ms < QUIET_MS:
            return wait_ms
        now_ms = self.clock.uptime_ms()
        outbox = self.outbox
        due_ms = min(self.hello_due, now_ms + IDLE_MAX_MS)
        if self.sampler is not None:
            due_ms = min(due_ms, self.sampler._instant, self._report_due)
        if outbox.spool.unsynced:
            due_ms = min(due_ms, outbox._sync_due)
        if self.link.connected:
            due_ms = min(due_ms, self.link.live_due, now_ms + outbox.uplink.wait_ms(now_ms))
        return max(1, due_ms - now_ms)
