"""Readings as rows in files that everybody can open: CSV, JSON lines, SQLite, Parquet.

Times are computed and corrections applied while reading. Positions of mobile nodes are told as
cells of a grid, as to a network; raw frames, which hold them exactly, are not exported.
"""

import csv
import importlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO, TypeAlias

from collector.archive import archive
from collector.archive.archive import CONFLICT, StoredFrame
from collector.archive.archive_view import ArchiveView, node_name
from collector.nodes import NodeRegistry
from collector.operate.times import show_time
from collector.readings.corrections import NodeCorrections
from collector.readings.observation import Place, quality_name
from collector.readings.privacy import cell_centre
from protocol import wire
from protocol.columns import Samples
from protocol.decoder import decode
from protocol.reading import readings
from protocol.registry import REGISTRY, by_name
from protocol.wire import FrameError

Values: TypeAlias = Literal["raw", "corrected", "both"]
Progress = Callable[[int, int], None]

FRAMES_AT_ONCE = 2_000
ROWS_AT_ONCE = 50_000
LATITUDE, LONGITUDE, ALTITUDE = (by_name(n).id for n in ("latitude", "longitude", "altitude"))


class ExportError(RuntimeError):
    """The export cannot be made; the message says why."""


class Row(NamedTuple):
    """One reading; `time` is None for a boot that has no time yet."""

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


@dataclass(frozen=True, slots=True)
class Choice:
    """Which readings; empty or None means all. `grid_m` is for positions of mobile nodes."""

    nodes: frozenset[int] = frozenset()
    quantities: frozenset[int] = frozenset()
    from_ms: int | None = None
    to_ms: int | None = None
    values: Values = "raw"
    grid_m: int = 1_000


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
            last_ms = choice.to_ms if choice.to_ms is not None else 1 << 46
            for node in sorted(choice.nodes) or self._view.nodes():
                yield from self._view.between(node, choice.from_ms or 0, last_ms)
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
            decoded = decode(frame.raw)
        except FrameError:
            return
        choice = self._choice
        node, name = f"{frame.node:08x}", node_name(self._registry, frame.node)
        corrected, coarse = self._changed(frame.node, decoded.samples)
        for reading in readings(decoded):
            if choice.quantities and reading.quantity not in choice.quantities:
                continue
            stamp = self._view.timeline.time_of(frame.node, frame.boot, reading.uptime_ms)
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
                show_time(stamp.unix_ms) if stamp else None,
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
            if self._choice.grid_m:
                for index, places in _coarse(samples, self._choice.grid_m).items():
                    coarse[first + index] = places
            first += len(samples.columns)
        return corrected, coarse


def _coarse(samples: Samples, grid_m: int) -> dict[int, list[float | None]]:
    """Positions of one section on the grid; None where a coordinate alone is not known."""
    at = {column.quantity: index for index, column in enumerate(samples.columns)}
    found = {q: at[q] for q in (LATITUDE, LONGITUDE, ALTITUDE) if q in at}
    if not found:
        return {}
    places: dict[int, list[float | None]] = {index: [] for index in found.values()}
    for sample in range(len(samples.times_ms)):
        exact = {
            q: REGISTRY[q].value(
                samples.columns[index].values[sample], samples.columns[index].exponent
            )
            for q, index in found.items()
        }
        cell = None
        if LATITUDE in exact and LONGITUDE in exact:
            place = Place(exact[LATITUDE], exact[LONGITUDE], exact.get(ALTITUDE))
            if abs(place.latitude) <= 90:
                cell = cell_centre(place, grid_m)
        for position, quantity in enumerate((LATITUDE, LONGITUDE, ALTITUDE)):
            if quantity in found:
                places[found[quantity]].append(None if cell is None else cell[position])
    return places


def _within(unix_ms: int | None, choice: Choice) -> bool:
    if unix_ms is None:
        return choice.from_ms is None and choice.to_ms is None
    if choice.from_ms is not None and unix_ms < choice.from_ms:
        return False
    return choice.to_ms is None or unix_ms < choice.to_ms


Write = Callable[[Sequence[Row]], None]


@contextmanager
def csv_writer(stream: TextIO) -> Iterator[Write]:
    """Comma-separated values with a header; None is empty."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(Row._fields)
    yield writer.writerows


@contextmanager
def json_writer(stream: TextIO) -> Iterator[Write]:
    """An object a line."""

    def write(rows: Sequence[Row]) -> None:
        for row in rows:
            stream.write(json.dumps(row._asdict(), ensure_ascii=False) + "\n")

    yield write


@contextmanager
def sqlite_writer(file: Path) -> Iterator[Write]:
    """A table `reading` with an index by node, quantity and time."""
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(f"CREATE TABLE reading ({', '.join(Row._fields)})")
        connection.execute("BEGIN")
        marks = ", ".join("?" * len(Row._fields))

        def write(rows: Sequence[Row]) -> None:
            connection.executemany(f"INSERT INTO reading VALUES ({marks})", rows)

        yield write
        connection.execute("CREATE INDEX reading_by_time ON reading (node, quantity, time)")
        connection.execute("COMMIT")
    finally:
        connection.close()


@contextmanager
def parquet_writer(file: Path) -> Iterator[Write]:
    """Apache Parquet; needs the extra `parquet`."""
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ExportError(
            "Parquet needs pyarrow: install opencities-osn[parquet] (no wheel for 32-bit ARM)"
        ) from error
    kinds: dict[str, Any] = {
        "error_ms": pyarrow.int64(),
        "instance": pyarrow.uint8(),
        "band": pyarrow.uint8(),
        "value": pyarrow.float64(),
        "corrected": pyarrow.float64(),
        "boot": pyarrow.uint32(),
        "seq": pyarrow.uint32(),
        "sample": pyarrow.uint8(),
    }
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in Row._fields])
    with parquet.ParquetWriter(file, schema) as writer:

        def write(rows: Sequence[Row]) -> None:
            columns = dict(zip(Row._fields, zip(*rows, strict=True), strict=True))
            writer.write_table(pyarrow.table(columns, schema=schema))

        yield write


def write_all(rows: Iterator[Row], writer: AbstractContextManager[Write]) -> int:
    """Writes rows in groups; returns how many."""
    written = 0
    with writer as write:
        group: list[Row] = []
        for row in rows:
            group.append(row)
            if len(group) >= ROWS_AT_ONCE:
                write(group)
                written += len(group)
                group.clear()
        if group:
            write(group)
        written += len(group)
    return written


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A name to write to, renamed to `target` when all went well. ExportError when it exists."""
    if target.exists():
        raise ExportError(f"{target} exists; give the name of a new file")
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
