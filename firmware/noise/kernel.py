"""A, C and Z weighting of 10 ms of sound in machine code, with 32-bit integers alone.

weigh() is firmware.noise.reference.weigh() for MicroPython's viper emitter: the same arithmetic,
written so that the emitter, which keeps only the first two locals in registers and likes a
register as the right operand, spends few instructions. A group of four samples is written out; the
sign of the last two sections' signal is turned around, which saves instructions and changes no
energy.
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
_LOW = const(3)
_TOP_1 = const(4)
_TOP_2 = const(5)
_SLOW_3 = const(6)
_SLOW_4 = const(7)
_OFFSET = const(8)
_OVER = const(9)
_PEAK = const(10)
_ENERGY = const(11)
_POLE = const(17)
_ZERO_1 = const(18)
_ZERO_2 = const(19)
_BASS_1 = const(20)
_BASS_2 = const(21)

_SHIFT_FULL = const(19)
_SHIFT_MAX = const(21)
_PEAK_MAX = const(134217728)


@micropython.viper
def weigh(d: int, q: int, samples: ptr32, state: ptr32) -> int:
    """Weigh the next 480 samples; d and q are the two registers: pass 0.

    When the sound leaves the range, the block is done again in the next wider one.
    """
    again = 1
    while again:
        again = 0
        shift = state[_SHIFT]
        slow_1 = int(state[_SLOW_1])
        slow_2 = int(state[_SLOW_2])
        low = int(state[_LOW])
        top_1 = int(state[_TOP_1])
        top_2 = int(state[_TOP_2])
        slow_3 = int(state[_SLOW_3])
        slow_4 = int(state[_SLOW_4])
        offset = int(state[_OFFSET])
        pole = int(state[_POLE])
        zero_1 = int(state[_ZERO_1])
        zero_2 = int(state[_ZERO_2])
        bass_1 = int(state[_BASS_1])
        bass_2 = int(state[_BASS_2])
        over = 0
        peak = 0
        a_low = 0
        a_high = 0
        c_low = 0
        c_high = 0
        z_low = 0
        z_high = 0
        p = ptr32(int(samples))
        end = int(p) + 1920
        while int(p) != end:
            stop = int(p) + 64
            while int(p) != stop:
                q = shift
                d = p[0] >> q
                s_0 = d
                z_low = d * d + z_low
                d = p[1] >> q
                s_1 = d
                z_low = d * d + z_low
                d = p[2] >> q
                s_2 = d
                z_low = d * d + z_low
                d = p[3] >> q
                s_3 = d
                z_low = d * d + z_low
                q = s_2 + d
                over = (8195 + q) | over
                d = q
                q = s_0 + s_1
                over = (8190 + q) | over
                q = q + d
                q = (slow_1 >> 15) - q
                slow_1 = -353 * q + slow_1
                slow_2 = ((slow_1 - slow_2) >> 15) * 353 + slow_2
                q = (slow_1 >> 9) * bass_1 + (slow_2 >> 9) * bass_2 + offset
                q = q >> 4
                d = low
                low = q
                q = (low - d) >> 2
                d = q + d
                low_1 = d
                d = q + d
                low_2 = d
                d = q + d
                low_3 = d
                d = top_1
                q = (zero_1 * d + zero_2 * top_2) >> 12
                top_2 = ((pole * d + low_1) >> 12) + s_0
                q = top_2 + q
                d = (slow_3 >> 15) - q
                slow_3 = -458 * d + slow_3
                d = (slow_4 >> 12) - d
                slow_4 = -377 * d + slow_4
                a_low = d * d + a_low
                d = q * q
                c_low = c_low + d
                if peak < d:
                    peak = d
                d = top_2
                q = (zero_1 * d + zero_2 * top_1) >> 12
                top_1 = ((pole * d + low_2) >> 12) + s_1
                q = top_1 + q
                d = (slow_3 >> 15) - q
                slow_3 = -458 * d + slow_3
                d = (slow_4 >> 12) - d
                slow_4 = -377 * d + slow_4
                a_low = d * d + a_low
                d = q * q
                c_low = c_low + d
                if peak < d:
                    peak = d
                d = top_1
                q = (zero_1 * d + zero_2 * top_2) >> 12
                top_2 = ((pole * d + low_3) >> 12) + s_2
                q = top_2 + q
                d = (slow_3 >> 15) - q
                slow_3 = -458 * d + slow_3
                d = (slow_4 >> 12) - d
                slow_4 = -377 * d + slow_4
                a_low = d * d + a_low
                d = q * q
                c_low = c_low + d
                if peak < d:
                    peak = d
                d = top_2
                q = (zero_1 * d + zero_2 * top_1) >> 12
                top_1 = ((pole * d + low) >> 12) + s_3
                q = top_1 + q
                d = (slow_3 >> 15) - q
                slow_3 = -458 * d + slow_3
                d = (slow_4 >> 12) - d
                slow_4 = -377 * d + slow_4
                a_low = d * d + a_low
                d = q * q
                c_low = c_low + d
                if peak < d:
                    peak = d
                p = ptr32(int(p) + 16)
            a_high = ((a_low >> 16) & 0xFFFF) + a_high
            a_low = a_low & 0xFFFF
            c_high = ((c_low >> 16) & 0xFFFF) + c_high
            c_low = c_low & 0xFFFF
            z_high = ((z_low >> 16) & 0xFFFF) + z_high
            z_low = z_low & 0xFFFF
        over = over >> 14
        if shift >= _SHIFT_FULL:
            if shift > _SHIFT_FULL:
                over = 1
            if peak > _PEAK_MAX:
                over = 1
                if shift < _SHIFT_MAX:
                    again = 1
        elif over != 0 or peak > _PEAK_MAX:
            again = 1
        if again:
            state[_SHIFT] = shift + 1
            d = _SLOW_1
            while d <= _OFFSET:
                state[d] = int(state[d]) >> 1
                d += 1
    state[_SLOW_1] = slow_1
    state[_SLOW_2] = slow_2
    state[_LOW] = low
    state[_TOP_1] = top_1
    state[_TOP_2] = top_2
    state[_SLOW_3] = slow_3
    state[_SLOW_4] = slow_4
    state[_OVER] = over
    state[_PEAK] = peak
    state[_ENERGY] = a_high
    state[_ENERGY + 1] = a_low
    state[_ENERGY + 2] = c_high
    state[_ENERGY + 3] = c_low
    state[_ENERGY + 4] = z_high
    state[_ENERGY + 5] = z_low
    return 0
