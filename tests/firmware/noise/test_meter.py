"""The meter over time: levels, what counts, what is flagged."""

import random
from typing import Any, ClassVar

import numpy as np
import pytest

from firmware.noise.meter import Meter, from_board
from firmware.noise.stream import BUFFER_BYTES, Stream
from protocol.wire import (
    Q_ABOVE,
    Q_BELOW,
    Q_FAULT,
    Q_MISSING,
    Q_OK,
    Q_SUSPECT,
    Q_WARMING,
)
from simulator.devices.base import Steady
from simulator.devices.microphone import Ics43434, Inmp441, Microphone, SimulatedI2s
from simulator.devices.microphone_levels import LevelPort
from tests.firmware.noise import sounds
from tests.firmware.noise.bench import Bench, Period
from tests.firmware.noise.sounds import DEVICE, VmRun


class Loop:
    """A sound of whole seconds, over and over."""

    def __init__(self, sound: sounds.Floats) -> None:
        self.sound = sound

    def samples(self, first: int, count: int) -> sounds.Floats:
        places = (first + np.arange(count)) % len(self.sound)
        result: sounds.Floats = self.sound[places]
        return result


def tone(level_db: float, frequency_hz: float = 1000.0) -> Loop:
    return Loop(sounds.tone(frequency_hz, level_db, 1.0))


def second_period(bench: Bench) -> Period:
    """The first one that is not flagged as starting."""
    bench.period(3000)
    return bench.period(4000)


@pytest.mark.parametrize("level_db", [35.0, 60.0, 94.0, 115.0])
def test_a_tone_reads_its_level_everywhere(level_db: float) -> None:
    period = second_period(Bench(source=tone(level_db)))
    for name in ("laeq", "lafmax", "lafmin", "lceq"):
        assert period.levels[name] == pytest.approx(level_db, abs=0.11)
    for name in ("la10", "la50", "la90"):
        assert period.levels[name] == pytest.approx(level_db, abs=0.5)
    assert period.levels["lcpeak"] == pytest.approx(level_db + 3.0, abs=0.11)
    assert (period.quality, period.reasons) == (Q_OK, [])
    assert period.levels["valid_time"] == 1000


@pytest.mark.parametrize("kind", [Microphone, Ics43434, Inmp441])
def test_the_truth_in_the_air_is_read_through_each_microphone(kind: type[Microphone]) -> None:
    name = {Microphone: "flat", Ics43434: "ics43434", Inmp441: "inmp441"}[kind]
    period = second_period(Bench(62.0, {"microphone": name}, kind))
    assert period.levels["laeq"] == pytest.approx(62.0, abs=0.15)


def test_the_start_is_not_counted_and_flagged() -> None:
    bench = Bench()
    first = bench.period(1000)
    assert first.levels["valid_time"] == 500
    assert (first.quality, first.valid_quality) == (Q_WARMING, Q_OK)
    bench.period(2000)
    assert bench.period(3000).quality == Q_OK


def test_the_calibration_constant_is_added_to_all_levels() -> None:
    plain = second_period(Bench(source=tone(94.0)))
    raised = second_period(Bench(options={"calibration_db": 1.5}, source=tone(94.0)))
    for name in ("laeq", "lafmax", "lafmin", "lceq", "lcpeak"):
        assert raised.levels[name] - plain.levels[name] == pytest.approx(1.5, abs=0.11)


def test_periods_follow_each_other_without_a_hole() -> None:
    bench = Bench()
    bench.period(1000)
    valid = [bench.period(1000 * n).levels["valid_time"] for n in range(2, 8)]
    assert valid == [1000] * 6


def test_time_above_the_threshold_and_the_histogram() -> None:
    sound = np.concatenate([sounds.tone(1000, 80, 1.0), sounds.tone(1000, 40, 1.0)])
    bench = Bench(options={"threshold_db": 70, "histogram": True}, source=Loop(sound))
    bench.period(2000)
    period = bench.period(4000)
    (classes,) = period.vectors
    assert sum(classes) == 20
    assert classes[int((80 - 20) / 0.5)] + classes[int((80 - 20) / 0.5) - 1] >= 8
    # the fall from 80 to 70 dB takes LAF 125 ms * ln 10, the rise a tenth of that
    assert period.levels["time_above"] == pytest.approx(1000 + 288 - 13, abs=20)
    assert period.levels["la10"] > period.levels["la50"] > period.levels["la90"]


def test_sound_that_a_pause_lost_is_missing_from_the_valid_time() -> None:
    bench = Bench()
    bench.period(3000)
    bench.run(3400)
    bench.pause(600)
    period = bench.period(5000)
    # what the DMA kept, 85 ms, was used; 50 ms after the gap were left out
    assert period.levels["valid_time"] == pytest.approx(2000 - 600 + 85 - 50, abs=50)
    assert period.levels["laeq"] == pytest.approx(60.0, abs=0.4)
    assert period.quality == Q_OK
    after = [bench.period(ms) for ms in range(6000, 15_000, 1000)]
    assert {p.quality for p in after} == {Q_OK}


def test_a_period_that_was_mostly_lost_is_suspect() -> None:
    bench = Bench()
    bench.period(3000)
    bench.pause(3500)
    period = bench.period(7000)
    assert period.quality == Q_SUSPECT
    assert period.levels["valid_time"] < 1000


FAULTS: list[tuple[str, int, bool]] = [
    ("clipped", Q_ABOVE, True),
    ("silent", Q_FAULT, False),
    ("swapped", Q_FAULT, False),
    ("offset", Q_FAULT, True),
    ("half_lost", Q_FAULT, False),
    ("wrong_rate", Q_FAULT, False),
    ("shifted", Q_FAULT, False),
    ("shifted_left", Q_FAULT, False),
]


@pytest.mark.parametrize(("fault", "quality", "has_levels"), FAULTS, ids=[f[0] for f in FAULTS])
def test_a_bad_stream_is_flagged_and_gives_its_documented_value(
    fault: str, quality: int, has_levels: bool
) -> None:
    bench = Bench()
    bench.microphone.break_down(fault)
    bench.period(4000)
    for period in (bench.period(5000), bench.period(6000)):
        assert period.quality == quality
        assert period.reasons
        assert (period.levels["laeq"] != 0) == has_levels
        assert period.valid_quality == Q_OK


def test_dc_does_not_change_the_level() -> None:
    bench = Bench(62.0)
    bench.microphone.break_down("offset")
    assert second_period(bench).levels["laeq"] == pytest.approx(62.0, abs=0.2)


def test_gaps_of_the_stream_are_found_as_lost_samples() -> None:
    bench = Bench()
    bench.microphone.break_down("gaps")
    bench.period(4000)
    period = bench.period(5000)
    assert period.levels["valid_time"] == pytest.approx(900, abs=40)
    assert period.quality == Q_FAULT


def test_a_port_that_gives_nothing_is_missing_not_zero() -> None:
    class Dead:
        def readinto(self, buffer: Any) -> int:
            return 0

    meter = Meter(Dead(), {}, 0)
    for now_ms in range(0, 1000, 20):
        meter.poll(now_ms)
    meter.begin(1000)
    meter.poll(1400)
    assert meter.ready
    values: list[tuple[int, int]] = []

    class Row:
        def put(self, channel: int, value: int, quality: int = 0) -> None:
            values.append((value, quality))

    meter.read(Row())  # type: ignore[arg-type]
    assert values[0] == (0, Q_MISSING)
    assert values[-1] == (0, Q_OK)


def test_quiet_below_the_microphones_own_noise_is_flagged() -> None:
    noise = np.random.default_rng(3).normal(0, sounds.amplitude(27) / 2**0.5, 48_000)
    assert second_period(Bench(source=Loop(noise))).quality == Q_BELOW


def test_a_moving_clock_does_not_move_the_level() -> None:
    bench = Bench()
    randomness = random.Random(4)
    bench.period(3000)
    while bench.now_ms < 3940:
        bench.pause(randomness.randrange(5, 60))
    period = bench.period(4000)
    assert period.levels["valid_time"] == pytest.approx(1000, abs=20)
    assert period.quality == Q_OK


def test_the_interrupts_buffers_take_turns() -> None:
    class Port:
        def __init__(self) -> None:
            self.asked: list[bytearray] = []
            self.handler: Any = None

        def irq(self, handler: Any) -> None:
            self.handler = handler

        def readinto(self, buffer: bytearray) -> int:
            self.asked.append(buffer)
            return 0

    port = Port()
    stream = Stream(port, 0)
    first = port.asked[0]
    assert stream.next(10) is None
    port.handler(port)
    assert len(port.asked) == 2
    assert port.asked[1] is not first
    port.handler(port)
    assert len(port.asked) == 2
    assert stream.next(80) is not None
    stream.done()
    assert port.asked[2] is first
    assert len(first) == BUFFER_BYTES


def test_levels_without_samples_agree_with_the_meter() -> None:
    now_ms = 0
    microphone = Ics43434(Steady(laeq=62.0), random.Random(1))
    options = {"microphone": "ics43434", "threshold_db": 50, "bands": "z"}
    quick = LevelPort(SimulatedI2s(microphone, lambda: now_ms)).meter(options, 0)
    thorough = Bench(62.0, options, Ics43434)
    assert quick.CHANNELS == thorough.meter.CHANNELS
    period = second_period(thorough)
    rows: dict[int, Any] = {}

    class Row:
        def put(self, channel: int, value: int, quality: int = 0) -> None:
            rows[channel] = value

        def put_vector(self, channel: int, values: Any, quality: int = 0) -> None:
            rows[channel] = list(values)

    for now_ms in (3000, 4000):
        quick.begin(now_ms)
        quick.read(Row())
    for channel, value in enumerate(period.levels.values()):
        assert rows[channel] == pytest.approx(value * (1 if channel > 7 else 10), abs=15)
    bands = np.array(rows[10][6:29]) - np.array(period.vectors[0][6:29])
    assert abs(bands).mean() < 3


def test_the_board_file_names_the_microphone() -> None:
    class Hal:
        board: ClassVar = {"i2s": {"mic": {"id": 0, "sck": 4, "ws": 5, "sd": 6}}}
        asked: ClassVar[dict[str, int]] = {}

        def i2s(self, spec: dict[str, int]) -> SimulatedI2s:
            self.asked.update(spec)
            return SimulatedI2s(Ics43434(Steady(laeq=60.0), random.Random(1)), lambda: 0)

    meter = from_board({"driver": "ics43434", "bus": "i2s:mic"}, Hal())
    assert isinstance(meter, Meter)
    assert (Hal.asked["sck"], Hal.asked["buffer"]) == (4, 32_768)
    with pytest.raises(ValueError, match="no microphone 'sph0645'; there are: flat"):
        Meter(Hal().i2s({}), {"microphone": "sph0645"})
    with pytest.raises(ValueError, match='"bands" is \'c\'; it can be "z" or "a"'):
        Meter(Hal().i2s({}), {"bands": "c"})


def test_seconds_of_sound_allocate_nothing(vm: VmRun) -> None:
    done = vm(DEVICE / "noise_heap.py", "wide", heap="256K")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no allocation\n")
