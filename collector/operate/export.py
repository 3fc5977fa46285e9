"""Readings as rows for files that everybody can open; see `row_files`.

Times are computed and corrections applied while reading. Positions of mobile nodes are told in the
nodes' cells, as to a network; raw frames, which hold them exactly, are not exported.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from collector.archive import archive
from collector.archive.archive import CONFLICT, StoredFrame
from collector.archive.decoding import decode_stored
from collector.clock import DATABLE_UNIX_MS
from collector.nodes import NodeRegistry
from collector.operate.remarks import Remarks
from collector.operate.row_files import RowShape, kinds_of
from collector.operate.times import date_time
from collector.readings.corrections import NodeCorrections
from collector.readings.observation import (
    LATITUDE,
    LONGITUDE,
    PLACE_QUANTITIES,
    QUALITY_MISSING,
    Place,
    quality_name,
)
from collector.readings.privacy import place_told
from collector.storage.archive_view import ArchiveView, node_name
from protocol import wire
from protocol.columns import Column, Samples
from protocol.reading import readings
from protocol.registry import REGISTRY
from protocol.wire import FrameError

Values: TypeAlias = Literal["raw", "corrected", "both"]
Progress = Callable[[int, int], None]

FRAMES_AT_ONCE = 2_000


class Row(NamedTuple):
    """One reading; `time` is None where nothing dates it, `value` where it is missing."""

    node: str
    name: str
    time: str | None
    error_ms: int | None
    quantity: str
    instance: int
    band: int | None
    value: float | None
    unit: str
    quality: str
    corrected: float | None
    formula: str | None
    boot: int
    seq: int
    sample: int


SHAPE = RowShape("reading", kinds_of(Row), "time")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which readings; empty or None means all. `grid_m` asks for larger cells than nodes have."""

    nodes: frozenset[int] = frozenset()
    quantities: frozenset[int] = frozenset()
    from_ms: int | None = None
    to_ms: int | None = None
    values: Values = "raw"
    grid_m: int = 0


class Exporter:
    """Turns an archive's frames into rows."""

    def __init__(
        self,
        view: ArchiveView,
        registry: NodeRegistry,
        corrections: NodeCorrections,
        choice: Choice,
    ) -> None:
        self._view = view
        self._registry = registry
        self._corrections = corrections
        self._choice = choice
        self.remarks = Remarks()

    def rows(self, progress: Progress | None = None) -> Iterator[Row]:
        """All chosen readings; `progress` gets (frames looked at, frames)."""
        newest = archive.newest_id(self._view.connection)
        for frame in self._frames(newest):
            yield from self._rows_of(frame)
            if progress is not None:
                progress(frame.id, newest)

    def _frames(self, newest: int) -> Iterator[StoredFrame]:
        choice = self._choice
        if choice.from_ms is not None or choice.to_ms is not None:
            for node in sorted(choice.nodes) or self._view.nodes():
                yield from self._view.between(node, choice.from_ms, choice.to_ms)
            return
        last = 0
        while last < newest:
            frames = list(archive.frames(self._view.connection, last + 1, newest, FRAMES_AT_ONCE))
            if not frames:
                return
            last = frames[-1].id
            yield from (f for f in frames if not choice.nodes or f.node in choice.nodes)

    def _rows_of(self, frame: StoredFrame) -> Iterator[Row]:
        if frame.type != wire.T_DATA or frame.state == CONFLICT:
            return
        try:
            decoded = decode_stored(frame)
        except FrameError:
            self.remarks.undecodable(frame.node)
            return
        choice = self._choice
        node, name = f"{frame.node:08x}", node_name(self._registry, frame.node)
        corrected, coarse = self._changed(frame.node, decoded.samples)
        for reading in readings(decoded):
            if choice.quantities and reading.quantity not in choice.quantities:
                continue
            stamp = self._view.timeline.time_of(frame.node, frame.boot, reading.uptime_ms)
            if stamp is not None and stamp.unix_ms not in DATABLE_UNIX_MS:
                self.remarks.undatable(frame.node)
                stamp = None
            if not _within(stamp.unix_ms if stamp else None, choice):
                continue
            formula, values = corrected.get(reading.column, (None, ()))
            better = values[reading.sample] if formula is not None else None
            if choice.values == "corrected" and formula is None:
                continue
            places = coarse.get(reading.column)
            value = reading.value if places is None else places[reading.sample]
            row = REGISTRY.get(reading.quantity)
            yield Row(
                node,
                name,
                date_time(stamp.unix_ms) if stamp else None,
                stamp.error_ms if stamp else None,
                row.name if row else f"quantity_{reading.quantity}",
                reading.instance,
                reading.band,
                better if choice.values == "corrected" else value,
                row.unit if row else "",
                quality_name(reading.quality),
                better if choice.values == "both" else None,
                formula if choice.values != "raw" else None,
                reading.boot,
                reading.seq,
                reading.sample,
            )

    def _changed(
        self, node: int, sections: Sequence[Samples]
    ) -> tuple[dict[int, tuple[str, Sequence[float | None]]], dict[int, list[float | None]]]:
        """Corrected columns and coarse positions, by the column's number in the frame."""
        corrected: dict[int, tuple[str, Sequence[float | None]]] = {}
        coarse: dict[int, list[float | None]] = {}
        first = 0
        for samples in sections:
            if self._choice.values != "raw":
                for index, (formula, values) in self._corrections.apply(node, samples).items():
                    corrected[first + index] = formula, values
            for index, places in self._places(node, samples).items():
                coarse[first + index] = places
            first += len(samples.columns)
        return corrected, coarse

    def _places(self, node: int, samples: Samples) -> dict[int, list[float | None]]:
        """Position columns as they may be told; None where a coordinate alone is not known."""
        told: dict[int, list[float | None]] = {}
        by_instance: dict[int, dict[int, int]] = {}
        for index, column in enumerate(samples.columns):
            if column.quantity in PLACE_QUANTITIES:
                told[index] = [None] * len(samples.times_ms)
                if not column.bands:
                    by_instance.setdefault(column.instance, {})[column.quantity] = index
        for found in by_instance.values():
            if LATITUDE not in found or LONGITUDE not in found:
                continue
            for sample in range(len(samples.times_ms)):
                place = self._place(node, samples, found, sample)
                if place is not None:
                    for quantity, index in found.items():
                        told[index][sample] = place[PLACE_QUANTITIES.index(quantity)]
        return told

    def _place(
        self, node: int, samples: Samples, found: Mapping[int, int], sample: int
    ) -> Place | None:
        latitude, longitude, elevation_m = (
            _coordinate(samples.columns[found[quantity]], sample) if quantity in found else None
            for quantity in PLACE_QUANTITIES
        )
        if latitude is None or longitude is None:
            return None
        info = self._registry.get(node)
        return place_told(info, Place(latitude, longitude, elevation_m), self._choice.grid_m)


def _coordinate(column: Column, sample: int) -> float | None:
    if column.qualities and column.qualities[sample] == QUALITY_MISSING:
        return None
    return REGISTRY[column.quantity].value(column.values[sample], column.exponent)


def _within(unix_ms: int | None, choice: Choice) -> bool:
    if unix_ms is None:
        return choice.from_ms is None and choice.to_ms is None
    if choice.from_ms is not None and unix_ms < choice.from_ms:
        return False
    return choice.to_ms is None or unix_ms < choice.to_ms
