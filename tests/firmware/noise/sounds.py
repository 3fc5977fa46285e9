"""Test sounds with known levels, as the words of an I2S slot, and their run through the VM."""

import json
import math
import sys
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.noise import microphones, state
from simulator.devices.sound import a_weighting_db, c_weighting_db

Floats = NDArray[np.float64]
VmRun = Callable[..., CompletedProcess[str]]

DEVICE = Path(__file__).parents[2] / "device"
RATE_HZ = 48_000
FULL_SCALE_DB = 120.0  # of the flat microphone
NOMINAL_HZ = (
    10, 12.5, 16, 20, 25, 31.5, 40, 50, 63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800,
    1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000, 10000, 12500, 16000, 20000,
)  # fmt: skip


def exact_hz(nominal_hz: float) -> float:
    """The base-ten mid-band frequency of a nominal one."""
    return float(1000 * 10 ** (round(10 * math.log10(nominal_hz / 1000)) / 10))


def seconds(duration_s: float) -> Floats:
    """Times of the samples."""
    return np.arange(round(duration_s * RATE_HZ)) / RATE_HZ


def amplitude(level_db: float) -> float:
    """Peak of a sine with this level, 1.0 being full scale."""
    return float(10 ** ((level_db - FULL_SCALE_DB) / 20))


def tone(frequency_hz: float, level_db: float, duration_s: float) -> Floats:
    """A sine."""
    angle = 2 * np.pi * frequency_hz * seconds(duration_s) + 0.3
    result: Floats = amplitude(level_db) * np.sin(angle)
    return result


def words(sound: Floats, seed: int = 1) -> NDArray[np.int32]:
    """24 bits with triangular dither, left-justified in 32."""
    randomness = np.random.default_rng(seed)
    dither = randomness.random(len(sound)) - randomness.random(len(sound))
    codes = np.clip(np.floor(sound * (1 << 23) + 0.5 + dither), -(1 << 23), (1 << 23) - 1)
    return (codes.astype(np.int64) << 8).astype(np.int32)


def analytic_level_db(sound: Floats, weighting: str) -> float:
    """A, C or Z-weighted level by the analytic curve in the frequency domain, float64."""
    spectrum = np.fft.rfft(sound)
    frequency_hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ).astype(np.float64)
    power = 2 * np.abs(spectrum) ** 2 / len(sound) ** 2
    power[0] = 0
    curves = {"A": a_weighting_db, "C": c_weighting_db}
    if weighting in curves:
        power = power * 10 ** (curves[weighting](frequency_hz) / 10)
    return float(10 * np.log10(2 * np.sum(power)) + FULL_SCALE_DB)


class Weighed:
    """What the kernel said of each block."""

    def __init__(self, table: Floats, kind: microphones.Microphone) -> None:
        sine_db = kind.sensitivity_db + 20 * math.log10(1 << 31 - state.SHIFT_MIN)
        self._offsets = {
            "A": 94 - sine_db + 10 * math.log10(2) - kind.gain_db[0],
            "C": 94 - sine_db + 10 * math.log10(2) - kind.gain_db[1],
            "Z": 94 - sine_db + 10 * math.log10(2),
        }
        scale = 4.0 ** (table[:, 0] - state.SHIFT_MIN)
        self.over = table[:, 1]
        self.peak = np.sqrt(table[:, 2] * scale)
        self.energy = {
            name: (table[:, 3 + 2 * k] * 65536 + table[:, 4 + 2 * k]) * scale
            for k, name in enumerate("ACZ")
        }
        self.fast_key = table[:, 9].astype(int)

    def level_db(self, weighting: str, first: int, last: int | None = None) -> float:
        """Leq over blocks first to last."""
        mean = self.energy[weighting][first:last].mean() / state.BLOCK
        return float(10 * math.log10(mean) + self._offsets[weighting])

    def peak_db(self, first: int, last: int | None = None) -> float:
        """LCpeak."""
        return float(20 * math.log10(self.peak[first:last].max()) + self._offsets["C"])

    def fast_max_db(self, first: int, last: int | None = None) -> float:
        """LAFmax."""
        from firmware.noise.levels import key_level

        offset_db = self._offsets["A"] - 10 * math.log10(state.BLOCK)
        return key_level(int(self.fast_key[first:last].max()), offset_db)


def weigh_on_vm(vm: VmRun, folder: Path, codes: NDArray[np.int32], kind: str = "flat") -> Weighed:
    """Run the shipped kernel on the VM over a sound."""
    (folder / "sound").write_bytes(codes.astype("<i4").tobytes())
    done = vm(
        DEVICE / "noise_blocks.py", str(folder / "sound"), str(folder / "blocks"), kind, "wide",
        heap="512K",
    )  # fmt: skip
    if done.returncode or done.stdout:
        raise AssertionError(done.stdout + done.stderr)
    return weighed(folder / "blocks", kind)


def weighed(table: Path, kind: str) -> Weighed:
    """What noise_blocks.py wrote."""
    return Weighed(np.loadtxt(table, ndmin=2), microphones.by_name(kind))


def weigh_here(codes: NDArray[np.int32], kind: str = "flat") -> Weighed:
    """Run the reference over a sound: the same numbers, more slowly."""
    from firmware.noise import blocks, reference

    words_ = state.new_state(microphones.by_name(kind).coefficients)
    book, curve = blocks.new_book(), blocks.bend()
    classes = array("H", [0] * blocks.CLASSES)
    rows = []
    for start in range(0, len(codes) - state.BLOCK + 1, state.BLOCK):
        reference.weigh(0, 0, codes[start : start + state.BLOCK].tolist(), words_)
        row = [words_[state.SHIFT], words_[state.OVER], words_[state.PEAK]]
        row += list(words_[state.ENERGY : state.ENERGY + 6])
        book[blocks.FAST_MAX] = 0
        blocks.fold(words_, book, curve, classes, 1)
        rows.append([*row, book[blocks.FAST_MAX]])
    return Weighed(np.array(rows, dtype=np.float64), microphones.by_name(kind))


def meter_on_vm(
    vm: VmRun,
    folder: Path,
    codes: NDArray[np.int32],
    options: Mapping[str, Any],
    period_ms: int,
) -> list[tuple[list[list[Any]], list[str]]]:
    """Rows of the whole meter over a sound: ([[value, quality], ...], reasons)."""
    (folder / "sound").write_bytes(codes.astype("<i4").tobytes())
    done = vm(
        DEVICE / "noise_meter.py", str(folder / "sound"), json.dumps(dict(options)),
        str(period_ms), "wide", heap="512K",
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def bands_on_vm(
    vm: VmRun, folder: Path, codes: NDArray[np.int32], stretch: int, skipped: int
) -> Floats:
    """Levels of all bands (dB) over each stretch of so many blocks."""
    (folder / "sound").write_bytes(codes.astype("<i4").tobytes())
    done = vm(
        DEVICE / "noise_bands.py", str(folder / "sound"), str(stretch), str(skipped), "wide",
        heap="512K",
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return np.array([json.loads(line) for line in done.stdout.splitlines()])


if sys.byteorder != "little":
    raise ImportError("the kernel's words are little-endian")
