"""Where exports go: a new file, or standard output."""

import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import click

from collector.archive import archive
from collector.archive.decoding import decode_stored
from collector.commands.common import fail, hint
from collector.operate.remarks import Remarks
from collector.operate.row_files import FORMATS, Row, RowShape, write_file, write_stream
from collector.operate.times import parse_range, show_time
from collector.storage.archive_view import ArchiveView
from protocol import wire
from protocol.registry import REGISTRY
from protocol.wire import FrameError

FRAMES_LATELY = 2_000

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


def range_of(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """What --from and --to say, in Unix ms; ends the command when they cannot be meant."""
    try:
        return parse_range(start, end)
    except ValueError as error:
        fail(str(error))


def require_overlap(
    view: ArchiveView, nodes: Collection[int], from_ms: int | None, to_ms: int | None
) -> None:
    """Ends the command when nothing of the nodes (none: of all) can lie in the chosen time.

    What has no time cannot be chosen by time; it is counted on the standard error stream.
    """
    if from_ms is None and to_ms is None:
        return
    chosen = sorted(nodes) or view.nodes()
    undated = sum(boot.frames for node in chosen for boot in view.undated(node))
    if undated:
        click.echo(f"{undated} frames have no time yet and are left out", err=True)
    span = view.span(chosen)
    if span is None:
        fail("nothing here has a time yet, so nothing can be chosen by time")
    first_ms, last_ms = span
    if (to_ms is not None and to_ms <= first_ms) or (from_ms is not None and from_ms > last_ms):
        fail(
            f"nothing was measured then: the archive holds "
            f"{show_time(first_ms)} to {show_time(last_ms)}"
        )


def quantity_ids(names: Iterable[str]) -> frozenset[int]:
    """The numbers of quantities; ends the command at a name that there is not."""
    ids = {quantity.name: number for number, quantity in REGISTRY.items()}
    for name in names:
        if name not in ids:
            fail(f"{name!r} is not a quantity of the registry{hint(name, ids)}")
    return frozenset(ids[name] for name in names)


def require_some(
    view: ArchiveView,
    nodes: Collection[int],
    rows: Iterator[Row],
    remarks: Remarks,
) -> Iterator[Row]:
    """The rows; ends the command before a file is begun when there is none."""
    first = next(rows, None)
    if first is None:
        tell(remarks)
        fail(f"nothing fits what was chosen; {holds(view, nodes)}")
    return chain((first,), rows)


def holds(view: ArchiveView, nodes: Collection[int]) -> str:
    """Which quantities the nodes (none: all) have sent lately, as words."""
    newest = archive.newest_id(view.connection)
    start = max(1, newest - FRAMES_LATELY + 1)
    found: set[str] = set()
    for frame in archive.frames(view.connection, start, newest, FRAMES_LATELY):
        if frame.type != wire.T_DATA or (nodes and frame.node not in nodes):
            continue
        with suppress(FrameError):
            columns = [c for section in decode_stored(frame).samples for c in section.columns]
            found |= {REGISTRY[c.quantity].name for c in columns if c.quantity in REGISTRY}
    return f"the archive holds {', '.join(sorted(found)) or 'no readings of that'}"


def tell(remarks: Remarks) -> None:
    """Says on the error side what a command passed over."""
    for line in remarks.lines():
        click.echo(line, err=True)


def write(rows: Iterator[Row], shape: RowShape, kind: str, file: Path) -> int:
    """Writes rows to a new file or, for -, to standard output; returns how many."""
    if str(file) == "-":
        if sys.stdout is None:
            fail("standard output is closed; give a file")
        written = write_stream(rows, shape, kind, sys.stdout)
        sys.stdout.flush()
        return written
    return write_file(rows, shape, kind, file)
