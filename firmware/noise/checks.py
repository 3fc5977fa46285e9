"""Is it sound at all that comes from the microphone? What can be wrong, and how grave it is."""

from array import array

try:
    import micropython
except ImportError:
    import firmware.noise.plain as micropython  # type: ignore[no-redef]
    from firmware.noise.plain import ptr16, ptr32

from protocol.wire import Q_ABOVE, Q_BELOW, Q_FAULT, Q_MISSING, Q_OK, Q_SUSPECT, Q_WARMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from firmware.noise.plain import ptr16, ptr32

# Why a period's levels are not to be trusted, the gravest first.
NO_SOUND = 1  # nothing came
RATE = 2  # more or fewer samples than the clock says, steadily: wrong rate, or every other lost
SILENT = 3  # constant, or far below the microphone's own noise: dead, or on the other channel
SHIFTED = 4  # bits lie where a 24-bit sample has none: the I2S frame is off by some bits
OFFSET = 5  # more than 5 % of full scale is DC
OVERLOAD = 6  # samples at full scale
GAPS = 7  # less than half of the period was heard
STARTING = 8
TOO_QUIET = 9  # below the microphone's own noise

LOW_BITS = 0  # of scan(): which of the lowest 9 bits were ever set
CHANGED = 1  # which of bits 8 to 29 ever differed from the first sample's, low 16 of them
CHANGED_HIGH = 2

RATE_SECONDS = 8
RATE_SLIP_MS = 120


@micropython.viper
def scan(samples: ptr32, found: ptr16) -> int:
    """Look at the bits of 480 samples; found has three words."""
    place = 0
    low = 0
    changed = 0
    first = int(samples[0])
    while place < 480:
        value = int(samples[place])
        low = low | value
        changed = changed | (value ^ first)
        place += 1
    found[0] = int(found[0]) | (low & 0x1FF)
    changed = changed >> 8
    found[1] = int(found[1]) | (changed & 0xFFFF)
    found[2] = int(found[2]) | ((changed >> 16) & 0xFF)
    return 0


def new_found() -> "array[int]":
    """Empty findings for scan()."""
    return array("H", [0, 0, 0])


def shifted(found: "Sequence[int]") -> bool:
    """Whether the bits of a second lie as in no 24-bit sample.

    Moved right, they reach into the lowest 8 of 32, which are empty; moved left, bit 8 is empty
    although the sound is far above it.
    """
    if found[LOW_BITS] & 0xFF:
        return True
    loud = found[CHANGED] >> 6 or found[CHANGED_HIGH]
    return bool(loud) and not found[LOW_BITS] & 0x100


def constant(found: "Sequence[int]") -> bool:
    """Whether no sample differed from the others."""
    return not (found[CHANGED] or found[CHANGED_HIGH])


class RateCheck:
    """Slips of the last seconds: with a crystal's accuracy they cancel out."""

    def __init__(self) -> None:
        self._slips = array("h", bytes(2 * RATE_SECONDS))
        self._place = 0

    def add(self, slip_ms: int) -> None:
        """Take the slip of one second."""
        self._slips[self._place] = min(1000, max(-1000, slip_ms))
        self._place = (self._place + 1) % RATE_SECONDS

    def wrong(self) -> bool:
        """Whether the rate is off by more than 1.5 %."""
        total = 0
        for slip_ms in self._slips:
            total += slip_ms
        return abs(total) > RATE_SLIP_MS


# The quality that a reason gives, the gravest first, and whether its levels mean nothing.
_QUALITIES = (
    (NO_SOUND, Q_MISSING, True),
    (RATE, Q_FAULT, True),
    (SILENT, Q_FAULT, True),
    (SHIFTED, Q_FAULT, True),
    (OFFSET, Q_FAULT, False),
    (OVERLOAD, Q_ABOVE, False),
    (STARTING, Q_WARMING, False),
    (GAPS, Q_SUSPECT, False),
    (TOO_QUIET, Q_BELOW, False),
)


def quality(reasons: int) -> "tuple[int, bool]":
    """Quality code for a set of reasons (bit 1 << reason), and whether levels are given at all."""
    for reason, code, hopeless in _QUALITIES:
        if reasons >> reason & 1:
            return code, not hopeless
    return Q_OK, True
