"""From the energies of one 10 ms block to what a second is summed up from.

Runs as machine code on boards and, the same text, as plain Python under CPython. Energies are
numbers of four 16-bit words, low first, in units of the quietest range; a level key is a
logarithm made of the position and the 13 bits below the leading one: 2**13 keys per 3.01 dB.
"""

from array import array
from math import log

try:
    import micropython
    from micropython import const
except ImportError:
    import firmware.noise.plain as micropython  # type: ignore[no-redef]
    from firmware.noise.plain import const, ptr16, ptr32  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.noise.plain import ptr16, ptr32

# words of the book
FAST = 0  # 5: LAF as an energy, its fraction first
SUMS = 5  # 3 x 4: A, C, Z energies of the second
FAST_MAX = 17  # keys of the period
FAST_MIN = 18
PEAK_KEY = 19
BLOCKS = 20  # blocks summed in the second
TENTH = 21  # blocks since the last sample of the histogram
ABOVE = 22  # blocks of the period with LAF at or above THRESHOLD
THRESHOLD = 23  # key
CLASS_BASE = 24  # linear key of the histogram's lower end
OVERS = 25  # blocks at full scale in the second
QUIET = 26  # blocks since the range was last looked at
OFFSET_SUM = 27  # of OFFSETS blocks' DC, in units of the quietest range
OFFSETS = 28
LOUDEST = 29  # largest PEAK since then
SCRATCH = 30  # 4
WORDS = 34

KEY_BITS = 13
KEY_MAX = 0x7FFFF
CLASSES = 220  # of 0.5 dB: 20 to 130 dB

_FAST = const(0)
_SUMS = const(5)
_FAST_MAX = const(17)
_FAST_MIN = const(18)
_PEAK_KEY = const(19)
_BLOCKS = const(20)
_TENTH = const(21)
_ABOVE = const(22)
_THRESHOLD = const(23)
_CLASS_BASE = const(24)
_OVERS = const(25)
_QUIET = const(26)
_OFFSET_SUM = const(27)
_OFFSETS = const(28)
_LOUDEST = const(29)
_SCRATCH = const(30)

_SHIFT = const(0)
_SLOW_1 = const(1)
_LAST_SCALED = const(8)
_OVER = const(9)
_PEAK = const(10)
_ENERGY = const(11)
_SHIFT_MIN = const(9)

_FAST_STEP = const(5039)  # (1 - exp(-10 / 125)) << 16
_PER_CLASS = const(6165)  # classes per key, << 23
_QUIET_PEAK = const(11930464)  # 7.5 dB below the range
_QUIET_BLOCKS = const(50)
_OFFSET_ROOM = const(1024)


def new_book() -> "array[int]":
    """An empty book."""
    book = array("i", bytes(4 * WORDS))
    book[FAST_MIN] = KEY_MAX
    return book


def bend() -> "array[int]":
    """For 64 steps of a key's fraction f: (log2(1 + f) - f) << 13, at the middle of the step."""
    table = array("H", bytes(2 * 64))
    for step in range(64):
        f = (step + 0.5) / 64
        table[step] = round((log(1 + f) / log(2) - f) * (1 << KEY_BITS))
    return table


@micropython.viper
def fold(state: ptr32, book: ptr32, curve: ptr16, classes: ptr16, counted: int) -> int:
    """Add the block that weigh() left in state; counted 0 only lets LAF follow.

    classes gets one count of LAF every 100 ms.
    """
    shift = int(state[_SHIFT])
    move = (shift - _SHIFT_MIN) << 1
    kind = 3
    while kind > 0:
        kind -= 1
        high = int(state[_ENERGY + kind + kind])
        low = int(state[_ENERGY + kind + kind + 1])
        carry = 0
        left = move
        place = _SCRATCH
        if left >= 16:
            book[place] = 0
            place += 1
            left -= 16
        while place < _SCRATCH + 4:
            carry = carry + (low << left)
            book[place] = carry & 0xFFFF
            carry = carry >> 16
            low = high & 0xFFFF
            high = high >> 16
            place += 1
        if counted:
            place = 0
            while place < 4:
                book[_SUMS + 4 * kind + place] = int(book[_SUMS + 4 * kind + place]) + int(
                    book[_SCRATCH + place]
                )
                place += 1
    # The scratch words hold A now: LAF moves towards it.
    carry = (0 - int(book[_FAST]) * _FAST_STEP) >> 16
    carry = carry + int(book[_FAST])
    place = 0
    while place < 4:
        step = (int(book[_SCRATCH + place]) - int(book[_FAST + 1 + place])) * _FAST_STEP
        carry = carry + step
        book[_FAST + place] = carry & 0xFFFF
        carry = (carry >> 16) + int(book[_FAST + 1 + place])
        place += 1
    book[_FAST + 4] = carry
    # The keys of LAF and of the peak.
    place = 0
    while place < 4:
        book[_SCRATCH + place] = int(book[_FAST + 1 + place])
        place += 1
    key = 0
    top = 3
    while top > 0 and int(book[_SCRATCH + top]) == 0:
        top -= 1
    high = int(book[_SCRATCH + top])
    if high:
        low = 0
        if top > 0:
            low = int(book[_SCRATCH + top - 1])
        place = 15
        while high < 32768:
            high = high + high + (low >> 15)
            low = (low + low) & 0xFFFF
            place -= 1
        key = ((top * 16 + place) << 13) + ((high >> 2) & 0x1FFF)
    peak = int(state[_PEAK])
    loudest = 0
    if peak:
        place = 29
        while peak < 536870912:
            peak = peak + peak
            place -= 1
        loudest = ((place + move) << 13) + ((peak >> 16) & 0x1FFF)
    if counted:
        if key > int(book[_FAST_MAX]):
            book[_FAST_MAX] = key
        if key < int(book[_FAST_MIN]):
            book[_FAST_MIN] = key
        if loudest > int(book[_PEAK_KEY]):
            book[_PEAK_KEY] = loudest
        if key >= int(book[_THRESHOLD]):
            book[_ABOVE] = int(book[_ABOVE]) + 1
        if int(state[_OVER]):
            book[_OVERS] = int(book[_OVERS]) + 1
        book[_BLOCKS] = int(book[_BLOCKS]) + 1
        place = int(book[_TENTH]) + 1
        if place >= 10:
            place = key + int(curve[(key >> 7) & 63]) - int(book[_CLASS_BASE])
            if place < 0:
                place = 0
            place = (place * _PER_CLASS) >> 23
            if place > 219:
                place = 219
            classes[place] = int(classes[place]) + 1
            place = 0
        book[_TENTH] = place
    # Signed 14 bits, whatever the loads of this machine make of the sign.
    offset = ((int(state[_SLOW_1]) >> 17) & 0x3FFF) ^ 0x2000
    offset -= 0x2000
    book[_OFFSET_SUM] = int(book[_OFFSET_SUM]) + (offset << (shift - _SHIFT_MIN))
    book[_OFFSETS] = int(book[_OFFSETS]) + 1
    # A narrower range, once half a second has been quiet enough for it and DC leaves room.
    if offset < 0:
        offset = 0 - offset
    peak = int(state[_PEAK])
    if peak > int(book[_LOUDEST]):
        book[_LOUDEST] = peak
    place = int(book[_QUIET]) + 1
    if place >= _QUIET_BLOCKS:
        peak = int(book[_LOUDEST])
        while peak < _QUIET_PEAK and shift > _SHIFT_MIN and offset < _OFFSET_ROOM:
            peak = (peak << 2) + 1
            offset = (offset << 1) + 1
            shift -= 1
            place = _SLOW_1
            while place <= _LAST_SCALED:
                state[place] = int(state[place]) << 1
                place += 1
        state[_SHIFT] = shift
        book[_LOUDEST] = 0
        place = 0
    book[_QUIET] = place
    return 0
