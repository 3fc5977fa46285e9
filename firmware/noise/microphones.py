"""Microphones the meter knows: sensitivity, own noise, and the coefficients that fit them."""


class Microphone:
    """One type.

    sensitivity_db: dB re full scale (of a sine) at 94 dB and 1 kHz; floor_db: own noise, dB(A);
    pole, zero: of the top end, << 12; a_gain_db, c_gain_db: of the filters at 1 kHz.
    """

    def __init__(
        self,
        sensitivity_db: float,
        floor_db: float,
        pole: int,
        zero: int,
        a_gain_db: float,
        c_gain_db: float,
    ) -> None:
        self.sensitivity_db = sensitivity_db
        self.floor_db = floor_db
        self.pole = pole
        self.zero = zero
        self.a_gain_db = a_gain_db
        self.c_gain_db = c_gain_db


FLAT = Microphone(-26.0, 29.0, 1253, 1617, 4.583, 6.043)

_KNOWN = {
    "flat": FLAT,
    "ics43434": FLAT,
    "inmp441": FLAT,
}


def by_name(name: str) -> Microphone:
    """The microphone of this name; ValueError names the known ones."""
    if name not in _KNOWN:
        raise ValueError("no microphone %r; there are: %s" % (name, ", ".join(sorted(_KNOWN))))
    return _KNOWN[name]
