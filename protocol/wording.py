"""Fields of a frame in words, for explain."""

from datetime import UTC, datetime

from protocol import names, wire
from protocol.registry import REGISTRY

_OPTIONS = {0x10: "instance", 0x20: "vector", 0x40: "quality", 0x80: "exponent"}


def type(value: int) -> str:
    """type_flags in words."""
    words = [names.name(names.TYPES, value & wire.TYPE_MASK)]
    words.append("authenticated" if value & wire.AUTH else "not authenticated")
    if value & wire.RESERVED_FLAGS:
        words.append("reserved bits set")
    return ", ".join(words)


def tag(value: int) -> str:
    """A section's tag in words."""
    return names.name(names.SECTIONS, value) + (", critical" if value & 0x80 else "")


def quantity(value: int) -> str:
    """A quantity's name and unit."""
    row = REGISTRY.get(value)
    return f"{row.name} ({row.unit})" if row else f"unknown ({value})"


def control(value: int) -> str:
    """A column's ctl in words."""
    coding = value & 15
    words = [{14: "sparse", 15: "constant"}.get(coding, f"Rice k = {coding}")]
    words += [word for bit, word in _OPTIONS.items() if value & bit]
    return ", ".join(words)


def band(quantity: int, band: int) -> str:
    """A band's number and frequency."""
    row = REGISTRY.get(quantity)
    if row and row.shape == "bands":
        return f"{band} ({10 ** (band / 10):.4g} Hz)"
    return str(band)


def mask(upto: int, mask: int) -> str:
    """The numbers that an ACK's mask covers."""
    also = [str(upto + 2 + bit) for bit in range(32) if mask >> bit & 1]
    return f"also {', '.join(also)}" if also else "nothing more"


def duration(value: int) -> str:
    """Milliseconds as days and time."""
    seconds, ms = divmod(value, 1000)
    days, seconds = divmod(seconds, 86400)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
    return f"{value} ms ({days} days {clock})"


def date(value: int) -> str:
    """Unix milliseconds as a date."""
    try:
        moment = datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{value} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def quoted(data: bytes) -> str:
    """Text as Python writes it."""
    return repr(data.decode("utf-8", "replace"))
