"""The simulated city: seeded, physically coupled, and what sensors add is kept apart from it."""

import math
from itertools import pairwise

import pytest

from simulator.world import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Event,
    Place,
    PlaceStimulus,
    Route,
    World,
    hygroscopic_growth,
)

MONDAY_MS = 1_770_595_200_000 - 1_770_595_200_000 % DAY_MS
KERB = Place(street_m=5)
PARK = Place(street_m=400)


def mean(world: World, name: str, place: Place, first_ms: int, hours: float) -> float:
    times = range(first_ms, first_ms + round(hours * HOUR_MS), MINUTE_MS)
    return sum(world.air(at, place)[name] for at in times) / len(times)


def energy_mean(world: World, place: Place, first_ms: int, last_ms: int) -> float:
    levels = [world.level_db(at, place) for at in range(first_ms, last_ms, 1000)]
    return 10 * math.log10(sum(10 ** (level / 10) for level in levels) / len(levels))


def around_noon(kind: str, strength: float = 1.0) -> Event:
    return Event(kind, MONDAY_MS + 11 * HOUR_MS, MONDAY_MS + 13 * HOUR_MS, strength)


def test_it_is_a_monday() -> None:
    assert (MONDAY_MS // DAY_MS + 3) % 7 == 0


def test_the_same_seed_gives_the_same_city() -> None:
    at = MONDAY_MS + 9 * HOUR_MS
    assert World(4).air(at, KERB) == World(4).air(at, KERB)
    assert World(4).air(at, KERB) != World(5).air(at, KERB)


@pytest.mark.parametrize("seed", range(5))
def test_the_rush_hour_is_heard_and_breathed_at_the_kerb_more_than_in_the_park(seed: int) -> None:
    world = World(seed)
    rush, night = MONDAY_MS + 8 * HOUR_MS, MONDAY_MS + 3 * HOUR_MS
    assert world.traffic(rush) > 5 * world.traffic(night)
    assert energy_mean(world, KERB, rush, rush + 600_000) > 5 + energy_mean(
        world, KERB, night, night + 600_000
    )
    assert mean(world, "pm10", KERB, rush, 0.5) > 1.2 * mean(world, "pm10", PARK, rush, 0.5)


def test_an_inversion_keeps_what_the_street_gives_off() -> None:
    still, windy = World(3, (around_noon("inversion"),)), World(3)
    noon = MONDAY_MS + 12 * HOUR_MS
    for name in ("pm2_5", "co2", "voc_index"):
        assert still.air(noon, KERB)[name] > windy.air(noon, KERB)[name], name
    assert still.air(noon, KERB)["temperature"] == windy.air(noon, KERB)["temperature"]


def test_rain_washes_cools_and_moistens() -> None:
    noon = MONDAY_MS + 12 * HOUR_MS
    wet, dry = World(3, (around_noon("rain"),)).air(noon, KERB), World(3).air(noon, KERB)
    assert wet["pm10"] < 0.6 * dry["pm10"]
    assert wet["temperature"] < dry["temperature"]
    assert wet["humidity"] > dry["humidity"]


def test_fog_is_dust_for_an_optical_sensor_only() -> None:
    noon = MONDAY_MS + 12 * HOUR_MS
    world = World(3, (around_noon("fog"),))
    true = world.air(noon, PARK)
    assert true["pm2_5"] == World(3).air(noon, PARK)["pm2_5"]
    seen = PlaceStimulus(world, PARK, MONDAY_MS).value("pm2_5", 12 * HOUR_MS)
    assert seen == pytest.approx(true["pm2_5"] * hygroscopic_growth(true["humidity"]))
    assert seen is not None
    assert seen > 1.5 * true["pm2_5"]
    kept = PlaceStimulus(world, PARK, MONDAY_MS, optical=False).value("pm2_5", 12 * HOUR_MS)
    assert kept == true["pm2_5"]


def test_fireworks_at_midnight_are_loud_and_dirty_and_over_in_the_morning() -> None:
    new_year_ms = MONDAY_MS + DAY_MS
    night = Event("fireworks", new_year_ms - 10 * MINUTE_MS, new_year_ms + 40 * MINUTE_MS)
    world, quiet = World(7, (night,)), World(7)
    then, morning = new_year_ms + 10 * MINUTE_MS, new_year_ms + 8 * HOUR_MS
    assert world.air(then, KERB)["pm2_5"] > 100 + quiet.air(then, KERB)["pm2_5"]
    loud = energy_mean(world, KERB, then, then + 60_000)
    assert 20 + energy_mean(quiet, KERB, then, then + 60_000) < loud < 120
    assert world.air(morning, KERB) == quiet.air(morning, KERB)


def test_a_school_yard_has_its_breaks_on_school_days_only() -> None:
    world = World(2)
    yard = Place(street_m=200, school=True)
    lessons, pause = 9 * HOUR_MS, 10 * HOUR_MS + 24 * MINUTE_MS
    sunday = MONDAY_MS + 6 * DAY_MS
    weekday = [
        energy_mean(world, yard, MONDAY_MS + at, MONDAY_MS + at + 60_000) for at in (lessons, pause)
    ]
    weekend = [
        energy_mean(world, yard, sunday + at, sunday + at + 60_000) for at in (lessons, pause)
    ]
    assert weekday[1] > weekday[0] + 10
    assert abs(weekend[1] - weekend[0]) < 6


def test_a_siren_passes_and_is_gone() -> None:
    start = MONDAY_MS + 12 * HOUR_MS
    world = World(2, (Event("siren", start, start + 40_000),))
    assert world.level_db(start + 20_000, KERB) > 85
    assert world.level_db(start + 41_000, KERB) == World(2).level_db(start + 41_000, KERB)
    assert world.level_db(start - 1, KERB) == World(2).level_db(start - 1, KERB)


def test_a_cargo_bike_goes_its_route_back_and_forth_at_its_speed() -> None:
    route = Route(((52.0, 5.0), (52.009, 5.0), (52.009, 5.0146)), speed_m_s=4.0)
    assert route.at(0) == (52.0, 5.0)
    latitude, longitude = route.at(100_000)
    assert (latitude - 52.0) * 111_320 == pytest.approx(400, rel=0.01)
    assert longitude == 5.0
    world = World(1)
    bike = Place(route=route)
    places = [
        (a["latitude"], a["longitude"]) for a in (world.air(t * 1000, bike) for t in range(1500))
    ]
    steps = [
        math.hypot((b[0] - a[0]) * 111_320, (b[1] - a[1]) * 111_320 * math.cos(math.radians(52)))
        for a, b in pairwise(places)
    ]
    assert max(steps) <= 4.05
    assert len({round(place[1], 3) for place in places}) > 10


@pytest.mark.parametrize("seed", range(3))
def test_a_year_stays_within_what_air_can_be(seed: int) -> None:
    world = World(seed)
    for hour in range(0, 365 * 24, 7):
        air = world.air(MONDAY_MS + hour * HOUR_MS, KERB)
        assert -30 < air["temperature"] < 45
        assert 5 <= air["humidity"] <= 100
        assert 95_000 < air["pressure"] < 107_000
        assert 0 < air["pm1"] <= air["pm2_5"] <= air["pm4"] <= air["pm10"]
        assert 30 < air["laeq"] < 100
