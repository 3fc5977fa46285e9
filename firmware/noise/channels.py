"""What a meter gives, by its options."""

from firmware.noise.blocks import CLASSES
from protocol import quantity

BANDS = 31
FIRST_BAND = 13  # 10 log10(f): 20 Hz

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.sensors.bus import Options

LEVELS = (
    quantity.LAEQ,
    quantity.LAFMAX,
    quantity.LAFMIN,
    quantity.LA10,
    quantity.LA50,
    quantity.LA90,
    quantity.LCEQ,
    quantity.LCPEAK,
)
SCALARS = LEVELS + (quantity.VALID_TIME,)


def channels(options: "Options") -> "tuple[tuple[int | None, ...], ...]":
    """(quantity, exponent) of each scalar, then (quantity, None, bands, first band) of vectors."""
    found: "list[tuple[int | None, ...]]" = [(name, None) for name in SCALARS]
    if options.get("threshold_db") is not None:
        found.append((quantity.TIME_ABOVE, None))
    bands = options.get("bands")
    if bands is not None:
        if bands not in ("z", "a"):
            raise ValueError('option "bands" is %r; it can be "z" or "a"' % (bands,))
        name = quantity.BANDS_A_HALF if bands == "a" else quantity.BANDS_Z_HALF
        found.append((name, None, BANDS, FIRST_BAND))
    if options.get("histogram"):
        found.append((quantity.LEVEL_HISTOGRAM, None, CLASSES, 0))
    return tuple(found)
