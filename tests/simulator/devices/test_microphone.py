"""The simulated microphone: its true level, and what its bus loses."""

import random

import numpy as np
import pytest

from simulator.devices.base import Steady
from simulator.devices.microphone import Ics43434, Microphone, SimulatedI2s, response
from simulator.devices.sound import LOOP, Noise
from tests.firmware.noise import sounds


def microphone(level_db: float | None = 60.0) -> Microphone:
    return Microphone(Steady(laeq=level_db), random.Random(1))


def test_the_noise_has_exactly_its_level() -> None:
    loop = Noise(3).samples(0, LOOP) * 10 ** ((70.0 - sounds.FULL_SCALE_DB) / 20)
    assert sounds.analytic_level_db(loop, "A") == pytest.approx(70.0, abs=0.001)


def test_words_are_24_bits_left_justified_and_the_same_whenever_they_are_asked() -> None:
    one, other = microphone(), microphone()
    whole = one.words(10_000, 960)
    assert not (whole & 0xFF).any()
    assert (np.concatenate([other.words(10_480, 480), other.words(10_000, 480)])
            == np.concatenate([whole[480:], whole[:480]])).all()  # fmt: skip
    assert not one.words(0, 4000).any(), "the first 85 ms are zeros"


def test_silence_is_the_microphones_own_noise() -> None:
    words = microphone(None).words(48_000, LOOP) / 2**31
    assert sounds.analytic_level_db(words, "A") == pytest.approx(29.0, abs=0.3)


def test_the_response_is_that_of_the_maker() -> None:
    found = 20 * np.log10(np.abs(response(Ics43434.KIND, np.array([31.5, 63.0, 8000.0, 16_000.0]))))
    assert found == pytest.approx([-8.0, -2.8, 2.5, 8.0], abs=0.6)


def test_the_bus_keeps_what_its_buffer_holds() -> None:
    now_ms = 0
    port = SimulatedI2s(microphone(), lambda: now_ms)
    now_ms = 1000
    buffer = bytearray(192_000)
    assert port.readinto(buffer) == 4 * 4096
    assert port.lost == 48_000 - 4096
    assert port.readinto(buffer) == 0


@pytest.mark.parametrize(("fault", "per_second"), [("wrong_rate", 44_100), ("half_lost", 24_000)])
def test_faults_of_the_clock_change_how_much_comes(fault: str, per_second: int) -> None:
    clock = [0]
    device = microphone()
    device.break_down(fault)
    port = SimulatedI2s(device, lambda: clock[0])
    buffer, total = bytearray(16_384), 0
    while clock[0] < 1000:
        clock[0] += 20
        total += port.readinto(buffer) // 4
    assert total == pytest.approx(per_second, abs=300)


def test_an_unknown_fault_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no fault 'deaf'; it has: clipped"):
        microphone().break_down("deaf")
