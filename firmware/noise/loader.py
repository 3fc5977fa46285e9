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
    samples = array("i", bytes(4 * BLOCK))
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


def load() -> "tuple[Any, bool]":
    """The fastest weighting kernel that is right here, and whether it takes blocks of bytes.

    Where it does not, it is the reference, which wants an array or a view of integers.
    """
    if not hasattr(memoryview, "cast"):
        try:
            from firmware.noise.kernel import weigh

            if proved(weigh):
                return weigh, True
        except (ImportError, SyntaxError, ValueError):
            pass
    return reference.weigh, False


def load_spectrum() -> "Any":
    """The module that transforms: in machine code where that proves itself."""
    from firmware.noise import spectrum_reference

    if not hasattr(memoryview, "cast"):
        try:
            from firmware.noise import spectrum_kernel

            if _transforms_equal(spectrum_kernel, spectrum_reference):
                return spectrum_kernel
        except (ImportError, SyntaxError, ValueError):
            pass
    return spectrum_reference


def _transforms_equal(kernel: "Any", wanted: "Any") -> bool:
    """Whether two modules decimate alike, which needs the sign of loads and the wrap of sums."""
    samples = test_sound()
    results = []
    for module in (kernel, wanted):
        sums = array("i", bytes(4 * 8))
        out = array("i", bytes(4 * 60))
        module.decimate(0, 0, samples, 60, sums, out, 8)
        results.append((list(sums), list(out)))
    return results[0] == results[1]
