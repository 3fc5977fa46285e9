"""Nodes, numbers and times as configurations and networks write them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from collector.readings.observation import PublicNode

T = TypeVar("T")


def of_node(entries: Mapping[str, T], node: PublicNode) -> T | None:
    """The entry of a node, which a configuration names by address, UUID or name; None without."""
    for name in (node.hex, str(node.uuid), node.name):
        if name in entries:
            return entries[name]
    return None


def decimal(value: float) -> str:
    """The shortest text that reads back as the same number, never with an exponent."""
    text = repr(float(value))
    if "e" in text or "E" in text:
        text = f"{value:.12f}".rstrip("0")
    return text.removesuffix(".0") if text.endswith(".0") else text.rstrip(".")


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
