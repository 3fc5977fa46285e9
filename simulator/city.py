"""A scenario's city: its day and its events, boards with their sensors at their places.

The firmware's drivers read device models that find the world's air and sound. What a driver put
into a row is noted, and each value is held against what the world was like at that time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from firmware.node import Node
from hardware import boardfile
from protocol.reading import Reading
from protocol.registry import REGISTRY
from protocol.wire import Q_MISSING, Q_OK
from simulator.world import DAY_MS, HOUR_MS, MINUTE_MS, Event, Place, PlaceStimulus, Route, World

MONDAY_MS = 1_769_990_400_000
FOUND_MAX = 5_000
AIR_WINDOW_MS = range(-12_000, 3_001, 3_000)
SOUND_WINDOW_MS = range(-12_000, 3_001, 250)
"""Around an instant: between these moments a sensor may have looked, or heard."""

KINDS = ("fireworks", "fog", "inversion", "rain", "roadworks", "siren")
PLACES: dict[str, Sequence[Place]] = {
    "mobile": (
        Place(
            altitude_m=1.0,
            street_m=15.0,
            route=Route(((52.3680, 4.8900), (52.3725, 4.8990), (52.3760, 4.9080)), 4.5),
        ),
    ),
    "": (
        Place(52.3702, 4.8952, 2.0, street_m=6.0),
        Place(52.3731, 4.8922, 9.0, street_m=45.0, school=True),
        Place(52.3580, 4.8686, 1.0, street_m=400.0),
    ),
}
"""By board; "" for all others."""

TOLERANCES: dict[str, tuple[float, float]] = {
    "pm1": (3.0, 0.2),
    "pm2_5": (3.0, 0.2),
    "pm4": (3.0, 0.2),
    "pm10": (3.0, 0.2),
    "temperature": (0.3, 0.0),
    "humidity": (2.0, 0.0),
    "pressure": (30.0, 0.0),
    "co2": (15.0, 0.0),
    "laeq": (1.0, 0.0),
    "latitude": (0.0002, 0.0),
    "longitude": (0.0002, 0.0),
}
"""How far a good value may lie outside of what the world was like: absolute, and relative."""


class CityError(ValueError):
    """A city that cannot be built; the message says why."""


@dataclass(frozen=True)
class City:
    """A world with its boards; began_ms is the beginning of the run."""

    world: World
    boards: tuple[dict[str, Any], ...]
    began_ms: int

    def board(self, number: int) -> dict[str, Any]:
        """The board file of a node."""
        return self.boards[number % len(self.boards)]

    def place(self, number: int) -> Place:
        """Where a node stands or goes."""
        places = PLACES.get(self.board(number)["board"], PLACES[""])
        return places[number // len(self.boards) % len(places)]

    def stimulus(self, number: int) -> PlaceStimulus:
        """What the sensors of a node find; its clock begins with the run."""
        return PlaceStimulus(self.world, self.place(number), self.began_ms)


def city_of(
    table: Mapping[str, Any], events: Sequence[Mapping[str, Any]], seed: int, hours: float
) -> City:
    """The city of a scenario's tables. Raises CityError.

    An event of an hour of the day happens each day: of fireworks at 23.9 the run may see the end.
    """
    midnight_ms = MONDAY_MS + int(table.get("weekday", 0)) * DAY_MS
    try:
        boards = tuple(boardfile.load(name).board_json() for name in table["boards"])
    except KeyError:
        raise CityError('a city needs boards, such as boards = ["street", "mobile"]') from None
    except boardfile.BoardError as error:
        raise CityError(str(error)) from error
    happening = []
    for event in events:
        if event["kind"] not in KINDS:
            raise CityError(f"no event {event['kind']!r}; there are: {', '.join(KINDS)}")
        for day in range(-1, 1 + math.ceil((float(table.get("start_hour", 0)) + hours) / 24)):
            start_ms = midnight_ms + day * DAY_MS + round(event["hour"] * HOUR_MS)
            end_ms = start_ms + round(event["minutes"] * MINUTE_MS)
            happening.append(Event(event["kind"], start_ms, end_ms, event.get("strength", 1.0)))
    began_ms = midnight_ms + round(float(table.get("start_hour", 0)) * HOUR_MS)
    return City(World(seed, tuple(happening)), boards, began_ms)


class Heard:
    """What the drivers of one boot put into rows; judge() says what is wrong with a reading.

    stimulus: what the sensors found, None where values do not come from a world.
    """

    def __init__(self, stimulus: PlaceStimulus | None, powered_ms: int) -> None:
        self._stimulus = stimulus
        self._powered_ms = powered_ms
        self._said: dict[tuple[int, int, int, int], tuple[int | None, int]] = {}
        self._found: dict[tuple[int, str], list[float]] = {}

    def listen(self, node: Node) -> None:
        """Note what comes into rows from now on; of a board that sleeps again after each wake."""
        sampler = node.sampler
        if sampler is None:
            return
        rows: Any = node.sleeper or sampler.batch
        names = [(each.quantity, each.instance, each.first_band) for each in sampler.channels]
        put = rows.put

        def noting(column: int, value: int | None, quality: int = 0, *band: int) -> None:
            number, instance, first_band = names[column]
            first_band += sum(band)
            self._said[sampler._instant, number, instance, first_band] = value, quality
            put(column, value, quality, *band)

        rows.put = noting

    def judge(self, reading: Reading) -> str:
        """What is wrong with a reading; "" when nothing is."""
        band = reading.band or 0
        origin = reading.uptime_ms, reading.quantity, reading.instance, band
        value, quality = self._said.get(origin, (None, Q_MISSING))
        if value is None:
            quality = Q_MISSING
        if reading.quality != quality:
            return f"a quality is {reading.quality}, it was {quality}"
        if quality == Q_MISSING:
            return ""
        if reading.raw != value:
            return "a value is not what the driver said"
        return self._compared(reading) if quality == Q_OK else ""

    def _compared(self, reading: Reading) -> str:
        """Hold a good value against the world."""
        name = REGISTRY[reading.quantity].name
        if self._stimulus is None or name not in TOLERANCES:
            return ""
        true = self._found_at(reading.uptime_ms, name)
        absolute, relative = TOLERANCES[name]
        low = min(true) * (1 - relative) - absolute
        high = max(true) * (1 + relative) + absolute
        if reading.value is not None and low <= reading.value <= high:
            return ""
        return f"{name} is {reading.value}, in the world it was {min(true):.4g} to {max(true):.4g}"

    def _found_at(self, uptime_ms: int, name: str) -> list[float]:
        """What the world was like around an instant; all quantities are looked up at once."""
        if (uptime_ms, name) not in self._found:
            if len(self._found) > FOUND_MAX:
                self._found.clear()
            at_ms = self._powered_ms + uptime_ms
            for each in TOLERANCES:
                self._found[uptime_ms, each] = []
            stimulus = self._stimulus
            assert stimulus is not None
            for moved_ms in AIR_WINDOW_MS:
                self._look(stimulus, uptime_ms, max(0, at_ms + moved_ms))
            self._found[uptime_ms, "laeq"] = [
                stimulus.world.level_db(
                    stimulus.origin_unix_ms + max(0, at_ms + moved_ms), stimulus.place
                )
                for moved_ms in SOUND_WINDOW_MS
            ]
        return self._found[uptime_ms, name]

    def _look(self, stimulus: PlaceStimulus, uptime_ms: int, now_ms: int) -> None:
        for name in TOLERANCES:
            value = stimulus.value(name, now_ms)
            if value is not None:
                self._found[uptime_ms, name].append(value)
