"""Which weighting kernel runs here: machine code that has proved itself, else plain Python."""

from array import array

from firmware.noise import reference
from firmware.noise.microphones import FLAT
from firmware.noise.state import BLOCK, new_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STEP = 1103515245
_MASK = 0x7FFFFFFF


def test_sound() -> "array[int]":
    """480 samples that use every path: quiet, then loud enough to leave the narrow ranges."""
    samples = array("i", [0] * BLOCK)
    noise = 1
    for index in range(BLOCK):
        noise = (noise * _STEP + 12345) & _MASK
        shift = 18 if index < BLOCK // 2 else 7
        samples[index] = ((noise >> shift) - (1 << 30 - shift)) << 8
    return samples


def proved(weigh: "Any") -> bool:
    """Whether a kernel gives the reference's numbers for two blocks of the test sound."""
    samples = test_sound()
    found = new_state(FLAT.coefficients)
    wanted = new_state(FLAT.coefficients)
    found[0] = wanted[0] = 11
    for _ in range(2):
        weigh(0, 0, samples, found)
        reference.weigh(0, 0, samples, wanted)
        if list(found) != list(wanted):
            return False
    return True


def _weigh_bytes(_0: int, _1: int, samples: "Any", state: "array[int]") -> int:
    """The reference for MicroPython, whose memoryviews of bytes cannot be cast."""
    return reference.weigh(0, 0, array("i", bytes(samples)), state)


def load() -> "Any":
    """The fastest kernel that is right on this machine."""
    if hasattr(memoryview, "cast"):
        return reference.weigh
    try:
        from firmware.noise.kernel import weigh
    except (ImportError, SyntaxError, ValueError):
        return _weigh_bytes
    return weigh if proved(weigh) else _weigh_bytes
