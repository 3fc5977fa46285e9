"""How a recording becomes boards: which sensors sit on which node, and when it samples.

A location of the archive becomes a node for each pair of its sensors: the first SDS011 with the
first BME280, the second with the second. A node samples at every instant at which one of its
sensors has a row. Rows of one second are spread over that second.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from firmware.noise import microphones
from simulator.recordings import Recording, Row, Track

SPREAD_MAX_MS = 500
LEAD_MS = 60_000
"""How long before its first row a node gets power: sensors are warm by then."""

NEVER_MS = 1 << 46

RANGES = {
    "sds011": {"pm10": (0.0, 999.9), "pm2_5": (0.0, 999.9)},
    "bme280": {
        "temperature": (-40.0, 85.0),
        "humidity": (0.0, 100.0),
        "pressure": (30_000.0, 110_000.0),
    },
    "sht31": {"temperature": (-45.0, 130.0), "humidity": (0.0, 100.0)},
    "pms5003": {"pm1": (0.0, 1000.0), "pm2_5": (0.0, 1000.0), "pm10": (0.0, 1000.0)},
    "sps30": {
        "pm1": (0.0, 1000.0),
        "pm2_5": (0.0, 1000.0),
        "pm4": (0.0, 1000.0),
        "pm10": (0.0, 1000.0),
    },
    "ics43434": {"laeq": (0.0, 120.0)},
}
"""What each sensor can say at all, in the registry's units."""

RESOLUTION = {
    "pm1": 0.1,
    "pm2_5": 0.1,
    "pm4": 0.1,
    "pm10": 0.1,
    "temperature": 0.01,
    "humidity": 0.03,
    "pressure": 1.0,
    "laeq": 0.1,
}
"""Largest difference that a sensor's own resolution explains, in the registry's units."""

COARSE = {
    ("pms5003", "pm1"): 0.5,
    ("pms5003", "pm2_5"): 0.5,
    ("pms5003", "pm10"): 0.5,
    ("sht31", "temperature"): 0.02,
}
"""Of a sensor that says a quantity in coarser steps."""

INTERVAL_MEANS = frozenset(("laeq",))
"""A recorded value of these holds for the time since the row before."""


def resolution(driver: str, quantity: str) -> float:
    """Largest difference that this sensor's own resolution explains, in the registry's units."""
    return COARSE.get((driver, quantity), RESOLUTION[quantity])


def heard(driver: str, quantity: str, value: float) -> float:
    """What a perfect sensor of this kind finds: a microphone hears its own noise too."""
    if quantity != "laeq":
        return value
    own_db = microphones.by_name(driver).floor_db
    return 10 * math.log10(10 ** (value / 10) + 10 ** (own_db / 10))


_SERIAL = {"id": 1, "tx": 17, "rx": 16, "baud": 9600}
_I2C = {"id": 0, "sda": 21, "scl": 22, "hz": 100_000}
BUSES: dict[str, tuple[str, str, dict[str, int]]] = {
    "sds011": ("uart", "dust", _SERIAL),
    "pms5003": ("uart", "dust", _SERIAL),
    "sps30": ("i2c", "main", _I2C),
    "bme280": ("i2c", "main", _I2C),
    "sht31": ("i2c", "main", _I2C),
    "ics43434": ("i2s", "mic", {"id": 0, "sck": 4, "ws": 5, "sd": 6}),
}
"""Kind, name and pins of the bus on which a replayed sensor sits."""


def in_range(driver: str, quantity: str, value: float) -> bool:
    """Whether a sensor could have said this."""
    low, high = RANGES[driver][quantity]
    return low <= value <= high


@dataclass(slots=True)
class NodePlan:
    """One simulated node: its identity, its tracks, and its rows by the instant of sampling."""

    address: int
    uuid: str
    key: bytes
    name: str
    location: str
    latitude: float
    longitude: float
    tracks: list[Track]
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    instants_ms: list[int] = field(default_factory=list)

    @property
    def start_ms(self) -> int:
        """Unix ms at which the node gets power."""
        return self.instants_ms[0] - LEAD_MS

    def board(self) -> dict[str, Any]:
        """The board.json of a node with these sensors."""
        board: dict[str, Any] = {
            "board": "classic",
            "chip": "esp32",
            "uart": {},
            "i2c": {},
            "sensors": [],
        }
        for track in self.tracks:
            kind, name, bus = BUSES[track.driver]
            board.setdefault(kind, {})[name] = dict(bus)
            board["sensors"].append(
                {"driver": track.driver, "bus": f"{kind}:{name}", "instance": 0, "options": {}}
            )
        return board


def make_plans(recording: Recording) -> list[NodePlan]:
    """The nodes that this recording needs, in a fixed order."""
    places: dict[str, dict[str, list[Track]]] = defaultdict(lambda: defaultdict(list))
    for track in recording.tracks:
        places[track.location][track.driver].append(track)
    plans = []
    for location, by_driver in sorted(places.items()):
        for number in range(max(len(tracks) for tracks in by_driver.values())):
            tracks = [t[number] for _, t in sorted(by_driver.items()) if number < len(t)]
            plans.append(_plan(location, number, tracks))
    return plans


def _plan(location: str, number: int, tracks: list[Track]) -> NodePlan:
    secret = sha256(f"replay {location} {number}".encode()).digest()
    suffix = f" #{number + 1}" if number else ""
    plan = NodePlan(
        address=int.from_bytes(secret[:4], "big") or 1,
        uuid=str(UUID(bytes=secret[8:24], version=4)),
        key=sha256(b"key" + secret).digest(),
        name=f"Location {location}{suffix}",
        location=location,
        latitude=tracks[0].latitude,
        longitude=tracks[0].longitude,
        tracks=tracks,
    )
    for track in tracks:
        for instant_ms, row in spread(track.rows):
            plan.rows.setdefault(instant_ms, {}).update(row.values)
    plan.instants_ms = sorted(plan.rows)
    return plan


def spread(rows: list[Row]) -> list[tuple[int, Row]]:
    """Rows with instants of their own: rows of the same time share the second that follows it."""
    placed = []
    start = 0
    while start < len(rows):
        time_ms = rows[start].time_ms
        end = start
        while end < len(rows) and rows[end].time_ms == time_ms:
            end += 1
        following_ms = rows[end].time_ms if end < len(rows) else time_ms + 1000
        room_ms = min(1000, following_ms - time_ms)
        step_ms = min(SPREAD_MAX_MS, room_ms // (end - start))
        placed += [(time_ms + n * step_ms, rows[start + n]) for n in range(end - start)]
        start = end
    return placed


class RecordedStimulus:
    """What the sensors of a node find: the row of the instant that has come last.

    now_ms counts from the node's power-on. None for a quantity that has no value at this instant:
    the sensor does not answer.
    """

    def __init__(self, plan: NodePlan, origin_unix_ms: int) -> None:
        self._rows = plan.rows
        self._instants_ms = plan.instants_ms
        self._means = {
            name: [at for at in plan.instants_ms if name in plan.rows[at]]
            for name in INTERVAL_MEANS
        }
        self._origin_ms = origin_unix_ms

    def value(self, quantity_name: str, now_ms: int) -> float | None:
        """The recorded value now, or None."""
        if quantity_name in INTERVAL_MEANS:
            return self._mean(quantity_name, self._origin_ms + now_ms)
        index = bisect_right(self._instants_ms, self._origin_ms + now_ms)
        if index == 0:
            return next(
                (row[quantity_name] for row in self._rows.values() if quantity_name in row), None
            )
        return self._rows[self._instants_ms[index - 1]].get(quantity_name)

    def _mean(self, quantity_name: str, at_ms: int) -> float | None:
        """The value of the interval around a time, which the row at its end says."""
        ends_ms = self._means[quantity_name]
        index = bisect_left(ends_ms, at_ms)
        return self._rows[ends_ms[index]][quantity_name] if index < len(ends_ms) else None


class RecordedSchedule:
    """Sampling instants in ms of uptime, taken from a recording."""

    def __init__(self, instants_ms: list[int]) -> None:
        self._instants_ms = instants_ms

    def next_ms(self, after_uptime_ms: int) -> int:
        """The first instant after this uptime; far away when there is none."""
        index = bisect_right(self._instants_ms, after_uptime_ms)
        return self._instants_ms[index] if index < len(self._instants_ms) else NEVER_MS
