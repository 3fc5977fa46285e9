"""A city with weather, traffic, dust, gases and sound: the truth that simulated sensors measure.

Everything is a function of seed, place and time, so any moment can be asked for in any order, and
the truth can be asked again afterwards. The parts hang together: warm days are dry, calm cold
nights trap what the traffic leaves, rain washes dust out, fog makes optical counters read high.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000

_MASK = (1 << 64) - 1


@lru_cache(maxsize=4096)
def hashed(seed: int, channel: int, number: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments (splitmix64)."""
    x = (seed * 0x9E3779B97F4A7C15 + channel * 0xBF58476D1CE4E5B9 + number) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return (x ^ (x >> 31)) / (1 << 64)


def smooth(seed: int, channel: int, time_ms: int, period_ms: int) -> float:
    """Noise in [-1, 1] that wanders once in a period."""
    index, rest = divmod(time_ms, period_ms)
    fraction = rest / period_ms
    weight = fraction * fraction * (3 - 2 * fraction)
    first = hashed(seed, channel, index)
    second = hashed(seed, channel, index + 1)
    return 2 * (first + (second - first) * weight) - 1


def bump(value: float, centre: float, width: float) -> float:
    """A bell of height 1."""
    return math.exp(-(((value - centre) / width) ** 2))


def saturation_pa(temperature: float) -> float:
    """Saturation vapour pressure over water, Pa (Magnus, WMO-No. 8)."""
    return 611.2 * math.exp(17.62 * temperature / (243.12 + temperature))


def hygroscopic_growth(humidity: float) -> float:
    """How much more an optical counter sees when particles have drunk (kappa 0.3, below 98 %)."""
    water = min(max(humidity, 0.0), 98.0) / 100
    return 1 + 0.3 * water / (1.05 - water) / 2.2


@dataclass(frozen=True)
class Route:
    """A way through the city that a mobile node goes back and forth; degrees and m/s."""

    points: tuple[tuple[float, float], ...]
    speed_m_s: float = 4.0

    def at(self, time_ms: int) -> tuple[float, float]:
        """Latitude and longitude after so much time."""
        lengths = [_metres(a, b) for a, b in zip(self.points, self.points[1:], strict=False)]
        total = sum(lengths)
        if total == 0:
            return self.points[0]
        way = time_ms / 1000 * self.speed_m_s % (2 * total)
        way = min(way, 2 * total - way)
        for (start, end), length in zip(
            zip(self.points, self.points[1:], strict=False), lengths, strict=True
        ):
            if way <= length:
                part = way / length if length else 0.0
                return (
                    start[0] + (end[0] - start[0]) * part,
                    start[1] + (end[1] - start[1]) * part,
                )
            way -= length
        return self.points[-1]


def _metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    mean = math.radians((a[0] + b[0]) / 2)
    north = (b[0] - a[0]) * 111_320
    east = (b[1] - a[1]) * 111_320 * math.cos(mean)
    return math.hypot(north, east)


@dataclass(frozen=True)
class Place:
    """Where a node stands, how far from the main street; or the route that it goes."""

    latitude: float = 52.0
    longitude: float = 5.0
    altitude_m: float = 20.0
    street_m: float = 10.0
    school: bool = False
    route: Route | None = None

    @property
    def exposure(self) -> float:
        """Share of the street's traffic that is felt here, 0..1."""
        return 1 / (1 + self.street_m / 30)


@dataclass(frozen=True)
class Event:
    """Something that happens: fireworks, rain, fog, siren, roadworks; strength 1 is usual."""

    kind: str
    start_ms: int
    end_ms: int
    strength: float = 1.0

    def at(self, time_ms: int) -> float:
        """How strong it is now, 0 before and after."""
        if not self.start_ms <= time_ms < self.end_ms:
            return 0.0
        ramp_ms = min(10 * MINUTE_MS, (self.end_ms - self.start_ms) / 4)
        edge_ms = min(time_ms - self.start_ms, self.end_ms - time_ms)
        return self.strength * min(1.0, edge_ms / ramp_ms) if ramp_ms else self.strength


class World:
    """The city. Times are Unix ms; the day begins at midnight UTC."""

    def __init__(self, seed: int = 1, events: tuple[Event, ...] = ()) -> None:
        self.seed = seed
        self.events = events
        self._of_kind: dict[str, list[Event]] = {}
        for event in events:
            self._of_kind.setdefault(event.kind, []).append(event)

    def strength(self, kind: str, time_ms: int) -> float:
        """How strong the events of a kind are now."""
        events = self._of_kind.get(kind)
        return sum([event.at(time_ms) for event in events]) if events else 0.0

    def traffic(self, time_ms: int) -> float:
        """Vehicles on the main street, 1 being a busy hour."""
        hour = time_ms % DAY_MS / HOUR_MS
        weekday = (time_ms // DAY_MS + 3) % 7
        if weekday >= 5:
            flow = 0.08 + 0.55 * bump(hour, 14, 4.5)
        else:
            flow = 0.08 + 0.9 * bump(hour, 8.2, 1.3) + 0.85 * bump(hour, 17.3, 1.8)
            flow += 0.4 * bump(hour, 12.8, 3.0)
        return max(0.02, flow * (1 + 0.15 * smooth(self.seed, 1, time_ms, 7 * MINUTE_MS)))

    def temperature(self, time_ms: int) -> float:
        """Air temperature, degC."""
        hour = time_ms % DAY_MS / HOUR_MS
        season = math.cos((time_ms / DAY_MS - 196) / 365.25 * 2 * math.pi)
        daily = (3.5 + 2.5 * season) * math.sin((hour - 9) / 24 * 2 * math.pi)
        weather = 4 * smooth(self.seed, 2, time_ms, 2 * DAY_MS)
        return 10 + 7.5 * season + daily + weather - 2.5 * self.strength("rain", time_ms)

    def humidity(self, time_ms: int) -> float:
        """Relative humidity, %: the vapour of the night before in the air of now."""
        dew = self.temperature(time_ms - time_ms % DAY_MS + 4 * HOUR_MS) - 1.0
        dew += 1.5 * smooth(self.seed, 3, time_ms, 6 * HOUR_MS)
        relative = 100 * saturation_pa(dew) / saturation_pa(self.temperature(time_ms))
        relative += 25 * self.strength("rain", time_ms) + 40 * self.strength("fog", time_ms)
        return min(100.0, max(8.0, relative))

    def pressure(self, time_ms: int, altitude_m: float = 0.0) -> float:
        """Air pressure, Pa."""
        weather = 1800 * smooth(self.seed, 4, time_ms, 3 * DAY_MS)
        weather += 150 * smooth(self.seed, 5, time_ms, 5 * HOUR_MS)
        return (101_325 + weather) * math.exp(-altitude_m / 8_430)

    def stagnation(self, time_ms: int) -> float:
        """How much longer than on a windy day the air stays, 1..5."""
        hour = time_ms % DAY_MS / HOUR_MS
        night = bump((hour + 12) % 24, 16.5, 4.5)
        calm = 0.5 + 0.5 * smooth(self.seed, 6, time_ms, 18 * HOUR_MS)
        return 1 + 4 * night * calm * calm + 2 * self.strength("inversion", time_ms)

    def wet_deposition(self, time_ms: int) -> float:
        """Share of the dust that rain has left."""
        return 1 / (1 + 1.8 * self.strength("rain", time_ms))

    def fine_dust(
        self, time_ms: int, traffic: float, stay: float, fireworks: float
    ) -> tuple[float, float, float]:
        """True (dry) PM1, PM2.5 and PM10, ug/m3, where so much of the traffic is felt."""
        regional = 6 + 4 * smooth(self.seed, 7, time_ms, 30 * HOUR_MS)
        local = 14 * traffic
        fireworks = 320 * fireworks
        dust = 25 * self.strength("roadworks", time_ms)
        washed = self.wet_deposition(time_ms)
        fine = max(0.3, (regional + local * 0.6 + fireworks) * stay * washed)
        coarse = max(0.2, (2 + local * 0.9 + fireworks * 0.35 + dust) * washed)
        return 0.72 * fine, fine, fine + coarse

    def level_db(self, time_ms: int, place: Place) -> float:
        """A-weighted sound level at the kerb, dB, second by second."""
        power = 10 ** (3.6 + 0.2 * smooth(self.seed, 8, time_ms, 40_000))
        traffic = self.traffic(time_ms)
        power += 10**6.6 * traffic * place.exposure
        passing = smooth(self.seed, 9, time_ms, 8_000)
        if passing > 0.3:
            power += 10 ** (6.2 + passing) * place.exposure * min(1.0, traffic * 2)
        hour = time_ms % DAY_MS / HOUR_MS
        weekday = (time_ms // DAY_MS + 3) % 7
        if place.school and weekday < 5:
            power += 10**7.4 * (bump(hour, 10.4, 0.15) + bump(hour, 12.5, 0.35))
        power += 10**9.0 * self.strength("siren", time_ms)
        bangs = self.strength("fireworks", time_ms)
        if bangs and hashed(self.seed, 10, time_ms // 1000) < 0.4:
            power += 10**9.4 * bangs
        return 10 * math.log10(power)

    def air(self, time_ms: int, place: Place) -> dict[str, float]:
        """Everything at once, under the registry's names."""
        temperature = self.temperature(time_ms)
        humidity = self.humidity(time_ms)
        stay = self.stagnation(time_ms)
        traffic = self.traffic(time_ms) * place.exposure
        fireworks = self.strength("fireworks", time_ms)
        pm1, pm2_5, pm10 = self.fine_dust(time_ms, traffic, stay, fireworks)
        latitude, longitude = (
            place.route.at(time_ms) if place.route else (place.latitude, place.longitude)
        )
        return {
            "temperature": temperature,
            "humidity": humidity,
            "pressure": self.pressure(time_ms, place.altitude_m),
            "pm1": pm1,
            "pm2_5": pm2_5,
            "pm4": pm2_5 + 0.45 * (pm10 - pm2_5),
            "pm10": pm10,
            "co2": 418 + 22 * stay + 45 * traffic * stay,
            "voc_index": min(500.0, 90 + 60 * traffic * stay + 300 * fireworks),
            "nox_index": min(500.0, 1 + 30 * traffic * stay + 150 * fireworks),
            "voc_raw": 30_000 - 900 * traffic * stay,
            "nox_raw": 16_000 + 500 * traffic * stay,
            "laeq": self.level_db(time_ms, place),
            "unix_ms": float(time_ms),
            "latitude": latitude,
            "longitude": longitude,
            "altitude": place.altitude_m,
        }


OPTICAL = frozenset(("pm1", "pm2_5", "pm4", "pm10"))

COUNTS = {
    "count_0_3": 210.0,
    "count_0_5": 62.0,
    "count_1": 11.0,
    "count_2_5": 1.4,
    "count_5": 0.45,
    "count_10": 0.2,
}
"""Particles per 0.1 litre above a size, for each ug/m3 of PM2.5 (Plantower's channels)."""


class PlaceStimulus:
    """What the sensors at one place find; now_ms counts from origin_unix_ms.

    optical: particle counters see swollen particles; the truth stays with World.air().
    """

    def __init__(
        self, world: World, place: Place, origin_unix_ms: int, optical: bool = True
    ) -> None:
        self.world = world
        self.place = place
        self.origin_unix_ms = origin_unix_ms
        self._optical = optical
        self._at_ms = -1
        self._air: dict[str, float] = {}

    def value(self, quantity_name: str, now_ms: int) -> float | None:
        """The value that a perfect sensor of this kind would find now; None for no such thing."""
        if now_ms != self._at_ms:
            self._at_ms = now_ms
            self._air = self.world.air(self.origin_unix_ms + now_ms, self.place)
            if self._optical:
                growth = hygroscopic_growth(self._air["humidity"])
                for name in OPTICAL:
                    self._air[name] *= growth
        found = self._air.get(quantity_name)
        if found is not None:
            return found
        if quantity_name in COUNTS:
            return COUNTS[quantity_name] * self._air["pm2_5"]
        if quantity_name.endswith("_cf1"):
            return self._air.get(quantity_name.removesuffix("_cf1"))
        if quantity_name.startswith("number_"):
            return 7.0 * self._air["pm2_5"]
        return None
