"""The weighting kernel in plain Python: what firmware.noise.kernel must equal, number by number.

Boards whose MicroPython has no machine code emitter, or whose kernel fails its self-test, run this.
"""

from firmware.noise.state import (
    BLOCK,
    ENERGY,
    OVER,
    PEAK,
    POLE,
    SHIFT,
    SHIFT_MAX,
    SHIFT_STEP,
    SLOW_1,
    SLOW_2,
    SLOW_3,
    SLOW_4,
    TOP,
    ZERO,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

SLOW = 356  # 20.6 Hz at 24 kHz, << 17; each step takes the sum of two samples
BASS = 459  # 107.7 Hz at 48 kHz, << 15
MIDDLE = 377  # 737.9 Hz at 48 kHz, << 12
RANGE_BITS = 14  # of the sum of two samples
LOWEST_SUM = (8190, 8195)  # alternating, so that full scale shows on either side
PEAK_MAX = 1 << 27


def weigh(_0: int, _1: int, samples: "Sequence[int]", state: "array[int]") -> None:
    """Weigh the next 480 samples: 24 bits, left-justified in signed 32 bits.

    When a sample leaves the range, the block is done again in the next wider one.
    """
    while not _weigh_in_range(samples, state):
        state[SHIFT] += SHIFT_STEP
        for word in (SLOW_1, SLOW_2, TOP, SLOW_3, SLOW_4):
            state[word] >>= SHIFT_STEP


def _weigh_in_range(samples: "Sequence[int]", state: "array[int]") -> bool:
    shift = state[SHIFT]
    slow_1, slow_2, top = state[SLOW_1], state[SLOW_2], state[TOP]
    slow_3, slow_4 = state[SLOW_3], state[SLOW_4]
    pole, zero = state[POLE], state[ZERO]
    over = peak = a_energy = c_energy = z_energy = 0
    for index in range(0, BLOCK, 2):
        first = samples[index] >> shift
        second = samples[index + 1] >> shift
        z_energy += first * first + second * second
        both = first + second
        over |= both + LOWEST_SUM[index >> 1 & 1]
        slow_1 += SLOW * (both - (slow_1 >> 16))
        low = (slow_1 + slow_2) >> 17
        first -= low
        second -= low
        slow_2 += SLOW * (first + second)
        for bright in (first, second):
            before = top
            top = (pole * before >> 12) + bright
            c = (zero * before >> 12) + top
            c_energy += c * c
            peak = max(peak, c * c)
            b = c - (slow_3 >> 15)
            slow_3 += BASS * b
            a = b + (slow_4 >> 12)
            slow_4 -= MIDDLE * a
            a_energy += a * a
    if shift < SHIFT_MAX and (over >> RANGE_BITS or peak > PEAK_MAX):
        return False
    state[SLOW_1], state[SLOW_2], state[TOP] = slow_1, slow_2, top
    state[SLOW_3], state[SLOW_4] = slow_3, slow_4
    state[OVER] = over >> RANGE_BITS
    state[PEAK] = peak
    for place, energy in enumerate((a_energy, c_energy, z_energy)):
        state[ENERGY + 2 * place] = energy >> 16
        state[ENERGY + 2 * place + 1] = energy & 0xFFFF
    return True
