"""The meter's error curves against the limits, as a picture for docs/noise.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot

from benchmarks import noise_limits
from firmware.noise.bands import center_hz

TARGET = Path(__file__).parent.parent / "docs/pictures/noise_errors.svg"
BANDS_DRAWN = (16, 24, 33, 38)
Bands = Mapping[int, tuple[list[float], list[float], float, float]]


def draw(
    errors: Mapping[str, Sequence[float]],
    linear: Sequence[float],
    levels_db: Sequence[int],
    bands: Bands,
) -> None:
    """Write the picture; the same figures give the same bytes."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "noise", "font.size": 9, "svg.fonttype": "none"})
    figure, (top, middle, bottom) = pyplot.subplots(3, 1, figsize=(8, 9.6), layout="constrained")
    frequencies = [row[0] for row in noise_limits.CLASS_1]
    top.fill_between(
        frequencies,
        [max(row[2], -4) for row in noise_limits.CLASS_1],
        [row[1] for row in noise_limits.CLASS_1],
        color="#d9e8d4",
        label="class 1 acceptance limits, IEC 61672-1:2013 table 3",
    )
    for name, colour in (("A", "#b03a2e"), ("C", "#1f5fa8")):
        top.plot(frequencies, errors[name], color=colour, marker=".", label=f"{name} weighting")
    top.set(xscale="log", ylim=(-4, 3.2), xlabel="Hz", ylabel="error, dB")
    top.set_title("Weighting: level less analytic curve")
    middle.axhspan(-0.1, 0.1, color="#d9e8d4", label="0.1 dB")
    middle.plot(levels_db, linear, color="#b03a2e", marker=".", label="A level at 1 kHz")
    middle.set(ylim=(-0.3, 0.3), xlabel="true level, dB", ylabel="error, dB")
    middle.set_title("Linearity")
    relative = np.geomspace(0.12, 8, 400)
    least, most = noise_limits.band_mask(relative, 1)
    bottom.fill_between(
        relative, least, np.minimum(most, 90), color="#d9e8d4", label="class 1 mask"
    )
    for band in BANDS_DRAWN:
        at, attenuation, _, _ = bands[band]
        order = np.argsort(at)
        bottom.plot(
            np.array(at)[order],
            np.array(attenuation)[order],
            marker=".",
            linewidth=0.8,
            label=f"{center_hz(band):.0f} Hz",
        )
    bottom.set(
        xscale="log", ylim=(90, -5), xlabel="frequency / mid-band frequency",
        ylabel="attenuation, dB",
    )  # fmt: skip
    bottom.set_title("One-third-octave bands, IEC 61260-1:2014")
    for axes in (top, middle, bottom):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(TARGET, metadata={"Date": None})
    pyplot.close(figure)
