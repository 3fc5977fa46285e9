"""What a meter gives, by its options."""

from firmware.noise.blocks import CLASSES
from protocol import quantity

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
    if options.get("histogram"):
        found.append((quantity.LEVEL_HISTOGRAM, None, CLASSES, 0))
    return tuple(found)
