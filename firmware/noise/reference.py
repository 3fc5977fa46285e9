"""The weighting kernel in plain Python: what firmware.noise.kernel must equal, number by number.

Boards whose MicroPython has no machine code emitter, or whose kernel fails its self-test, run this.

All poles of A and C weighting are real, so each is a section with one multiplier, a low pass
whose output is taken away: low = state >> G; state += (x - low) * K. The double pole at 20.6 Hz
runs once for four samples (SLOW_1, and SLOW_2 after it): x - 2 low_1 + low_2 for a flat
microphone; other shares of the two also raise the bass of one that rolls off. What they give is
drawn out in a straight line over the group, which keeps its images below the weighted signal. At
the top end the double pole at 12.2 kHz and the microphone's resonance become one pole, two zeros.
"""

from firmware.noise.state import (
    BASS_1,
    BASS_2,
    BLOCK,
    ENERGY,
    FIRST_SCALED,
    LAST_SCALED,
    LOW,
    OFFSET,
    OVER,
    PEAK,
    POLE,
    SHIFT,
    SHIFT_FULL,
    SHIFT_MAX,
    SHIFT_STEP,
    SLOW_1,
    SLOW_2,
    SLOW_3,
    SLOW_4,
    TOP_1,
    TOP_2,
    ZERO_1,
    ZERO_2,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

DEEP = 353  # 20.6 Hz at 48 kHz, << 17; a step takes the sum of four samples
BASS = 458  # 107.7 Hz, << 15
MIDDLE = 377  # 737.9 Hz, << 12
RANGE_BITS = 14  # of the sum of two samples
LOWEST_SUM = (8190, 8195)  # of the group's pairs, so that full scale shows on either side
PEAK_MAX = 1 << 27


def weigh(_0: int, _1: int, samples: "Sequence[int]", state: "array[int]") -> int:
    """Weigh the next 480 samples: 24 bits, left-justified in signed 32 bits.

    When the sound leaves the range, the block is done again in the next wider one.
    """
    while not _weigh_in_range(samples, state):
        state[SHIFT] += SHIFT_STEP
        for word in range(FIRST_SCALED, LAST_SCALED + 1):
            state[word] >>= SHIFT_STEP
    return 0


def _weigh_in_range(samples: "Sequence[int]", state: "array[int]") -> bool:
    shift = state[SHIFT]
    slow_1, slow_2, low = state[SLOW_1], state[SLOW_2], state[LOW]
    slow_3, slow_4 = state[SLOW_3], state[SLOW_4]
    newer, older = state[TOP_1], state[TOP_2]
    pole, zero_1, zero_2 = state[POLE], state[ZERO_1], state[ZERO_2]
    bass_1, bass_2, offset = state[BASS_1], state[BASS_2], state[OFFSET]
    over = peak = a_energy = c_energy = z_energy = 0
    for index in range(0, BLOCK, 4):
        group = [sample >> shift for sample in samples[index : index + 4]]
        for sample in group:
            z_energy += sample * sample
        first, second = group[0] + group[1], group[2] + group[3]
        over |= first + LOWEST_SUM[0] | second + LOWEST_SUM[1]
        slow_1 += DEEP * (first + second - (slow_1 >> 15))
        slow_2 += DEEP * ((slow_1 - slow_2) >> 15)
        before, low = low, (slow_1 >> 9) * bass_1 + (slow_2 >> 9) * bass_2 + offset >> 4
        step = (low - before) >> 2
        for place in range(4):
            before = before + step if place < 3 else low
            top = group[place] + (pole * newer + before >> 12)
            c = top + (zero_1 * newer + zero_2 * older >> 12)
            newer, older = top, newer
            c_energy += c * c
            peak = max(peak, c * c)
            b = c - (slow_3 >> 15)
            slow_3 += BASS * b
            a = b + (slow_4 >> 12)
            slow_4 -= MIDDLE * a
            a_energy += a * a
    over >>= RANGE_BITS
    if shift >= SHIFT_FULL:
        if shift > SHIFT_FULL or peak > PEAK_MAX:
            over = 1
        if peak > PEAK_MAX and shift < SHIFT_MAX:
            return False
    elif over or peak > PEAK_MAX:
        return False
    state[SLOW_1], state[SLOW_2], state[LOW] = slow_1, slow_2, low
    state[SLOW_3], state[SLOW_4] = slow_3, slow_4
    state[TOP_1], state[TOP_2] = newer, older
    state[OVER], state[PEAK] = over, peak
    for place, energy in enumerate((a_energy, c_energy, z_energy)):
        state[ENERGY + 2 * place] = energy >> 16
        state[ENERGY + 2 * place + 1] = energy & 0xFFFF
    return True
