"""Decimation, transform and band sums in plain Python: what spectrum_kernel must equal.

A transform has 1024 complex numbers in one array, re and im in turn, in the order of a decimation
in time; its real part carries one signal, its imaginary part another one. Numbers are fixed point
with a common exponent, which the caller keeps.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ORDER = 4
RATIO = 8
POINTS = 1024
SLOW_POINTS = 576
RIGHT_ANGLE = 144
NUMBER_WORDS = 7


def _wrapped(value: int) -> int:
    """The lowest 32 bits as a signed number."""
    return (value + 0x80000000) % 0x100000000 - 0x80000000


def decimate(
    _0: int, _1: int, samples: "Sequence[int]", groups: int, sums: "Any", out: "Any", wide: int
) -> int:
    """One sample out for eight in: an integrator-comb filter of order four."""
    for group in range(groups):
        for index in range(RATIO * group, RATIO * (group + 1)):
            value = samples[index] >> wide
            for place in range(ORDER):
                value = _wrapped(sums[place] + value)
                sums[place] = value
        for place in range(ORDER, 2 * ORDER):
            before = sums[place]
            sums[place] = value
            value = _wrapped(value - before)
        out[group] = value
    return 0


def keep(
    _0: int,
    _1: int,
    samples: "Sequence[int]",
    first: int,
    count: int,
    z: "Any",
    order: "Sequence[int]",
    place: int,
    part: int,
) -> int:
    """Put samples where the transform wants them; part 0 real, 1 imaginary.

    Returns how many bits the largest magnitude fills.
    """
    found = 0
    for index in range(count):
        value = samples[first + index] if part else samples[first + index] >> 8
        z[2 * order[place + index] + part] = value
        found |= value if value >= 0 else ~value
    return _bits(found)


def _bits(value: int) -> int:
    count = 0
    while value:
        value >>= 1
        count += 1
    return count


def size(_0: int, _1: int, z: "Sequence[int]", place: int, stride: int, count: int) -> int:
    """How many bits the largest magnitude of count numbers fills."""
    found = 0
    for index in range(count):
        value = z[place + index * stride]
        found |= value if value >= 0 else ~value
    return _bits(found)


def scale(
    _0: int, _1: int, z: "Any", part: int, window: "Sequence[int]", left: int, right: int
) -> int:
    """Shift one part left and right, and multiply it by the window, which is in z's order."""
    for place in range(POINTS):
        value = z[2 * place + part] << left >> right
        z[2 * place + part] = value * window[place] >> 15
    return 0


def quarter(_0: int, _1: int, z: "Any") -> int:
    """The transform's first two stages, which need no multiplication."""
    for place in range(0, 2 * POINTS, 8):
        r = [z[place + k] for k in (0, 2, 4, 6)]
        i = [z[place + k] for k in (1, 3, 5, 7)]
        z[place], z[place + 1] = r[0] + r[1] + r[2] + r[3], i[0] + i[1] + i[2] + i[3]
        z[place + 2], z[place + 3] = r[0] - r[1] + i[2] - i[3], i[0] - i[1] - r[2] + r[3]
        z[place + 4], z[place + 5] = r[0] + r[1] - r[2] - r[3], i[0] + i[1] - i[2] - i[3]
        z[place + 6], z[place + 7] = r[0] - r[1] - i[2] + i[3], i[0] - i[1] + r[2] - r[3]
    return 0


def stage(
    _0: int, _1: int, z: "Any", turns: "Sequence[int]", half: int, step: int, wide: int
) -> int:
    """One stage of butterflies, half words apart, after a shift; not 0: 16 bits are exceeded."""
    over = 0
    for first in range(0, half, 2):
        c, s = turns[first * step // 8], turns[first * step // 8 + 1]
        for near in range(first, 2 * POINTS, 2 * half):
            far = near + half
            re, im = z[far] >> wide, z[far + 1] >> wide
            turned = (c * re - s * im >> 14, s * re + c * im >> 14)
            for part in range(2):
                value = z[near + part] >> wide
                z[far + part] = value - turned[part]
                z[near + part] = value + turned[part]
                over |= 32768 + z[far + part] | 32768 + z[near + part]
    return over >> 16


def split(z: "Any") -> int:
    """Part the transforms of the real and of the imaginary signal; both come out twice as large.

    Bin k of the first is left at k, of the second at 1024 - k.
    """
    for low in range(2, POINTS, 2):
        high = 2 * POINTS - low
        a, b, c, d = z[low], z[low + 1], z[high], z[high + 1]
        z[low], z[low + 1] = a + c, b - d
        z[high], z[high + 1] = b + d, c - a
    return 0


def turn(
    sample: int, _1: int, sums: "Any", cosines: "Sequence[int]", step: int, angle: int, count: int
) -> int:
    """Add a sample to count bins of a running transform of 576 samples."""
    for index in range(count):
        sums[2 * index] += cosines[angle] * sample >> 8
        sums[2 * index + 1] += cosines[(angle + RIGHT_ANGLE) % SLOW_POINTS] * sample >> 8
        angle = (angle + step) % SLOW_POINTS
    return 0


def weighted(samples: "Sequence[int]", index: int, window: "Sequence[int]", place: int) -> int:
    """A sample of the lowest tier, as 18 bits times the window (12 bits)."""
    return (samples[index] >> 14) * window[place] >> 12


def gather(
    z: "Sequence[int]",
    place: int,
    stride: int,
    count: int,
    edges: int,
    wide: int,
    book: "Any",
    rise: int,
) -> int:
    """Add the power of count bins, times 2 ** rise, to a number of seven 16-bit words.

    edges: the shares of the first and of the last bin in 256ths, the last one << 16.
    """
    total = 0
    for index in range(count):
        re, im = z[place + index * stride] >> wide, z[place + index * stride + 1] >> wide
        power = (re * re >> 1) + (im * im >> 1)
        if index == 0:
            power = (power >> 8) * (edges & 0xFFFF)
        if index == count - 1:
            power = (power >> 8) * (edges >> 16)
        total += power
    total = total << rise if rise > 0 else total >> -rise
    for word in range(NUMBER_WORDS):
        total += book[word] << 16 * word
    for word in range(NUMBER_WORDS):
        book[word] = total >> 16 * word & 0xFFFF
    return 0


def move(samples: "Any", first: int, count: int) -> int:
    """Move count numbers to the front."""
    for place in range(count):
        samples[place] = samples[first + place]
    return 0
