"""Configurations name nodes by address, name or UUID."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from collector.readings.observation import PublicNode

T = TypeVar("T")


def of_node(entries: Mapping[str, T], node: PublicNode) -> T | None:
    """What a configuration says of a node."""
    for name in (node.hex, str(node.uuid), node.name):
        if name in entries:
            return entries[name]
    return None
