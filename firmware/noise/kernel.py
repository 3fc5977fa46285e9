"""A, C and Z weighting of 10 ms of sound in machine code, with 32-bit integers alone.

weigh() is firmware.noise.reference.weigh() for MicroPython's viper emitter: the same arithmetic,
written so that the emitter, which keeps only the first two locals in registers, spends few
instructions. Each pole is a one-multiplier section: low = state >> G; state += (x - low) * K. The
two poles at 20.6 Hz run once for two samples; the sign of the last two sections' signal is turned
around, which saves instructions and changes no energy.
"""

import micropython
from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.noise.plain import ptr32

# words of the state; firmware/noise/state.py explains them
_SHIFT = const(0)
_SLOW_1 = const(1)
_SLOW_2 = const(2)
_TOP = const(3)
_SLOW_3 = const(4)
_SLOW_4 = const(5)
_OVER = const(6)
_PEAK = const(7)
_ENERGY = const(8)
_POLE = const(14)
_ZERO = const(15)

_SHIFT_MAX = const(19)
_PEAK_MAX = const(134217728)


@micropython.viper
def weigh(d: int, q: int, samples: ptr32, state: ptr32) -> int:
    """Weigh the next 480 samples; d and q are the two registers: pass 0.

    When a sample leaves the range, the block is done again in the next wider one.
    """
    again = 1
    while again:
        again = 0
        shift = state[_SHIFT]
        slow_1 = int(state[_SLOW_1])
        slow_2 = int(state[_SLOW_2])
        top = int(state[_TOP])
        slow_3 = int(state[_SLOW_3])
        slow_4 = int(state[_SLOW_4])
        pole = state[_POLE]
        zero = state[_ZERO]
        over = 0
        peak = 0
        a_low = 0
        a_high = 0
        c_low = 0
        c_high = 0
        z_low = 0
        z_high = 0
        kept = 0
        p = ptr32(int(samples))
        end = int(p) + 1920
        while int(p) != end:
            q = shift
            d = p[0] >> q
            kept = d
            z_low = d * d + z_low
            d = p[1] >> q
            z_low = d * d + z_low
            q = kept + d
            over = (8190 + q) | over
            q = (slow_1 >> 16) - q
            slow_1 = -356 * q + slow_1
            q = (slow_1 + slow_2) >> 17
            d = d - q
            kept = kept - q
            q = kept
            slow_2 = (q + d) * 356 + slow_2
            kept = d
            d = top
            top = ((pole * d) >> 12) + q
            q = ((zero * d) >> 12) + top
            d = (slow_3 >> 15) - q
            slow_3 = -459 * d + slow_3
            d = (slow_4 >> 12) - d
            slow_4 = -377 * d + slow_4
            a_low = d * d + a_low
            d = q
            d = q * d
            c_low = c_low + d
            if peak < d:
                peak = d
            q = kept
            d = top
            top = ((pole * d) >> 12) + q
            q = ((zero * d) >> 12) + top
            d = (slow_3 >> 15) - q
            slow_3 = -459 * d + slow_3
            d = (slow_4 >> 12) - d
            slow_4 = -377 * d + slow_4
            a_low = d * d + a_low
            d = q
            d = q * d
            c_low = c_low + d
            if peak < d:
                peak = d
            q = shift
            d = p[2] >> q
            kept = d
            z_low = d * d + z_low
            d = p[3] >> q
            z_low = d * d + z_low
            q = kept + d
            over = (8195 + q) | over
            q = (slow_1 >> 16) - q
            slow_1 = -356 * q + slow_1
            q = (slow_1 + slow_2) >> 17
            d = d - q
            kept = kept - q
            q = kept
            slow_2 = (q + d) * 356 + slow_2
            kept = d
            d = top
            top = ((pole * d) >> 12) + q
            q = ((zero * d) >> 12) + top
            d = (slow_3 >> 15) - q
            slow_3 = -459 * d + slow_3
            d = (slow_4 >> 12) - d
            slow_4 = -377 * d + slow_4
            a_low = d * d + a_low
            d = q
            d = q * d
            c_low = c_low + d
            if peak < d:
                peak = d
            q = kept
            d = top
            top = ((pole * d) >> 12) + q
            q = ((zero * d) >> 12) + top
            d = (slow_3 >> 15) - q
            slow_3 = -459 * d + slow_3
            d = (slow_4 >> 12) - d
            slow_4 = -377 * d + slow_4
            a_low = d * d + a_low
            d = q
            d = q * d
            c_low = c_low + d
            if peak < d:
                peak = d
            q = shift
            d = p[4] >> q
            kept = d
            z_low = d * d + z_low
            d = p[5] >> q
            z_low = d * d + z_low
            q = kept + d
            over = (8190 + q) | over
            q = (slow_1 >> 16) - q
            slow_1 = -356 * q + slow_1
            q = (slow_1 + slow_2) >> 17
            d = d - q
            kept = kept - q
            q = kept
            slow_2 = (q + d) * 356 + slow_2
            kept = d
            d = top
            top = ((pole * d) >> 12) + q
            q = ((zero * d) >> 12) + top
            d = (slow_3 >> 15) - q
            slow_3 = -459 * d + slow_3
            d = (slow_4 >> 12) - d
            slow_4 = -377 * d + slow_4
            a_low = d * d + a_low
            d = q
            d = q * d
            c_low = c_low + d
            if peak < d:
                peak = d
            q = kept
            d = top
            top = ((pole * d) >> 12) + q
            q = ((zero * d) >> 12) + top
            d = (slow_3 >> 15) - q
            slow_3 = -459 * d + slow_3
            d = (slow_4 >> 12) - d
            slow_4 = -377 * d + slow_4
            a_low = d * d + a_low
            d = q
            d = q * d
            c_low = c_low + d
            if peak < d:
                peak = d
            q = shift
            d = p[6] >> q
            kept = d
            z_low = d * d + z_low
            d = p[7] >> q
            z_low = d * d + z_low
            q = kept + d
            over = (8195 + q) | over
            q = (slow_1 >> 16) - q
            slow_1 = -356 * q + slow_1
            q = (slow_1 + slow_2) >> 17
            d = d - q
            kept = kept - q
            q = kept
            slow_2 = (q + d) * 356 + slow_2
            kept = d
            d = top
            top = ((pole * d) >> 12) + q
            q = ((zero * d) >> 12) + top
            d = (slow_3 >> 15) - q
            slow_3 = -459 * d + slow_3
            d = (slow_4 >> 12) - d
            slow_4 = -377 * d + slow_4
            a_low = d * d + a_low
            d = q
            d = q * d
            c_low = c_low + d
            if peak < d:
                peak = d
            q = kept
            d = top
            top = ((pole * d) >> 12) + q
            q = ((zero * d) >> 12) + top
            d = (slow_3 >> 15) - q
            slow_3 = -459 * d + slow_3
            d = (slow_4 >> 12) - d
            slow_4 = -377 * d + slow_4
            a_low = d * d + a_low
            d = q
            d = q * d
            c_low = c_low + d
            if peak < d:
                peak = d
            a_high = ((a_low >> 16) & 0xFFFF) + a_high
            a_low = a_low & 0xFFFF
            c_high = ((c_low >> 16) & 0xFFFF) + c_high
            c_low = c_low & 0xFFFF
            z_high = ((z_low >> 16) & 0xFFFF) + z_high
            z_low = z_low & 0xFFFF
            p = ptr32(int(p) + 32)
        if shift < _SHIFT_MAX:
            if (over >> 14) != 0 or peak > _PEAK_MAX:
                state[_SHIFT] = shift + 2
                state[_SLOW_1] = int(state[_SLOW_1]) >> 2
                state[_SLOW_2] = int(state[_SLOW_2]) >> 2
                state[_TOP] = int(state[_TOP]) >> 2
                state[_SLOW_3] = int(state[_SLOW_3]) >> 2
                state[_SLOW_4] = int(state[_SLOW_4]) >> 2
                again = 1
    state[_SLOW_1] = slow_1
    state[_SLOW_2] = slow_2
    state[_TOP] = top
    state[_SLOW_3] = slow_3
    state[_SLOW_4] = slow_4
    state[_OVER] = over >> 14
    state[_PEAK] = peak
    state[_ENERGY] = a_high
    state[_ENERGY + 1] = a_low
    state[_ENERGY + 2] = c_high
    state[_ENERGY + 3] = c_low
    state[_ENERGY + 4] = z_high
    state[_ENERGY + 5] = z_low
    return 0
