"""The words of the kernel's state: one array("i") that machine code and Python share."""

from array import array

# Filters, carried from block to block. A sample is used as sample >> SHIFT.
SHIFT = 0
SLOW_1 = 1  # 20.6 Hz, first pole; << 17
SLOW_2 = 2  # 20.6 Hz, second pole; << 17
TOP = 3  # the pole of the top end
SLOW_3 = 4  # 107.7 Hz; << 15
SLOW_4 = 5  # 737.9 Hz; << 12

# What weigh() says of the block.
OVER = 6  # not 0: two successive samples at full scale (in narrower ranges it is always 0)
PEAK = 7  # largest square of the C-weighted signal
ENERGY = 8  # sums of squares, A, C, Z: each as a multiple of 65536 and the rest

# Coefficients of the top end, << 12.
POLE = 14
ZERO = 15

WORDS = 16

RATE_HZ = 48000
BLOCK = 480  # samples: 10 ms
BLOCK_MS = 10
SHIFT_MIN = 9  # quietest range; full scale is 60 dB below that of the microphone
SHIFT_MAX = 19  # the microphone's whole 24 bits
SHIFT_STEP = 2  # 12 dB


def new_state(pole: int, zero: int) -> "array[int]":
    """The state of a meter at rest, in the widest range."""
    state = array("i", [0] * WORDS)
    state[SHIFT] = SHIFT_MAX
    state[POLE] = pole
    state[ZERO] = zero
    return state
