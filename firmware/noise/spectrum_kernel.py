"""Decimation, transform and band sums of firmware.noise.spectrum_reference in machine code.

Loads of signed words are written int(...[...]), which costs nothing on a 32-bit machine. Sums that
leave 32 bits wrap, as the decimator's integrators are meant to.
"""

import micropython
from micropython import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.noise.plain import ptr16, ptr32

_END = const(8192)  # bytes of 1024 complex numbers


@micropython.viper
def decimate(
    d: int, q: int, samples: ptr32, groups: int, sums: ptr32, out: ptr32, wide: int
) -> int:
    """One sample out for eight in: an integrator-comb filter of order four."""
    s_1 = int(sums[0])
    s_2 = int(sums[1])
    s_3 = int(sums[2])
    s_4 = int(sums[3])
    p = ptr32(int(samples))
    end = int(p) + (groups << 5)
    while int(p) != end:
        stop = int(p) + 32
        q = wide
        while int(p) != stop:
            d = int(p[0]) >> q
            d = s_1 + d
            s_1 = d
            d = s_2 + d
            s_2 = d
            d = s_3 + d
            s_3 = d
            s_4 = s_4 + d
            d = int(p[1]) >> q
            d = s_1 + d
            s_1 = d
            d = s_2 + d
            s_2 = d
            d = s_3 + d
            s_3 = d
            s_4 = s_4 + d
            p = ptr32(int(p) + 8)
        d = s_4
        q = int(sums[4])
        sums[4] = d
        d = d - q
        q = int(sums[5])
        sums[5] = d
        d = d - q
        q = int(sums[6])
        sums[6] = d
        d = d - q
        q = int(sums[7])
        sums[7] = d
        out[0] = d - q
        out = ptr32(int(out) + 4)
    sums[0] = s_1
    sums[1] = s_2
    sums[2] = s_3
    sums[3] = s_4
    return 0


@micropython.viper
def keep(
    d: int,
    q: int,
    samples: ptr32,
    first: int,
    count: int,
    z: ptr32,
    order: ptr16,
    place: int,
    part: int,
) -> int:
    """Put samples where the transform wants them; part 0 real, 1 imaginary.

    Returns how many bits the largest magnitude fills.
    """
    found = 0
    wide = 8 if part == 0 else 0
    p = ptr32(int(samples) + (first << 2))
    end = int(p) + (count << 2)
    line = ptr16(int(order) + place + place)
    goal = int(z) + (part << 2)
    while int(p) != end:
        d = int(p[0]) >> wide
        at = ptr32((int(line[0]) << 3) + goal)
        at[0] = d
        q = d >> 31
        found = (d ^ q) | found
        p = ptr32(int(p) + 4)
        line = ptr16(int(line) + 2)
    wide = 0
    while found > 0:
        found = found >> 1
        wide += 1
    return wide


@micropython.viper
def size(d: int, q: int, z: ptr32, place: int, stride: int, count: int) -> int:
    """How many bits the largest magnitude of count numbers fills."""
    found = 0
    p = ptr32(int(z) + (place << 2))
    reach = stride << 2
    end = int(p) + reach * count
    while int(p) != end:
        d = int(p[0])
        q = d >> 31
        found = (d ^ q) | found
        p = ptr32(int(p) + reach)
    count = 0
    while found > 0:
        found = found >> 1
        count += 1
    return count


@micropython.viper
def scale(d: int, q: int, z: ptr32, part: int, window: ptr16, left: int, right: int) -> int:
    """Shift one part left and right, and multiply it by the window, which is in z's order."""
    p = ptr32(int(z) + (part << 2))
    end = int(p) + _END
    while int(p) != end:
        d = (int(p[0]) << left) >> right
        p[0] = (int(window[0]) * d) >> 15
        p = ptr32(int(p) + 8)
        window = ptr16(int(window) + 2)
    return 0


@micropython.viper
def quarter(q: int, v: int, z: ptr32) -> int:
    """The transform's first two stages, which need no multiplication."""
    at = ptr32(int(z))
    end = int(z) + _END
    while int(at) < end:
        q = int(at[0])
        v = int(at[2])
        a = q + v
        b = q - v
        q = int(at[4])
        v = int(at[6])
        c = q + v
        d = q - v
        q = int(at[1])
        v = int(at[3])
        e = q + v
        f = q - v
        q = int(at[5])
        v = int(at[7])
        at[0] = a + c
        at[4] = a - c
        a = q + v
        at[1] = e + a
        at[5] = e - a
        a = q - v
        at[2] = b + a
        at[6] = b - a
        at[3] = f - d
        at[7] = f + d
        at = ptr32(int(at) + 32)
    return 0


@micropython.viper
def stage(q: int, v: int, z: ptr32, turns: ptr32, half: int, step: int, wide: int) -> int:
    """One stage of butterflies, half words apart, after a shift; not 0: 16 bits are exceeded."""
    over = 0
    j = 0
    reach = half << 2
    end = int(z) + _END
    while j < reach:
        c = int(turns[0])
        s = int(turns[1])
        turns = ptr32(int(turns) + step)
        at = ptr32(int(z) + j)
        while int(at) < end:
            far = ptr32(int(at) + reach)
            q = int(far[0]) >> wide
            v = int(far[1]) >> wide
            a = (c * q - s * v) >> 14
            q = (s * q + c * v) >> 14
            v = int(at[1]) >> wide
            far[1] = v - q
            over = (32768 + v - q) | over
            q = v + q
            at[1] = q
            over = (32768 + q) | over
            q = a
            v = int(at[0]) >> wide
            far[0] = v - q
            over = (32768 + v - q) | over
            q = v + q
            at[0] = q
            over = (32768 + q) | over
            at = ptr32(int(far) + reach)
        j += 8
    return over >> 16


@micropython.viper
def split(z: ptr32) -> int:
    """Part the transforms of the real and of the imaginary signal; both come out twice as large.

    Bin k of the first is left at k, of the second at 1024 - k.
    """
    low = 2
    high = 2046
    while low < high:
        a = int(z[low])
        b = int(z[low + 1])
        c = int(z[high])
        d = int(z[high + 1])
        z[low] = a + c
        z[low + 1] = b - d
        z[high] = b + d
        z[high + 1] = c - a
        low += 2
        high -= 2
    return 0


@micropython.viper
def turn(q: int, v: int, sums: ptr32, cosines: ptr32, step: int, angle: int, count: int) -> int:
    """Add the sample q to count bins of a running transform of 576 samples."""
    p = ptr32(int(sums))
    end = int(p) + (count << 3)
    while int(p) != end:
        v = angle
        p[0] = int(p[0]) + ((int(cosines[v]) * q) >> 8)
        v = v + 144
        if v >= 576:
            v = v - 576
        p[1] = int(p[1]) + ((int(cosines[v]) * q) >> 8)
        angle = angle + step
        if angle >= 576:
            angle = angle - 576
        p = ptr32(int(p) + 8)
    return 0


@micropython.viper
def weighted(samples: ptr32, index: int, window: ptr16, place: int) -> int:
    """A sample of the lowest tier, as 18 bits times the window (12 bits)."""
    return ((int(samples[index]) >> 14) * int(window[place])) >> 12


@micropython.viper
def gather(
    z: ptr32, place: int, stride: int, count: int, edges: int, wide: int, book: ptr32, rise: int
) -> int:
    """Add the power of count bins, times 2 ** rise, to a number of seven 16-bit words.

    edges: the shares of the first and of the last bin in 256ths, the last one << 16.
    """
    low = 0
    high = 0
    last = count - 1
    here = 0
    while here < count:
        r = int(z[place]) >> wide
        i = int(z[place + 1]) >> wide
        power = ((r * r) >> 1) + ((i * i) >> 1)
        if here == 0:
            power = (power >> 8) * (edges & 0xFFFF)
        if here == last:
            power = (power >> 8) * (edges >> 16)
        low = low + (power & 0xFFFF)
        high = high + (power >> 16)
        place = place + stride
        here += 1
    high = high + (low >> 16)
    low = low & 0xFFFF
    while rise < 0:
        low = ((low + (high << 16)) >> 1) & 0xFFFF
        high = high >> 1
        rise += 1
    here = 0
    while rise >= 16:
        here += 1
        rise -= 16
    carry = 0
    while here < 7:
        carry = carry + ((low & 0xFFFF) << rise) + int(book[here])
        book[here] = carry & 0xFFFF
        carry = carry >> 16
        low = high & 0xFFFF
        high = high >> 16
        here += 1
    return 0


@micropython.viper
def move(samples: ptr32, first: int, count: int) -> int:
    """Move count numbers to the front."""
    place = 0
    while place < count:
        samples[place] = samples[first + place]
        place += 1
    return 0
