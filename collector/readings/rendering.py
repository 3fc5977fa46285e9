"""Frames into observations: decoded once for all sinks, dated, scaled, placed, named.

`Renderer` is one sink's view: it knows what that sink may know of a node and which channels it can
send. The decoded frames behind it are shared by all sinks.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from collector.clock import DATABLE_UNIX_MS
from collector.readings.observation import (
    ALTITUDE,
    LATITUDE,
    LONGITUDE,
    PLACE_QUANTITIES,
    QUALITY_MISSING,
    Channel,
    FrameRef,
    Observation,
    Place,
    PublicNode,
    quality_name,
)
from collector.timeline.frozen_time import Line
from protocol.registry import REGISTRY, Quantity

DECODED_VALUES_MAX = 200_000
CHANNELS_MAX = 200_000


class Column(Protocol):
    """A channel's integers within a frame; vectors lie row after row."""

    @property
    def quantity(self) -> int: ...
    @property
    def instance(self) -> int: ...
    @property
    def exponent(self) -> int | None: ...
    @property
    def first_band(self) -> int: ...
    @property
    def bands(self) -> int: ...
    @property
    def values(self) -> Sequence[int]: ...
    @property
    def qualities(self) -> Sequence[int] | None: ...


class Samples(Protocol):
    """One SAMPLES section."""

    @property
    def period_ms(self) -> int: ...
    @property
    def times_ms(self) -> Sequence[int]: ...
    @property
    def columns(self) -> Sequence[Column]: ...


class Corrected(NamedTuple):
    """A column's corrected values, None where an input was missing, and the formula's name."""

    formula: str
    values: Sequence[float | None]


class Corrections(Protocol):
    """Corrected columns of one section, by column index; columns without a formula are absent."""

    def apply(self, node: int, samples: Samples) -> Mapping[int, Corrected]: ...


class Audience(Protocol):
    """What one sink may know about nodes and places."""

    def node(self, link: int) -> PublicNode | None:
        """The node as this sink may see it, or None when nothing of it goes out."""

    def place(self, link: int, place: Place) -> Place | None:
        """A mobile node's position as coarse as allowed, or None where it may not be told."""


class Undecodable(Exception):
    """This version cannot read the frame; a later one may."""


Decode = Callable[[bytes], Sequence[Samples]]


class DecodedFrames:
    """Sections of frames decoded lately, shared by all sinks, bounded by values held."""

    def __init__(self, decode: Decode, values_max: int = DECODED_VALUES_MAX) -> None:
        self._decode = decode
        self._max = values_max
        self._held = 0
        self._frames: OrderedDict[int, tuple[Sequence[Samples], int]] = OrderedDict()

    def get(self, frame: int, raw: bytes) -> Sequence[Samples]:
        """The frame's SAMPLES sections. Raises Undecodable."""
        found = self._frames.get(frame)
        if found:
            return found[0]
        sections = self._decode(raw)
        size = sum(len(column.values) for section in sections for column in section.columns)
        self._frames[frame] = sections, size
        self._held += size
        while self._held > self._max and len(self._frames) > 1:
            _, (_, dropped) = self._frames.popitem(last=False)
            self._held -= dropped
        return sections


@dataclass(slots=True)
class Rendered:
    """A frame's readings: those to send, and how many are left out and why."""

    ref: FrameRef
    total: int = 0
    observations: list[Observation] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str, readings: int = 1) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + readings


class Renderer:
    """One sink's view of frames.

    `names` says what a channel is called upstream, None when it cannot be sent. `qualities` are
    the quality codes that go out; a missing reading has no value and never does.
    """

    def __init__(
        self,
        decoded: DecodedFrames,
        audience: Audience,
        names: Callable[[Channel], str | None],
        qualities: Iterable[int],
        corrections: Corrections | None = None,
    ) -> None:
        self._decoded = decoded
        self._audience = audience
        self._names = names
        self._qualities = frozenset(qualities) - {QUALITY_MISSING}
        self._corrections = corrections
        self._channels: dict[tuple[object, ...], Channel | None] = {}

    def render(self, ref: FrameRef, raw: bytes, line: Line) -> Rendered:
        """All readings of a frame. Raises Undecodable."""
        sections = self._decoded.get(ref.id, raw)
        rendered = Rendered(ref)
        node = self._audience.node(ref.node)
        for section in sections:
            if node is None:
                readings = _count(section)
                rendered.leave_out("not_published", readings)
                rendered.total += readings
            else:
                self._section(rendered, node, section, line)
        return rendered

    def _section(self, rendered: Rendered, node: PublicNode, section: Samples, line: Line) -> None:
        times = _dated(section.times_ms, line)
        places = self._places(node, section)
        corrected = self._corrections.apply(node.link, section) if self._corrections else {}
        for position, column in enumerate(section.columns):
            quantity = REGISTRY.get(column.quantity)
            if quantity is None:
                rendered.leave_out("unknown_quantity", len(column.values))
            elif column.quantity in PLACE_QUANTITIES:
                values = _coordinates(column, places)
                self._column(rendered, node, section, column, quantity, times, places, None, values)
            elif position in corrected:
                formula, values = corrected[position]
                self._column(
                    rendered, node, section, column, quantity, times, places, formula, values
                )
            else:
                self._column(
                    rendered, node, section, column, quantity, times, places, None,
                    _scaled(column, quantity),
                )  # fmt: skip
            rendered.total += len(column.values)

    def _column(
        self,
        rendered: Rendered,
        node: PublicNode,
        section: Samples,
        column: Column,
        quantity: Quantity,
        times: Sequence[tuple[int, int]],
        places: Sequence[Place | None],
        formula: str | None,
        values: Sequence[float | None],
    ) -> None:
        width = max(column.bands, 1)
        bands: Sequence[int | None] = (
            range(column.first_band, column.first_band + width) if column.bands else (None,)
        )
        channels = [self._channel(node, quantity, column.instance, b, formula) for b in bands]
        if not any(channels):
            rendered.leave_out("unmapped", len(values))
            return
        interval_ms = section.period_ms if holds_for_a_period(quantity) else 0
        add, ref, base = rendered.observations.append, rendered.ref, rendered.total
        qualities = column.qualities
        if len(times) < len(section.times_ms):
            rendered.leave_out("undatable", (len(section.times_ms) - len(times)) * width)
        for row, time_ms in times:
            quality = qualities[row] if qualities else 0
            if quality not in self._qualities:
                rendered.leave_out(_left_out_word(quality), width)
                continue
            for offset, channel in enumerate(channels, row * width):
                value = values[offset]
                if channel is None:
                    rendered.leave_out("unmapped")
                elif value is None:
                    rendered.leave_out("private" if formula is None else "input_missing")
                elif not math.isfinite(value):
                    rendered.leave_out("not_finite")
                else:
                    place = places[row]
                    index = base + offset
                    add(
                        Observation(
                            channel, time_ms, interval_ms, value, quality, ref, index, place
                        )
                    )

    def _channel(
        self,
        node: PublicNode,
        quantity: Quantity,
        instance: int,
        band: int | None,
        formula: str | None,
    ) -> Channel | None:
        key = (node, quantity.id, instance, band, formula)
        try:
            return self._channels[key]
        except KeyError:
            if len(self._channels) >= CHANNELS_MAX:
                self._channels.clear()
            channel = Channel(node, quantity, instance, band, formula)
            named = self._channels[key] = channel if self._names(channel) is not None else None
            return named

    def _places(self, node: PublicNode, section: Samples) -> Sequence[Place | None]:
        rows = len(section.times_ms)
        by_quantity = {c.quantity: c for c in section.columns if c.instance == 0}
        latitude, longitude = by_quantity.get(LATITUDE), by_quantity.get(LONGITUDE)
        if latitude is None or longitude is None or latitude.bands or longitude.bands:
            return [None if node.mobile else node.place] * rows
        altitude = by_quantity.get(ALTITUDE)
        if altitude is not None and altitude.bands:
            altitude = None
        return [
            None
            if _missing(latitude, row) or _missing(longitude, row)
            else self._audience.place(
                node.link,
                Place(
                    _value(latitude, row),
                    _value(longitude, row),
                    _value(altitude, row) if altitude and not _missing(altitude, row) else None,
                ),
            )
            for row in range(rows)
        ]


def holds_for_a_period(quantity: Quantity) -> bool:
    """Whether a value stands for the whole period that ends at its time, as levels and sums do."""
    return quantity.kind == "noise" or quantity.aggregate == "sum"


def _dated(times_ms: Sequence[int], line: Line) -> list[tuple[int, int]]:
    """(row, Unix ms) of the rows that a date can be given; uptimes only rise."""
    times = [line.at(uptime_ms) for uptime_ms in times_ms]
    if times and times[0] in DATABLE_UNIX_MS and times[-1] in DATABLE_UNIX_MS:
        return list(enumerate(times))
    return [(row, unix_ms) for row, unix_ms in enumerate(times) if unix_ms in DATABLE_UNIX_MS]


def _left_out_word(quality: int) -> str:
    return "missing" if quality == QUALITY_MISSING else f"quality_{quality_name(quality)}"


def _missing(column: Column, row: int) -> bool:
    return bool(column.qualities) and column.qualities is not None and column.qualities[row] != 0


def _value(column: Column, row: int) -> float:
    return REGISTRY[column.quantity].value(column.values[row], column.exponent)


def _coordinates(column: Column, places: Sequence[Place | None]) -> Sequence[float | None]:
    if column.bands:
        return [None] * len(column.values)
    index = PLACE_QUANTITIES.index(column.quantity)
    return [None if place is None else place[index] for place in places]


def _scaled(column: Column, quantity: Quantity) -> list[float]:
    exponent = quantity.exponent if column.exponent is None else column.exponent
    divisor = quantity.divisor
    if exponent >= 0:
        factor = 10**exponent
        return [value * factor / divisor for value in column.values]
    divisor *= 10**-exponent
    return [value / divisor for value in column.values]


def _count(section: Samples) -> int:
    return sum(len(c.values) for c in section.columns)


def channels_of(
    sections: Iterable[Samples], node: PublicNode, formula: str | None = None
) -> Iterator[Channel]:
    """Channels that occur in decoded sections, for `sinks explain`."""
    for section in sections:
        for column in section.columns:
            quantity = REGISTRY.get(column.quantity)
            if quantity is None:
                continue
            bands: Iterable[int | None] = (
                range(column.first_band, column.first_band + column.bands)
                if column.bands
                else (None,)
            )
            for band in bands:
                yield Channel(node, quantity, column.instance, band, formula)
