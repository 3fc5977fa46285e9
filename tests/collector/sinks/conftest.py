"""Readings to give to sinks."""

from collections.abc import Callable
from itertools import count
from uuid import UUID

import pytest

from collector.readings.observation import Channel, FrameRef, Observation, Place, PublicNode
from collector.readings.rendering import holds_for_a_period
from protocol.registry import by_name

START_MS = 1_770_000_000_000
FIXED = PublicNode(
    0xA1B2C3D4, UUID("6f1c7a52-3b0e-4d52-9a57-0c1b2d3e4f50"), "street 1", "street", Place(41.4, 2.2)
)
MOBILE = PublicNode(
    0xA1B2C3D5, UUID("6f1c7a52-3b0e-4d52-9a57-0c1b2d3e4f51"), "bike", "mobile", None, True
)

Reading = Callable[..., Observation]


@pytest.fixture
def node() -> PublicNode:
    return FIXED


@pytest.fixture
def mobile() -> PublicNode:
    return MOBILE


@pytest.fixture
def reading() -> Reading:
    """Makes readings: quantity, value, minute; the same channel is the same object."""
    channels: dict[tuple[object, ...], Channel] = {}
    numbers = count()

    def make(
        quantity: str,
        value: float,
        minute: float = 0,
        *,
        node: PublicNode = FIXED,
        instance: int = 0,
        band: int | None = None,
        formula: str | None = None,
        quality: int = 0,
        place: Place | None = None,
    ) -> Observation:
        row = by_name(quantity)
        key = (node, quantity, instance, band, formula)
        channel = channels.setdefault(key, Channel(node, row, instance, band, formula))
        return Observation(
            channel,
            START_MS + round(minute * 60_000),
            60_000 if holds_for_a_period(row) else 0,
            value,
            quality,
            FrameRef(1, node.link, 1, 1),
            next(numbers),
            place or node.place,
        )

    return make
