"""ICS-43434 and INMP441, which firmware.noise makes a sound level meter of."""

from firmware.noise import meter
from firmware.unload import unload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.bus import Entry

_ONLY_AT_START = ("channels", "loader", "microphones", "reference")


def from_board(entry: "Entry", hal: "Any", now_ms: int = 0) -> "Any":
    """Build the meter from an entry of board.json."""
    made = meter.from_board(entry, hal, now_ms)
    for name in _ONLY_AT_START:
        unload("firmware.noise." + name)
    return made
