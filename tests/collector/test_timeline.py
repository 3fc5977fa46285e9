"""The timeline: true times stay within the stated bound, and nobody can move them."""

import random
from functools import partial
from pathlib import Path

import pytest

from collector.archive.archive import open_archive
from collector.archive.parcels import commit_now
from collector.storage.indexing import observe_clocks
from collector.timeline import knots
from collector.timeline import timeline as timelines
from collector.timeline.timeline import Timeline
from collector.timeline.timeline_fit import (
    GPS,
    LIVE,
    TIME,
    Fit,
    Knot,
    _agreeing,
    _fitting_together,
    _propagated,
    drift_ms,
    fit,
)
from protocol import wire
from protocol.compose import clock_section, compose
from protocol.outline import outline
from protocol.sections import ClockSet
from tests.collector.core import BOOT, NODE, START_MS, Bench, Board

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Drifting:
    """A board's clock: true Unix time at an uptime, with a drift that may change by the day."""

    def __init__(self, ppm: float, seed: int = 0) -> None:
        randomness = random.Random(seed)
        self.drifts = [ppm * (1 if seed == 0 else randomness.uniform(-1, 1)) for _ in range(400)]

    def unix_ms(self, uptime_ms: int) -> int:
        true_ms = 0.0
        day = 0
        while uptime_ms > DAY_MS:
            true_ms += DAY_MS * (1 + self.drifts[day] / 1e6)
            uptime_ms -= DAY_MS
            day += 1
        true_ms += uptime_ms * (1 + self.drifts[day] / 1e6)
        return START_MS + round(true_ms)


def listen(
    timeline: Timeline,
    clock: Drifting,
    first_ms: int,
    last_ms: int,
    delay_ms: random.Random,
    slow_ms: float,
    step_ms: int = 60_000,
) -> None:
    for uptime_ms in range(first_ms, last_ms, step_ms):
        late_ms = min(9_000, int(30 + delay_ms.expovariate(1 / slow_ms)))
        timeline.observe_live(NODE, BOOT, uptime_ms, clock.unix_ms(uptime_ms) + late_ms)


def assert_within(timeline: Timeline, clock: Drifting, uptimes: range) -> int:
    worst_ms = 0
    for uptime_ms in uptimes:
        stamp = timeline.time_of(NODE, BOOT, uptime_ms)
        assert stamp is not None
        off_ms = abs(stamp.unix_ms - clock.unix_ms(uptime_ms))
        assert off_ms <= stamp.error_ms, (uptime_ms, off_ms, stamp)
        worst_ms = max(worst_ms, off_ms)
    return worst_ms


@pytest.mark.parametrize("ppm", [40, -40])
@pytest.mark.parametrize("slow_ms", [50, 1_500])
def test_weeks_off_line_stay_within_the_stated_bound(ppm: float, slow_ms: float) -> None:
    """Two hours on line, 14 days away, then back: the backlog lies between two knots."""
    clock = Drifting(ppm)
    timeline = Timeline()
    delay = random.Random(ppm)
    listen(timeline, clock, 60_000, 2 * HOUR_MS, delay, slow_ms)
    away = range(2 * HOUR_MS, 14 * DAY_MS, HOUR_MS)
    assert_within(timeline, clock, away)
    listen(timeline, clock, 14 * DAY_MS, 14 * DAY_MS + 2 * HOUR_MS, delay, slow_ms)
    assert assert_within(timeline, clock, away) < 2_000


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_slow_network_and_a_wandering_crystal(seed: int) -> None:
    clock = Drifting(45, seed)
    timeline = Timeline()
    delay = random.Random(seed)
    listen(timeline, clock, 60_000, 9 * DAY_MS, delay, 800)
    worst_ms = assert_within(timeline, clock, range(60_000, 9 * DAY_MS, 7 * HOUR_MS // 3))
    assert worst_ms < 1_000


def test_a_network_that_is_always_slow_is_known_by_the_boards_round_trip() -> None:
    """Every LIVE comes 1.4 s late, so none tells; TIME took the board 2.8 s there and back."""
    clock = Drifting(0)
    timeline = Timeline()
    for uptime_ms in range(60_000, HOUR_MS, 60_000):
        timeline.observe_live(NODE, BOOT, uptime_ms, clock.unix_ms(uptime_ms) + 1_400)
    timeline.observe_clock(NODE, BOOT, Knot(90_000, clock.unix_ms(0), 2_800, TIME), None)
    assert_within(timeline, clock, range(0, 3 * HOUR_MS, 60_000))


def test_late_live_that_hardly_scatters_is_not_believed_against_a_round_trip() -> None:
    """Eight LIVE in an hour, none less than 2 s late: their scatter says 1.9 s at most."""
    clock = Drifting(0)
    timeline = Timeline()
    timeline.observe_clock(NODE, BOOT, Knot(60_000, clock.unix_ms(0) + 31, 1_784, TIME), None)
    late_ms = (3_186, 2_204, 2_308, 3_186, 2_742, 2_080, 2_472, 2_300)
    for count, late in enumerate(late_ms):
        uptime_ms = 600_000 + 60_000 * count
        timeline.observe_live(NODE, BOOT, uptime_ms, clock.unix_ms(uptime_ms) + late)
    assert_within(timeline, clock, range(0, HOUR_MS, 60_000))


def test_late_live_that_hardly_scatters_is_not_believed_against_gps() -> None:
    """Nine LIVE, none less than 3 s late: their scatter says 2.4 s at most, GPS knows better."""
    clock = Drifting(0)
    timeline = Timeline()
    timeline.observe_clock(NODE, BOOT, Knot(300_250, clock.unix_ms(0) - 303, 1_000, GPS), None)
    late_ms = (4_145, 4_403, 3_561, 4_212, 4_022, 3_293, 3_214, 3_050, 4_051)
    for count, late in enumerate(late_ms):
        uptime_ms = 600_000 + 60_000 * count
        timeline.observe_live(NODE, BOOT, uptime_ms, clock.unix_ms(uptime_ms) + late)
    assert_within(timeline, clock, range(0, HOUR_MS, 60_000))


def test_a_sleeping_board_drifts_by_percents() -> None:
    clock = Drifting(15_000)
    timeline = Timeline()
    listen(timeline, clock, 60_000, 2 * DAY_MS, random.Random(1), 100, step_ms=900_000)
    assert_within(timeline, clock, range(60_000, 2 * DAY_MS, HOUR_MS))


def test_a_single_live_dates_a_boot_with_an_honest_bound() -> None:
    timeline = Timeline()
    timeline.observe_live(NODE, BOOT, 60_000, START_MS + 60_000 + 8_000)
    stamp = timeline.time_of(NODE, BOOT, 60_000)
    assert stamp is not None
    assert stamp.error_ms >= 8_000
    assert stamp.source == "live"


def test_late_live_and_replays_do_not_move_the_mapping() -> None:
    clock = Drifting(20)
    timeline = Timeline()
    listen(timeline, clock, 60_000, 5 * HOUR_MS, random.Random(1), 100)
    before = [timeline.time_of(NODE, BOOT, u) for u in range(0, 5 * HOUR_MS, 600_000)]
    for hours_late in (1, 5, 24, 24 * 30):
        late_ms = clock.unix_ms(4 * HOUR_MS) + hours_late * HOUR_MS
        timeline.observe_live(NODE, BOOT, 4 * HOUR_MS + 1, late_ms)
    after = [timeline.time_of(NODE, BOOT, u) for u in range(0, 5 * HOUR_MS, 600_000)]
    assert [s and s.unix_ms for s in before] == [s and s.unix_ms for s in after]


def test_an_hour_of_a_wrong_collector_clock_is_outvoted() -> None:
    clock = Drifting(10)
    timeline = Timeline()
    for uptime_ms in range(60_000, 30 * HOUR_MS, 60_000):
        wrong_ms = -2 * HOUR_MS if 10 * HOUR_MS <= uptime_ms < 11 * HOUR_MS else 0
        timeline.observe_live(NODE, BOOT, uptime_ms, clock.unix_ms(uptime_ms) + 40 + wrong_ms)
    assert_within(timeline, clock, range(60_000, 30 * HOUR_MS, 600_000))


def clock_knot(uptime_ms: int, unix_ms: int, error_ms: int = 80, source: int = TIME) -> Knot:
    return Knot(uptime_ms, unix_ms - uptime_ms, error_ms, source)


def test_a_boards_own_clock_sharpens_the_time() -> None:
    clock = Drifting(30)
    timeline = Timeline()
    listen(timeline, clock, 60_000, 3 * HOUR_MS, random.Random(2), 2_000)
    coarse = timeline.time_of(NODE, BOOT, HOUR_MS)
    true_ms = clock.unix_ms(HOUR_MS)
    timeline.observe_clock(NODE, BOOT, clock_knot(HOUR_MS, true_ms), true_ms + 500)
    fine = timeline.time_of(NODE, BOOT, HOUR_MS)
    assert coarse is not None
    assert fine is not None
    assert fine.error_ms <= 80 < coarse.error_ms
    assert fine.source == "time"
    assert_within(timeline, clock, range(60_000, 3 * HOUR_MS, 600_000))


@pytest.mark.parametrize("wrong_ms", [-3 * HOUR_MS, -60_000, 30_000])
def test_a_wrong_clock_section_gives_way_to_live(wrong_ms: int) -> None:
    clock = Drifting(0)
    timeline = Timeline()
    listen(timeline, clock, 60_000, 3 * HOUR_MS, random.Random(3), 50)
    before = timeline.time_of(NODE, BOOT, HOUR_MS)
    said = clock_knot(HOUR_MS, clock.unix_ms(HOUR_MS) + wrong_ms)
    timeline.observe_clock(NODE, BOOT, said, clock.unix_ms(3 * HOUR_MS))
    assert timeline.time_of(NODE, BOOT, HOUR_MS) == before


def test_an_impossible_clock_section_is_refused() -> None:
    timeline = Timeline()
    timeline.observe_clock(NODE, BOOT, clock_knot(1_000, START_MS + DAY_MS), START_MS)
    timeline.observe_clock(NODE, BOOT, clock_knot(1_000, 5_000), START_MS)
    assert timeline.refused == 2
    assert timeline.time_of(NODE, BOOT, 1_000) is None


def test_clock_sections_alone_date_a_boot_and_the_newest_wins() -> None:
    truth = START_MS
    knots = [
        clock_knot(HOUR_MS, truth - 5 * HOUR_MS),
        clock_knot(2 * HOUR_MS, truth + 2 * HOUR_MS, source=GPS),
        clock_knot(8 * HOUR_MS, truth + 8 * HOUR_MS),
    ]
    bound = fit(knots).at(5 * HOUR_MS)
    assert bound is not None
    assert abs(bound.offset_ms - truth) <= bound.error_ms < 1_000


def test_uptime_is_found_from_time() -> None:
    clock = Drifting(40)
    timeline = Timeline()
    listen(timeline, clock, 60_000, 3 * DAY_MS, random.Random(1), 100)
    for uptime_ms in range(HOUR_MS, 3 * DAY_MS, 5 * HOUR_MS):
        stamp = timeline.time_of(NODE, BOOT, uptime_ms)
        assert stamp is not None
        found = timeline.uptime_at(NODE, BOOT, stamp.unix_ms)
        assert found is not None
        assert abs(found - uptime_ms) <= 2


def test_an_undated_boot_is_bounded_by_its_neighbours() -> None:
    timeline = Timeline()
    timeline.observe_live(NODE, BOOT, 60_000, START_MS)
    timeline.observe_live(NODE, BOOT + 2, 60_000, START_MS + DAY_MS)
    assert timeline.time_of(NODE, BOOT + 1, 5) is None
    earliest, latest = timeline.bounds_of(NODE, BOOT + 1, (BOOT, HOUR_MS), BOOT + 2)
    assert earliest is not None
    assert latest is not None
    assert START_MS < earliest < latest < START_MS + DAY_MS + 20_000


async def test_a_year_of_knots_is_read_from_the_archive(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    clock = Drifting(35)
    timeline = bench.storage.timeline
    for day in range(40):
        listen(
            timeline, clock, day * DAY_MS + 60_000, (day + 1) * DAY_MS, random.Random(day), 80,
            step_ms=600_000,
        )  # fmt: skip
        await bench.storage.snapshot()
    boot = bench.storage.ledger.boot(NODE, BOOT, START_MS)
    boot.anchor_ms, boot.dirty = timeline.anchor_ms(NODE, BOOT), True
    memory = sum(len(known.knots) for known in timeline._boots.values())
    assert memory < 100
    after = await bench.again([board])
    assert_within(after.storage.timeline, clock, range(60_000, 40 * DAY_MS, 17 * HOUR_MS))


async def test_a_backlog_does_not_move_the_mapping(tmp_path: Path) -> None:
    """Frames that arrive weeks late carry no time of their own: only LIVE and CLOCK do."""
    board = Board()
    bench = Bench(tmp_path, [board])
    bench.receive(board.live(60_000, [(BOOT, 1, 500)]))
    before = bench.storage.timeline.time_of(NODE, BOOT, 60_000)
    bench.clock.pass_ms(14 * DAY_MS)
    await bench.take(*(board.data(seq) for seq in range(1, 501)))
    assert bench.storage.timeline.time_of(NODE, BOOT, 60_000) == before


async def test_clock_sections_of_stored_frames_date_them(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    now_ms = bench.clock.unix_ms()
    clock = clock_section(ClockSet(60_000, now_ms, 120, wire.CLOCK_GPS))
    await bench.take(board.data(1, extra=[clock]))
    stamp = bench.storage.timeline.time_of(NODE, BOOT, 60_000)
    assert stamp == (now_ms, 120, "gps")
    after = await bench.again([board], clean=False)
    assert after.storage.timeline.time_of(NODE, BOOT, 60_000) == stamp


def test_the_fit_of_no_knots_has_no_time() -> None:
    assert fit([]).at(5) is None
    assert fit([Knot(0, START_MS, 100, LIVE)]).at(0) is not None


def test_propagated_values_are_the_smallest_of_all_pairs() -> None:
    chance = random.Random(4)
    for _ in range(300):
        points = sorted(
            (chance.randrange(2_000_000), chance.randrange(-200, 200))
            for _ in range(chance.randint(1, 12))
        )
        ppm = chance.choice((50, 20_000))
        assert _propagated([at for at, _ in points], [value for _, value in points], ppm) == [
            min(value + drift_ms(abs(uptime - at), ppm) for at, value in points)
            for uptime, _ in points
        ]
    assert _propagated([], [], 50) == []


def test_agreeing_clocks_are_those_that_agree_with_every_live() -> None:
    chance = random.Random(5)

    def knot(source: int) -> Knot:
        return Knot(
            chance.randrange(9_000_000), chance.randrange(300), chance.randrange(200), source
        )

    for _ in range(300):
        live = sorted(knot(LIVE) for _ in range(chance.randint(0, 6)))
        clocks = sorted(knot(TIME) for _ in range(6))
        wanted = [clock for clock in clocks if _agrees(clock, live, 50)]
        assert _agreeing(clocks, live, 50) == wanted


def _agrees(knot: Knot, others: list[Knot], ppm: int) -> bool:
    """The rule in the plain way, pair by pair."""
    for other in others:
        slack_ms = drift_ms(abs(other.uptime_ms - knot.uptime_ms), ppm)
        if knot.low_ms > other.high_ms + slack_ms or knot.high_ms < other.low_ms - slack_ms:
            return False
    return True


@pytest.mark.parametrize("seed", range(100))
def test_clocks_that_fit_together_are_those_that_agree_pair_by_pair(seed: int) -> None:
    chance = random.Random(seed)
    spread, span, error = (10 ** chance.randrange(1, 9) for _ in range(3))
    clocks = sorted(
        Knot(
            chance.randrange(span), chance.randrange(-spread, spread), chance.randrange(error), TIME
        )
        for _ in range(40)
    )
    for ppm in (50, 20_000):
        kept: list[Knot] = []
        for knot in reversed(clocks):
            if _agrees(knot, kept, ppm):
                kept.append(knot)
        assert _fitting_together(clocks, ppm) == kept


def test_a_clock_that_says_the_same_again_costs_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []

    def counted(knots: list[Knot], within_ms: tuple[int, int]) -> Fit:
        fits.append(len(knots))
        return fit(knots, within_ms=within_ms)

    monkeypatch.setattr(timelines, "fit", counted)
    timeline = Timeline()
    for minute in range(0, 600, 10):
        uptime_ms = minute * 60_000
        timeline.observe_live(NODE, BOOT, uptime_ms, START_MS + uptime_ms + 30)
        knot = Knot(uptime_ms, START_MS, 90, TIME)
        timeline.observe_clock(NODE, BOOT, knot, START_MS + uptime_ms + 30)
    assert len(fits) <= 2 * 11
    assert_within(timeline, Drifting(0), range(0, 36_000_000, 600_000))


@pytest.mark.parametrize("seed", range(20))
def test_a_part_of_a_fit_says_what_the_whole_says(seed: int) -> None:
    randomness = random.Random(seed)
    knots = [
        Knot(
            randomness.randrange(20) * HOUR_MS,
            START_MS + randomness.randrange(-9, 9),
            randomness.choice((10, 500, 10_000)),
            randomness.choice((LIVE, TIME, GPS)),
        )
        for _ in range(randomness.randrange(1, 30))
    ]
    part, whole = fit(knots, within_ms=(5 * HOUR_MS, 12 * HOUR_MS)), fit(knots)
    assert len(part.uptimes_ms) <= len(whole.uptimes_ms)
    for uptime_ms in range(5 * HOUR_MS, 12 * HOUR_MS, HOUR_MS // 3):
        assert part.at(uptime_ms) == whole.at(uptime_ms)


@pytest.mark.parametrize("seed", range(4))
def test_a_timeline_that_remembers_says_what_one_that_has_forgotten_reads(
    seed: int, tmp_path: Path
) -> None:
    randomness = random.Random(seed)
    connection = open_archive(tmp_path / "archive.db")
    asked: list[int] = []

    def load(*where: int) -> list[Knot]:
        asked.append(where[2])
        return knots.load(connection, *where)

    running = Timeline(lambda node, boot: None, load)
    clock = Drifting(30, seed)
    for hour in range(24 * 12):
        uptime_ms = hour * HOUR_MS + randomness.randrange(HOUR_MS)
        silent = randomness.random() < 0.3 or 100 < hour < 100 + 60 * (seed % 3)
        if not silent:
            true_ms = clock.unix_ms(uptime_ms)
            running.observe_live(NODE, BOOT, uptime_ms, true_ms + randomness.randrange(20, 2_000))
            knot = Knot(uptime_ms, true_ms - uptime_ms, 60, TIME)
            running.observe_clock(NODE, BOOT, knot, true_ms)
        commit_now(connection, [running.take(closed_only=False)])
        if hour % 24 == 23:
            forgetful = Timeline(running.anchor_ms, partial(knots.load, connection))
            for _ in range(20):
                when_ms = randomness.randrange((hour + 30) * HOUR_MS)
                expected = forgetful.time_of(NODE, BOOT, when_ms)
                assert running.time_of(NODE, BOOT, when_ms) == expected
    asked.clear()
    running.observe_live(NODE, BOOT, 290 * HOUR_MS, START_MS + 290 * HOUR_MS)
    assert running.time_of(NODE, BOOT, 290 * HOUR_MS) is not None
    assert len(asked) <= 1


def test_no_clock_is_believed_of_a_frame_that_must_stay_undecoded() -> None:
    clock = clock_section(ClockSet(60_000, START_MS, 120, wire.CLOCK_GPS))
    damaged = (wire.S_SAMPLES, bytes(9))
    foreign = (0xBF, b"of a later version")
    for sections, dated in (([clock, damaged], False), ([clock, foreign], False), ([clock], True)):
        raw = compose(wire.T_DATA, NODE, BOOT, 1, sections, bytes(32))
        timeline = Timeline()
        seen = outline(raw[wire.HEADER : -wire.TAG_BYTES])
        observe_clocks(timeline, NODE, BOOT, seen.clocks, START_MS)
        assert (timeline.time_of(NODE, BOOT, 60_000) is not None) is dated
