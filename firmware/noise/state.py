"""The words of the kernel's state: one array("i") that machine code and Python share."""

from array import array

# Filters, carried from block to block and scaled with the range: sample >> SHIFT.
SHIFT = 0
SLOW_1 = 1  # low pass of 20.6 Hz; << 17
SLOW_2 = 2  # low pass of SLOW_1; << 17
LOW = 3  # what the last group's low sections gave; << 12
TOP_1 = 4  # the pole of the top end: every other sample
TOP_2 = 5
SLOW_3 = 6  # low pass of 107.7 Hz; << 15
SLOW_4 = 7  # low pass of 737.9 Hz; << 12
OFFSET = 8  # what is added against DC; << 16
FIRST_SCALED = SLOW_1
LAST_SCALED = OFFSET

# What weigh() says of the block.
OVER = 9  # not 0: two successive samples at full scale, or the range above SHIFT_FULL
PEAK = 10  # largest square of the C-weighted signal
ENERGY = 11  # sums of squares, A, C, Z: each as a multiple of 65536 and the rest

# Coefficients, by microphone.
POLE = 17  # of the top end, << 12
ZERO_1 = 18  # << 12
ZERO_2 = 19  # << 12
BASS_1 = 20  # share of SLOW_1, << 8
BASS_2 = 21  # share of SLOW_2, << 8

WORDS = 22

RATE_HZ = 48000
BLOCK = 480  # samples: 10 ms
BLOCK_MS = 10
SHIFT_MIN = 9  # quietest range; full scale is 60 dB below that of the microphone
SHIFT_FULL = 19  # the microphone's whole 24 bits
SHIFT_MAX = 21  # for what the filters make larger still
SHIFT_STEP = 1  # 6 dB


def new_state(coefficients: "tuple[int, int, int, int, int]") -> "array[int]":
    """The state of a meter at rest: pole, zeros and bass as in firmware.noise.microphones."""
    state = array("i", bytes(4 * WORDS))
    state[SHIFT] = SHIFT_FULL
    for place in range(5):
        state[POLE + place] = coefficients[place]
    return state
