"""Readings as sinks see them: what, where, when, how much, and which frame they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from protocol.names import QUALITIES
from protocol.registry import Quantity, by_name

QUALITY_NAMES = tuple(word.replace(" ", "_") for _, word in sorted(QUALITIES.items()))
"""The protocol's words for qualities, by code, as programs write them."""
QUALITY_OK = 0
QUALITY_MISSING = 6
LATITUDE, LONGITUDE, ALTITUDE = (by_name(n).id for n in ("latitude", "longitude", "altitude"))
PLACE_QUANTITIES = (LATITUDE, LONGITUDE, ALTITUDE)
"""What makes a position, in the order of a Place: they leave through `privacy` alone."""


def quality_name(quality: int) -> str:
    """Stable word for a quality code; codes of later revisions read as "not_ok"."""
    return QUALITY_NAMES[quality] if 0 <= quality < len(QUALITY_NAMES) else "not_ok"


class Place(NamedTuple):
    """A position in degrees (WGS 84) and metres, already as coarse as the sink may know it."""

    latitude: float
    longitude: float
    elevation_m: float | None = None


@dataclass(frozen=True, slots=True)
class PublicNode:
    """What a sink may know about a node, after privacy."""

    link: int
    uuid: UUID
    name: str
    board: str = ""
    place: Place | None = None
    mobile: bool = False
    description: str = ""

    @property
    def hex(self) -> str:
        """The link address as eight hexadecimal digits, as in MQTT topics."""
        return f"{self.link:08x}"


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """One quantity of one node under one name. Interned: the same channel is the same object.

    `band` is 10 log10 of a band's centre frequency (13 = 20 Hz), or None for a scalar.
    `formula` names the correction that made the values, or is None for raw ones.
    """

    node: PublicNode
    quantity: Quantity
    instance: int = 0
    band: int | None = None
    formula: str | None = None

    @property
    def key(self) -> str:
        """`quantity[.instance][@band][:formula]`, the channel's name in configurations."""
        return channel_key(self.quantity.name, self.instance, self.band, self.formula)


def channel_key(
    quantity: str, instance: int = 0, band: int | None = None, formula: str | None = None
) -> str:
    """Name of a channel within its node: `pm2_5`, `pm2_5.1`, `bands_z@17`, `pm2_5:epa-2021`."""
    key = quantity if instance == 0 else f"{quantity}.{instance}"
    if band is not None:
        key += f"@{band}"
    return key if formula is None else f"{key}:{formula}"


class FrameRef(NamedTuple):
    """The frame that a reading came in: its id in the archive and its name on the wire."""

    id: int
    node: int
    boot: int
    seq: int


class Observation(NamedTuple):
    """One reading, ready to be sent.

    `time_ms` is Unix time in ms. Quantities that hold for a period (levels) hold for the
    `interval_ms` that end at `time_ms`; for others `interval_ms` is 0. `reading` is its number,
    its place in its frame: columns in order, rows within a column, bands within a row.
    """

    channel: Channel
    time_ms: int
    interval_ms: int
    value: float
    quality: int
    frame: FrameRef
    reading: int
    place: Place | None
