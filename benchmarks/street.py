"""What a street node measures, minute by minute, without the sensors: for sizes and wear.

The truth is simulator.world's; each column gets the noise and the resolution of its sensor.
"""

import math
from random import Random
from typing import Any

from protocol import quantity as q
from protocol.registry import REGISTRY
from simulator.world import Place, PlaceStimulus, World

ORIGIN_UNIX_MS = 1_772_150_400_000
PLANTOWER = (
    (q.PM1_CF1, 0),
    (q.PM2_5_CF1, 0),
    (q.PM10_CF1, 0),
    (q.PM1, 0),
    (q.PM2_5, 0),
    (q.PM10, 0),
    (q.COUNT_0_3, None),
    (q.COUNT_0_5, None),
    (q.COUNT_1, None),
    (q.COUNT_2_5, None),
    (q.COUNT_5, None),
    (q.COUNT_10, None),
)
BOSCH = ((q.TEMPERATURE, None), (q.HUMIDITY, None), (q.PRESSURE, None))
SENSIRION = ((q.TEMPERATURE, None), (q.HUMIDITY, None))
METER = tuple(
    (name, None)
    for name in (
        q.LAEQ, q.LAFMAX, q.LAFMIN, q.LA10, q.LA50, q.LA90, q.LCEQ, q.LCPEAK, q.VALID_TIME,
    )
)  # fmt: skip
# dB above the minute's LAeq, and how far it strays from minute to minute.
LEVELS = {
    q.LAEQ: (0.0, 1.2),
    q.LAFMAX: (9.0, 3.0),
    q.LAFMIN: (-9.0, 1.0),
    q.LA10: (3.0, 1.2),
    q.LA50: (-2.5, 1.0),
    q.LA90: (-6.5, 0.8),
    q.LCEQ: (7.0, 1.5),
    q.LCPEAK: (24.0, 4.0),
}


class StreetSensor:
    """A sensor of the firmware's kind that draws its columns from the world at once."""

    LEAD_MS = 0
    ANSWER_MS = 100
    MODEL = 0
    bus_errors = 0
    checksum_errors = 0

    def __init__(
        self, channels: tuple[tuple[int, int | None], ...], stimulus: PlaceStimulus, seed: int
    ) -> None:
        self.CHANNELS = channels
        self.ready = False
        self._stimulus = stimulus
        self._random = Random(seed)
        self._now_ms = 0

    def begin(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self.ready = True

    def poll(self, now_ms: int) -> int:
        return -1

    def read(self, row: Any) -> None:
        for index, (quantity, exponent) in enumerate(self.CHANNELS):
            row.put(index, self._draw(quantity, exponent), 0)
        self.ready = False

    def _draw(self, quantity: int, exponent: int | None) -> int:
        if quantity == q.VALID_TIME:
            return 60_000 - 10 * int(self._random.random() < 0.05)
        if quantity in LEVELS:
            above, stray = LEVELS[quantity]
            mean = self._stimulus.value("laeq", self._now_ms) or 0.0
            return round((mean + above + self._random.gauss(0, stray)) * 10)
        row = REGISTRY[quantity]
        value = self._stimulus.value(row.name, self._now_ms)
        assert value is not None, row.name
        if row.name.startswith("count_"):
            value += self._random.gauss(0, math.sqrt(max(1.0, value)))
        elif row.name.startswith("pm"):
            value *= 1 + self._random.gauss(0, 0.05)
        elif row.name == "pressure":
            value += self._random.gauss(0, 1.5)
        else:
            value += self._random.gauss(0, 0.02)
        return max(0, round(value / 10 ** (row.exponent if exponent is None else exponent)))


def street_sensors(seed: int = 1) -> list[tuple[StreetSensor, int]]:
    """PMS5003, BME280, SHT4x and a sound level meter at one lamp post."""
    place = PlaceStimulus(World(seed), Place(), ORIGIN_UNIX_MS)
    kinds = ((PLANTOWER, 0), (BOSCH, 0), (SENSIRION, 1), (METER, 0))
    return [
        (StreetSensor(channels, place, seed * 100 + number), instance)
        for number, (channels, instance) in enumerate(kinds)
    ]
