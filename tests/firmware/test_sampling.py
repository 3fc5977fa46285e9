"""Sampling: instants, leads, late and silent sensors, drivers that raise."""

from typing import Any

from firmware.sampling import Grid, Sampler
from protocol import wire
from protocol.builder import FrameBuilder
from protocol.decoder import decode
from protocol.samples import Batch
from tests.firmware.boards import Ramp


def play(sampler: Sampler, until_ms: int, at: int = 0) -> int:
    """Step a sampler through virtual time; the time it ended."""
    while at < until_ms:
        at += max(1, sampler.step(at))
    return at


def rows_of(batch: Batch) -> Any:
    builder = FrameBuilder(1024, None)
    builder.begin(wire.T_DATA, 1, 1, 1)
    batch.encode(builder)
    (samples,) = decode(bytes(builder.buf[: builder.finish()])).samples
    return samples


def make(sensors: list[Any], interval_ms: int = 10_000, rows: int = 20) -> Sampler:
    sampler = Sampler([(sensor, 0) for sensor in sensors], Grid(interval_ms), interval_ms, rows)
    sampler.start(0)
    return sampler


def test_samples_have_the_scheduled_time_whenever_the_sensor_answers() -> None:
    sampler = make([Ramp(answers_after_ms=700)])
    sampler.slots[0].answer_ms = 2_000
    play(sampler, 45_000)
    samples = rows_of(sampler.batch)
    assert samples.times_ms == (10_000, 20_000, 30_000, 40_000)
    assert samples.columns[0].values == [2001, 2002, 2003, 2004]
    assert samples.columns[0].qualities is None


def test_a_sensor_with_a_lead_is_begun_before_the_instant() -> None:
    begun = []

    class Slow(Ramp):
        LEAD_MS = 3_000

        def begin(self, now_ms: int) -> None:
            begun.append(now_ms)
            super().begin(now_ms)

    sampler = make([Slow(answers_after_ms=2_900)])
    play(sampler, 35_000)
    assert begun == [7_000, 17_000, 27_000]
    assert rows_of(sampler.batch).times_ms == (10_000, 20_000, 30_000)


def test_a_silent_sensor_is_missing_and_the_others_are_there() -> None:
    silent = Ramp()
    silent.silent = True
    silent.CHANNELS = ((1, None), (2, None))
    sampler = make([silent, Ramp()])
    play(sampler, 35_000)
    first, second, third, _ = rows_of(sampler.batch).columns
    assert first.qualities == second.qualities == [wire.Q_MISSING] * 3
    assert third.values == [2001, 2002, 2003]


def test_a_driver_that_raises_holds_nobody_up() -> None:
    class Broken(Ramp):
        CHANNELS = ((1, None), (2, None))

        def poll(self, now_ms: int) -> int:
            raise ZeroDivisionError

    sampler = make([Broken(), Ramp()])
    play(sampler, 35_000)
    assert sampler.rows == 3
    assert sampler.slots[0].faults > 0
    assert rows_of(sampler.batch).columns[2].values == [2001, 2002, 2003]


def test_a_loop_that_stood_still_counts_what_it_missed() -> None:
    sampler = make([Ramp()])
    play(sampler, 25_000)
    play(sampler, 200_000, 170_000)
    assert sampler.missed > 5
    assert sampler.rows + sampler.missed >= 18


def test_a_short_stall_misses_nothing() -> None:
    sampler = make([Ramp()])
    at = play(sampler, 25_000)
    at = play(sampler, 75_000, at + 30_000)
    play(sampler, 95_000, at)
    assert sampler.missed == 0
    assert rows_of(sampler.batch).times_ms == tuple(range(10_000, 100_000, 10_000))


def test_irregular_instants_keep_their_times() -> None:
    class Recorded:
        instants = (1_234, 6_000, 11_111, 100_000)

        def next_ms(self, after_uptime_ms: int) -> int:
            return min((t for t in self.instants if t > after_uptime_ms), default=1 << 40)

    sampler = Sampler([(Ramp(), 0)], Recorded(), 5_000, 20)
    sampler.start(0)
    play(sampler, 101_000)
    assert rows_of(sampler.batch).times_ms == Recorded.instants
