"""Where exports go: a new file, or standard output."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from collector.commands.common import fail
from collector.operate.row_files import FORMATS, Row, RowShape, write_file, write_stream

file_argument = click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
format_option = click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "jsonl", "sqlite", "parquet"]),
    help="Form of the file.  [default: by its ending; csv for -]",
)


def kind_of(file: Path, kind: str | None) -> str:
    """The form that was asked for, or that the file's ending says."""
    if str(file) == "-":
        kind = kind or "csv"
        if kind not in ("csv", "jsonl"):
            fail(f"{kind} needs a file")
    found = kind or FORMATS.get(file.suffix)
    if found is None:
        fail(f"{file}: say --format, or end the name in {', '.join(FORMATS)}")
    return found


def write(rows: Iterator[Row], shape: RowShape, kind: str, file: Path) -> int:
    """Writes rows to a new file or, for -, to standard output; returns how many."""
    if str(file) == "-":
        return write_stream(rows, shape, kind, sys.stdout)
    return write_file(rows, shape, kind, file)
