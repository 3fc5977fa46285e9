"""Rows into files that everybody can open: CSV, JSON lines, SQLite, Parquet."""

import csv
import importlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeAlias, get_args, get_type_hints

ROWS_AT_ONCE = 50_000
FORMATS = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".parquet": "parquet",
}
"""What a file's ending says about its form."""

Row: TypeAlias = tuple[object, ...]
Write = Callable[[Sequence[Row]], None]
_FORMULA = re.compile(r"[;\t\n](?=[\t ]*[=+\-@\uff1d\uff0b\uff0d\uff20]| *\t)")
"""A cell's begin (after a line's end) before what spreadsheets compute; also in full width."""
_ARROW = {str: "string", int: "int64", float: "float64"}


@dataclass(frozen=True, slots=True)
class RowShape:
    """A table's name, its columns with the kinds of their values, and the column of time."""

    table: str
    kinds: Mapping[str, type]
    time: str

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(self.kinds)


class ExportError(RuntimeError):
    """The export cannot be made; the message says why."""


def kinds_of(row: type) -> dict[str, type]:
    """The columns of a NamedTuple, each with the kind of value that it holds beside None."""
    kinds = {}
    for name, hint in get_type_hints(row).items():
        given = [kind for kind in (get_args(hint) or (hint,)) if kind is not type(None)]
        kinds[name] = given[0]
    return kinds


def write_file(rows: Iterator[Row], shape: RowShape, kind: str, file: Path) -> int:
    """Writes a new file of a kind that FORMATS names; returns how many rows it has."""
    with new_file(file) as unfinished:
        if kind == "sqlite":
            return _write_all(rows, _sqlite_writer(unfinished, shape))
        if kind == "parquet":
            return _write_all(rows, _parquet_writer(unfinished, shape))
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            return write_stream(rows, shape, kind, stream)


def write_stream(rows: Iterator[Row], shape: RowShape, kind: str, stream: TextIO) -> int:
    """Writes csv or jsonl to an open stream; returns how many rows."""
    writer = _csv_writer if kind == "csv" else _json_writer
    return _write_all(rows, writer(stream, shape))


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A name to write to, renamed to `target` when all went well. ExportError when it exists."""
    if target.exists():
        raise ExportError(f"{target} exists; give the name of a new file")
    if not target.absolute().parent.is_dir():
        raise ExportError(f"no folder {target.parent}; make it, or give another")
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _csv_writer(stream: TextIO, shape: RowShape) -> Iterator[Write]:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(shape.names)
    texts = [place for place, kind in enumerate(shape.kinds.values()) if kind is str]

    def write(rows: Sequence[Row]) -> None:
        for place in texts:
            if _has_formula({row[place] for row in rows}):
                rows = [_with_inert(row, place) for row in rows]
        writer.writerows(rows)

    yield write


def _has_formula(texts: Iterable[object]) -> bool:
    lines = "\n".join(text for text in texts if isinstance(text, str))
    return "\r" in lines or _FORMULA.search("\n" + lines) is not None


def _with_inert(row: Row, place: int) -> Row:
    text = row[place]
    cell = inert(text) if isinstance(text, str) else text
    return *row[:place], cell, *row[place + 1 :]


def inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula: with an apostrophe before what begins one.

    Also behind a semicolon or a tab, at which some spreadsheets cut a cell of commas in two. A
    carriage return, at which readers begin a new line, becomes a space.
    """
    return _FORMULA.sub(r"\g<0>'", "\n" + text.replace("\r", " "))[1:]


@contextmanager
def _json_writer(stream: TextIO, shape: RowShape) -> Iterator[Write]:
    def write(rows: Sequence[Row]) -> None:
        for row in rows:
            named = dict(zip(shape.names, row, strict=True))
            stream.write(json.dumps(named, ensure_ascii=False) + "\n")

    yield write


@contextmanager
def _sqlite_writer(file: Path, shape: RowShape) -> Iterator[Write]:
    """One table with an index by node, quantity (where there is one) and time."""
    try:
        connection = sqlite3.connect(file, isolation_level=None)
    except sqlite3.Error as error:
        raise ExportError(f"{file}: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(f"CREATE TABLE {shape.table} ({', '.join(shape.names)})")
        connection.execute("BEGIN")
        marks = ", ".join("?" * len(shape.names))

        def write(rows: Sequence[Row]) -> None:
            connection.executemany(f"INSERT INTO {shape.table} VALUES ({marks})", rows)

        yield write
        index = [name for name in ("node", "quantity", shape.time) if name in shape.names]
        connection.execute(f"CREATE INDEX by_time ON {shape.table} ({', '.join(index)})")
        connection.execute("COMMIT")
    finally:
        connection.close()


@contextmanager
def _parquet_writer(file: Path, shape: RowShape) -> Iterator[Write]:
    """Needs the extra `parquet`."""
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ExportError(
            "Parquet needs pyarrow: install opencities-osn[parquet] (no wheel for 32-bit ARM)"
        ) from error
    schema = pyarrow.schema(
        [(name, getattr(pyarrow, _ARROW[kind])()) for name, kind in shape.kinds.items()]
    )
    with parquet.ParquetWriter(file, schema) as writer:

        def write(rows: Sequence[Row]) -> None:
            columns = dict(zip(shape.names, zip(*rows, strict=True), strict=True))
            writer.write_table(pyarrow.table(columns, schema=schema))

        yield write


def _write_all(rows: Iterator[Row], writer: AbstractContextManager[Write]) -> int:
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
