"""How far the sound level meter is from the standards' curves, and what it costs.

    make bench-noise

The shipped kernel runs on the MicroPython VM over generated sounds; its cost is counted by
executing what mpy-cross emits for an ESP32. A table, docs/pictures/noise_errors.svg, and a last
line of JSON. $OSN_DATA/noise_laeq gives the level series; without it one is generated.
"""

import csv
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import noise_cost, noise_limits, noise_picture
from firmware.noise.bands import center_hz
from firmware.noise.channels import BANDS, FIRST_BAND
from simulator import vm as micropython
from simulator.devices.sound import Noise, a_weighting_db, c_weighting_db
from tests.firmware.noise import sounds
from tests.firmware.noise.sounds import Floats, exact_hz, tone, words

RATE_HZ = sounds.RATE_HZ
LINEAR_DB = (30, 35, 40, 50, 60, 70, 80, 90, 94, 100, 110, 115, 119)
NOISE_DB = (35, 60, 94, 108)
LN_SEGMENTS = 4
LN_SECONDS = 150
BAND_CHECKED = (13, 14, 16, 19, 20, 21, 24, 28, 29, 30, 33, 38, 43)
BAND_STRETCH = 180
Weigh = Callable[[Floats], sounds.Weighed]


def curve_db(weighting: str, frequency_hz: float) -> float:
    """The analytic weighting at a frequency."""
    function = a_weighting_db if weighting == "A" else c_weighting_db
    return float(function(np.array([frequency_hz]))[0])


def weighting_errors(weigh: Weigh) -> dict[str, list[float]]:
    """Level less analytic curve at the 34 frequencies of table 3, for A and C."""
    pieces, levels = [], []
    for nominal_hz in sounds.NOMINAL_HZ:
        levels.append(110.0 if nominal_hz <= 20 else 94.0)
        pieces.append(tone(exact_hz(nominal_hz), levels[-1], 2.0))
    weighed = weigh(np.concatenate(pieces))
    found: dict[str, list[float]] = {"A": [], "C": []}
    for place, nominal_hz in enumerate(sounds.NOMINAL_HZ):
        for weighting, errors in found.items():
            level_db = weighed.level_db(weighting, 200 * place + 100, 200 * place + 200)
            errors.append(level_db - levels[place] - curve_db(weighting, exact_hz(nominal_hz)))
    return found


def linearity_errors(weigh: Weigh) -> list[float]:
    """A level at 1 kHz less the true one, after the range has settled."""
    weighed = weigh(np.concatenate([tone(1000.0, level_db, 2.5) for level_db in LINEAR_DB]))
    return [
        weighed.level_db("A", 250 * k + 130, 250 * k + 250) - level_db
        for k, level_db in enumerate(LINEAR_DB)
    ]


def noise_errors(weigh: Weigh) -> dict[str, float]:
    """A level of pink and white noise less that of the frequency domain in float64."""
    found = {}
    for colour in ("pink", "white"):
        for level_db in NOISE_DB:
            length = 4 * RATE_HZ
            spectrum = np.fft.rfft(np.random.default_rng(level_db).normal(size=length))
            frequency_hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
            spectrum[frequency_hz < 10] = 0
            if colour == "pink":
                spectrum[1:] /= np.sqrt(frequency_hz[1:])
            noise = np.fft.irfft(spectrum, length)
            noise *= sounds.amplitude(level_db) / 2**0.5 / np.std(noise)
            weighed = weigh(np.concatenate([noise, noise]))
            wanted_db = sounds.analytic_level_db(np.clip(noise, -1, 1), "A")
            found[f"{colour} {level_db} dB"] = weighed.level_db("A", 400, 800) - wanted_db
    return found


def burst_errors(weigh: Weigh) -> list[tuple[float, float]]:
    """Smallest and largest error of LAFmax of 4 kHz tonebursts over where in a block they begin."""
    steady_db = weigh(tone(4000.0, 94.0, 2.0)).level_db("A", 100)
    found = []
    for duration_ms, response_db, _, _ in noise_limits.BURSTS:
        pieces = []
        for start in range(24_000, 24_480, 96):
            sound = np.zeros(3 * RATE_HZ)
            length = round(duration_ms * RATE_HZ / 1000)
            angle = 2 * np.pi * 4000 * np.arange(length) / RATE_HZ
            sound[start : start + length] = sounds.amplitude(94.0) * np.sin(angle)
            pieces.append(sound)
        weighed = weigh(np.concatenate(pieces))
        errors = [
            weighed.fast_max_db(300 * k, 300 * (k + 1)) - steady_db - response_db
            for k in range(len(pieces))
        ]
        found.append((min(errors), max(errors)))
    return found


def peak_errors(weigh: Weigh) -> list[float]:
    """LCpeak less LC of the steady tone, less what table 5 says."""
    found = []
    for nominal_hz, cycles, wanted_db in noise_limits.PEAKS:
        frequency_hz = exact_hz(nominal_hz)
        length = round(RATE_HZ / frequency_hz * abs(cycles))
        sound = np.zeros(2 * RATE_HZ)
        angle = 2 * np.pi * frequency_hz * np.arange(length) / RATE_HZ
        sound[60_000 : 60_000 + length] = np.sin(angle) * (-1 if cycles < 0 else 1)
        peak_db = weigh(sound * sounds.amplitude(94.0)).peak_db(110)
        found.append(peak_db - 94.0 - curve_db("C", frequency_hz) - wanted_db)
    return found


def level_series() -> tuple[str, Floats]:
    """One-second levels of a day, recorded or generated."""
    folder = os.environ.get("OSN_DATA")
    path = Path(folder) / "noise_laeq/test_data_laeq1s.csv" if folder else None
    if path is not None and path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        return "recorded", np.array([float(row[1]) for row in rows])
    steps = np.random.default_rng(9).normal(0, 1.2, 86_400)
    levels = [50.0]
    for step in steps:
        levels.append(levels[-1] + step - 0.05 * (levels[-1] - 52))
    return "generated", np.array(levels)


def percentile_errors(run: Callable[[Floats, int], list[float]]) -> tuple[str, list[float]]:
    """L10, L50, L90 of the meter less the exact percentiles of the series it was made of."""
    name, series = level_series()
    errors = []
    noise = Noise(11)
    for segment in range(LN_SEGMENTS):
        start = (2 * segment + 1) * len(series) // (2 * LN_SEGMENTS)
        levels_db = series[start : start + LN_SECONDS]
        shape = 10 ** ((np.repeat(levels_db, RATE_HZ) - sounds.FULL_SCALE_DB) / 20)
        sound = noise.samples(0, len(shape)) * shape
        lead = noise.samples(0, RATE_HZ) * shape[0]
        row = run(np.concatenate([lead, sound, lead]), LN_SECONDS)
        exact = np.percentile(levels_db, [90, 50, 10])
        errors += [float(f - e) for f, e in zip(row, exact, strict=True)]
    return name, errors


def band_margins(
    run: Callable[[Floats], Floats],
) -> dict[int, tuple[list[float], list[float], float, float]]:
    """Attenuation by relative frequency and the margin to the masks of class 1 and 2, by band."""
    found = {}
    relative = np.concatenate([np.linspace(0.5, 2, 25), 10 ** np.array([-0.9, -0.6, 0.6, 0.9])])
    for band in BAND_CHECKED:
        middle_hz = center_hz(band)
        tones = [r * middle_hz for r in relative if 8 < r * middle_hz < 22_000]
        pieces = [tone(f, 100.0, BAND_STRETCH / 100) for f in (middle_hz, *tones)]
        levels_db = run(np.concatenate(pieces))[:, band - FIRST_BAND]
        attenuation = levels_db[0] - levels_db[1:]
        at = np.array(tones) / middle_hz
        margins = []
        for grade in (1, 2):
            least, most = noise_limits.band_mask(at, grade)
            margins.append(float(np.minimum(attenuation - least, most - attenuation).min()))
        found[band] = (list(at), list(map(float, attenuation)), margins[0], margins[1])
    return found


def measure(folder: Path) -> dict[str, object]:
    """Everything, printed as it comes; the figures of the JSON line."""

    def weigh(sound: Floats) -> sounds.Weighed:
        return sounds.weigh_on_vm(micropython.run, folder, words(sound))

    def percentiles(sound: Floats, length_s: int) -> list[float]:
        return meter_percentiles(folder, sound, length_s)

    errors = weighting_errors(weigh)
    rows_inside = report_weighting(errors)
    linear = linearity_errors(weigh)
    print("\nlinearity at 1 kHz, dB:", _listed(LINEAR_DB, linear))
    noises = noise_errors(weigh)
    print("\nnoise, error in dB:", ", ".join(f"{k} {v:+.3f}" for k, v in noises.items()))
    bursts = burst_errors(weigh)
    print("\n4 kHz tonebursts, error of LAFmax in dB over the start within a block:")
    for (duration_ms, _, upper, lower), (low, high) in zip(
        noise_limits.BURSTS, bursts, strict=True
    ):
        print(f"  {duration_ms:7g} ms  {low:+.2f} to {high:+.2f}  (class 1 {lower:+} {upper:+})")
    peaks = peak_errors(weigh)
    print("\nLCpeak, error in dB:", ", ".join(f"{error:+.3f}" for error in peaks))
    name, ln_errors = percentile_errors(percentiles)
    listed = ", ".join(f"{error:+.2f}" for error in ln_errors)
    print(f"\nL10, L50, L90 on {name} levels, error in dB: {listed}")
    bands = band_margins(
        lambda sound: sounds.bands_on_vm(micropython.run, folder, words(sound), BAND_STRETCH, 10)
    )
    print("\nthird-octave bands, margin to the masks in dB:")
    for band, (_, _, first, second) in bands.items():
        print(f"  {center_hz(band):8.1f} Hz  class 1 {first:+.2f}  class 2 {second:+.2f}")
    cost = noise_cost.measure(folder)
    print("\n" + noise_cost.table(cost))
    noise_picture.draw(errors, linear, LINEAR_DB, bands)
    inner = [k for k, f in enumerate(sounds.NOMINAL_HZ) if 31 < f < 17_000]
    return {
        "weighting_error_db": round(max(abs(errors[w][k]) for w in "AC" for k in inner), 3),
        "weighting_error_20k_db": round(max(abs(errors[w][-1]) for w in "AC"), 3),
        "class1_rows_inside": rows_inside,
        "linearity_error_db": round(max(map(abs, linear)), 3),
        "noise_error_db": round(max(map(abs, noises.values())), 3),
        "burst_error_db": round(max(abs(v) for pair in bursts for v in pair), 3),
        "lcpeak_error_db": round(max(map(abs, peaks)), 3),
        "ln_error_db": round(max(map(abs, ln_errors)), 3),
        "instructions_per_sample": round(cost.instructions_per_sample, 1),
        "core_percent": round(cost.core_percent, 1),
        "bands_core_percent": round(cost.bands_percent, 1),
        "bands_class1_from_125_hz": all(m[2] >= 0 for b, m in bands.items() if b >= 21),
        "bands_class2_below": all(m[3] >= 0 for b, m in bands.items() if b < 21),
        "bands": BANDS,
    }


def meter_percentiles(folder: Path, sound: Floats, length_s: int) -> list[float]:
    """L10, L50, L90 of the whole meter over length_s after the first second, in dB."""
    from firmware.noise.levels import CLASS_DB, CLASS_LOW_DB

    options = {"histogram": True}
    rows = sounds.meter_on_vm(micropython.run, folder, words(sound), options, 1000)
    classes = np.sum([row[0][9][0] for row in rows[1 : 1 + length_s]], axis=0)
    above = np.cumsum(classes[::-1])[::-1] / classes.sum()
    edges = CLASS_LOW_DB + CLASS_DB * np.arange(len(classes))
    return [float(np.interp(-p, -above, edges)) for p in (0.1, 0.5, 0.9)]


def report_weighting(errors: dict[str, list[float]]) -> int:
    """Print the rows of table 3; how many are inside class 1 for A and C."""
    inside = 0
    print("weighting, level less analytic curve in dB, and the limits of class 1:")
    for k, (nominal_hz, upper, lower) in enumerate(noise_limits.CLASS_1):
        good = all(lower <= errors[w][k] <= upper for w in "AC")
        inside += good
        print(
            f"  {nominal_hz:7g} Hz  A {errors['A'][k]:+.3f}  C {errors['C'][k]:+.3f}"
            f"  {lower:+} to {upper:+}  {'inside' if good else 'OUTSIDE'}"
        )
    return inside


def _listed(names: tuple[int, ...], values: list[float]) -> str:
    return ", ".join(f"{name}: {value:+.3f}" for name, value in zip(names, values, strict=True))


def main() -> None:
    """Print the table and the JSON line."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
