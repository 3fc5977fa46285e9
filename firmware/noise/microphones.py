"""Microphones the meter knows: sensitivity, own noise, and the coefficients that flatten them.

The coefficients come from the fit of benchmarks/noise_design.py to the responses given here.
"""


class Microphone:
    """One type.

    sensitivity_db: dB re a full-scale sine at 94 dB, 1 kHz; floor_db: own noise, dB(A).
    coefficients: pole, zero 1, zero 2 (<< 12) of the top end, shares of the bass (<< 8).
    gain_db: of A and of C weighting at 1 kHz with them.
    rolloff_hz: double pole of its bass, 0 for none; resonance: Hz and Q of its port, or None.
    """

    def __init__(
        self,
        sensitivity_db: float,
        floor_db: float,
        coefficients: "tuple[int, int, int, int, int]",
        gain_db: "tuple[float, float]",
        rolloff_hz: float,
        resonance: "tuple[float, float] | None",
    ) -> None:
        self.sensitivity_db = sensitivity_db
        self.floor_db = floor_db
        self.coefficients = coefficients
        self.gain_db = gain_db
        self.rolloff_hz = rolloff_hz
        self.resonance = resonance


# The responses were read off the makers' curves, where -8 dB at 31.5 Hz stands for both, and
# +2.5 dB at 8 kHz, +8 dB at 16 kHz for the ICS-43434: a decibel of doubt at either end.
FLAT = Microphone(-26.0, 29.0, (1212, 1621, 61, -512, 256), (4.4881, 5.9477), 0.0, None)
ICS43434 = Microphone(
    -26.0, 29.0, (1188, 2153, 2046, 452, 200), (7.5810, 9.0406), 38.8, (15300.0, 2.75)
)
INMP441 = Microphone(-26.0, 33.0, (1186, 1638, 70, 520, 264), (4.5113, 5.9710), 41.5, None)

KNOWN = {"flat": FLAT, "ics43434": ICS43434, "inmp441": INMP441}


def by_name(name: str) -> Microphone:
    """The microphone of this name; ValueError names the known ones."""
    if name not in KNOWN:
        raise ValueError("no microphone %r; there are: %s" % (name, ", ".join(sorted(KNOWN))))
    return KNOWN[name]
