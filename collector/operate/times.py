"""Times as an operator types and reads them."""

from datetime import UTC, datetime

from collector.clock import DATABLE_UNIX_MS


def parse_time(text: str) -> int:
    """Unix ms of an ISO 8601 time; without an offset it is UTC. ValueError otherwise."""
    try:
        moment = datetime.fromisoformat(text.strip().upper().replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a time such as 2026-03-01T12:00:00Z or 2026-03-01"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def parse_range(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """Unix ms of a range's first moment and of the first one after it; None where it is open.

    ValueError for a time that is none, and for a range that holds no moment.
    """
    from_ms = None if start is None else parse_time(start)
    to_ms = None if end is None else parse_time(end)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise ValueError(
            f"--from {start} is not before --to {end}; --to is the first moment that is left out"
        )
    return from_ms, to_ms


def date_time(unix_ms: int) -> str | None:
    """ISO 8601 in UTC with milliseconds; None for what dates nothing."""
    if unix_ms not in DATABLE_UNIX_MS:
        return None
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_time(unix_ms: int) -> str:
    """The same for people, with words for what dates nothing."""
    return date_time(unix_ms) or f"at no date ({unix_ms} ms)"


def show_age(milliseconds: int) -> str:
    """A duration in its largest fitting unit: 3 s, 12 min, 5 h, 9 d."""
    seconds = max(0, milliseconds) // 1000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (unit == "d" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
