"""Times as networks want them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=8192)
def iso_ms(time_ms: int) -> str:
    """ISO 8601 with milliseconds and Z; the only form that every network here reads."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


@lru_cache(maxsize=8192)
def iso_s(time_ms: int) -> str:
    """ISO 8601 in whole seconds and Z, truncated."""
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def parse_iso_ms(text: str) -> int:
    """Unix ms of an ISO 8601 instant with a zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return round(moment.timestamp() * 1000)
