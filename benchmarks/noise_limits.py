"""Acceptance limits of the standards that the noise benchmark holds its curves against."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INF = float("inf")
# IEC 61672-1:2013, table 3, class 1: nominal frequency, upper and lower limit in dB.
CLASS_1: tuple[tuple[float, float, float], ...] = (
    (10, 3.0, -INF), (12.5, 2.5, -INF), (16, 2.0, -4.0), (20, 2.0, -2.0), (25, 2.0, -1.5),
    (31.5, 1.5, -1.5), (40, 1.0, -1.0), (50, 1.0, -1.0), (63, 1.0, -1.0), (80, 1.0, -1.0),
    (100, 1.0, -1.0), (125, 1.0, -1.0), (160, 1.0, -1.0), (200, 1.0, -1.0), (250, 1.0, -1.0),
    (315, 1.0, -1.0), (400, 1.0, -1.0), (500, 1.0, -1.0), (630, 1.0, -1.0), (800, 1.0, -1.0),
    (1000, 0.7, -0.7), (1250, 1.0, -1.0), (1600, 1.0, -1.0), (2000, 1.0, -1.0),
    (2500, 1.0, -1.0), (3150, 1.0, -1.0), (4000, 1.0, -1.0), (5000, 1.5, -1.5),
    (6300, 1.5, -2.0), (8000, 1.5, -2.5), (10000, 2.0, -3.0), (12500, 2.0, -5.0),
    (16000, 2.5, -16.0), (20000, 3.0, -INF),
)  # fmt: skip
# IEC 61672-1:2013, table 4: duration in ms, LAFmax less LA of a 4 kHz toneburst, class 1 limits.
BURSTS: tuple[tuple[float, float, float, float], ...] = (
    (1000, 0.0, 0.5, -0.5), (500, -0.1, 0.5, -0.5), (200, -1.0, 0.5, -0.5),
    (100, -2.6, 1.0, -1.0), (50, -4.8, 1.0, -1.0), (20, -8.3, 1.0, -1.0), (10, -11.1, 1.0, -1.0),
    (5, -14.1, 1.0, -1.0), (2, -18.0, 1.0, -1.5), (1, -21.0, 1.0, -2.0), (0.5, -24.0, 1.0, -2.5),
    (0.25, -27.0, 1.0, -3.0),
)  # fmt: skip
# IEC 61672-1:2013, table 5: frequency, cycles (negative: a half cycle down), LCpeak less LC.
PEAKS: tuple[tuple[float, float, float], ...] = (
    (31.5, 1.0, 2.5), (500, 1.0, 3.5), (8000, 1.0, 3.4), (500, 0.5, 2.4), (500, -0.5, 2.4),
)  # fmt: skip

# IEC 61260-1:2014, table 1: exponent of the octave ratio, attenuation limits of class 1 and 2.
_INSIDE = (
    (0, 0.4, 0.6),
    (1 / 8, 0.5, 0.7),
    (1 / 4, 0.7, 0.9),
    (3 / 8, 1.4, 1.7),
    (1 / 2, 5.3, 5.8),
)
_OUTSIDE = ((1 / 2, 1.2, 0.8), (1, 16.6, 15.6), (2, 40.5, 39.5), (3, 60.0, 54.0), (4, 70.0, 60.0))
_RATIO = 10**0.3


def band_mask(relative: Floats, grade: int) -> tuple[Floats, Floats]:
    """Least and largest attenuation of a third-octave band, by frequency relative to its middle."""
    relative = np.maximum(relative, 1 / relative)

    def place(exponent: float) -> float:
        third = (_RATIO ** (1 / 6) - 1) / (_RATIO**0.5 - 1)
        return float(1 + third * (_RATIO**exponent - 1))

    inside = np.log10([place(row[0]) for row in _INSIDE])
    outside = np.log10([place(row[0]) for row in _OUTSIDE])
    at = np.log10(relative)
    within = at <= inside[-1]
    passing = -0.4 if grade == 1 else -0.6
    least = np.where(within, passing, np.interp(at, outside, [r[grade] for r in _OUTSIDE]))
    most = np.where(within, np.interp(at, inside, [r[grade] for r in _INSIDE]), INF)
    return least.astype(np.float64), most.astype(np.float64)
