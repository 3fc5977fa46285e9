"""The meter's error against the standards' curves; the benchmark has all of it."""

from pathlib import Path

import numpy as np
import pytest

from simulator.devices.sound import a_weighting_db, c_weighting_db
from tests.firmware.noise import sounds
from tests.firmware.noise.sounds import VmRun, exact_hz, tone, weigh_on_vm, words


def curve(weighting: str, frequency_hz: float) -> float:
    function = a_weighting_db if weighting == "A" else c_weighting_db
    return float(function(np.array([frequency_hz]))[0])


def test_a_and_c_weighting_follow_the_analytic_curves(vm: VmRun, tmp_path: Path) -> None:
    frequencies = [exact_hz(f) for f in (31.5, 63, 125, 250, 1000, 4000, 8000, 16000, 20000)]
    sound = np.concatenate([words(tone(f, 94.0, 2.0)) for f in frequencies])
    weighed = weigh_on_vm(vm, tmp_path, sound)
    for place, frequency_hz in enumerate(frequencies):
        first = 200 * place
        limit = 0.05 if frequency_hz < 17_000 else 0.15
        for weighting in "AC":
            found = weighed.level_db(weighting, first + 100, first + 200) - 94.0
            assert found == pytest.approx(curve(weighting, frequency_hz), abs=limit)


def test_levels_are_linear(vm: VmRun, tmp_path: Path) -> None:
    levels = [30.0, 50.0, 70.0, 94.0, 110.0, 119.0]
    sound = np.concatenate([words(tone(1000.0, level_db, 2.0)) for level_db in levels])
    weighed = weigh_on_vm(vm, tmp_path, sound)
    for place, level_db in enumerate(levels):
        found = weighed.level_db("A", 200 * place + 130, 200 * place + 200)
        assert found == pytest.approx(level_db, abs=0.1)


def test_noise_reads_as_in_the_frequency_domain(vm: VmRun, tmp_path: Path) -> None:
    noise = np.random.default_rng(6).normal(0, sounds.amplitude(60.0) / 2**0.5, 96_000)
    twice = np.concatenate([noise, noise])
    weighed = weigh_on_vm(vm, tmp_path, words(twice))
    for weighting in "ACZ":
        found = weighed.level_db(weighting, 200, 400)
        wanted = sounds.analytic_level_db(noise, weighting)
        assert found == pytest.approx(wanted, abs=0.06 if weighting == "Z" else 0.03)


def test_the_vm_and_this_python_weigh_alike(vm: VmRun, tmp_path: Path) -> None:
    codes = words(tone(440.0, 70.0, 0.3))
    there, here = weigh_on_vm(vm, tmp_path, codes), sounds.weigh_here(codes)
    assert (there.energy["A"] == here.energy["A"]).all()


def test_the_whole_meter_runs_on_the_vm(vm: VmRun, tmp_path: Path) -> None:
    rows = sounds.meter_on_vm(vm, tmp_path, words(tone(1000.0, 94.0, 5.0)), {"bands": "a"}, 1000)
    values, reasons = rows[-1]
    assert values[0] == [940, 0]
    assert values[8] == [1000, 0]
    assert values[9][0][17] == 188
    assert reasons == []
