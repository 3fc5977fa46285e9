"""export: readings for everybody's tools."""

from pathlib import Path
from typing import cast

import click

from collector.commands.common import config_option, fail, load_config
from collector.commands.nodes import find_node, open_nodes
from collector.commands.output import (
    format_option,
    kind_of,
    quantity_ids,
    range_of,
    require_overlap,
    require_some,
    tell,
    write,
)
from collector.commands.tables import progress_bar
from collector.operate.export import SHAPE, Choice, Exporter, Values
from collector.operate.row_files import ExportError
from collector.readings.corrections import NodeCorrections, bind
from collector.storage.archive_view import NoArchive, open_view


@click.command()
@click.argument(
    "file", required=False, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@format_option
@click.option(
    "--sqlite",
    "sqlite_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The same as FILE --format sqlite.",
)
@click.option("--node", "nodes", multiple=True, help="Only this node; may be repeated.")
@click.option("--quantity", "quantities", multiple=True, help="Only this quantity; repeatable.")
@click.option("--from", "start", help="Not before this time (UTC unless it says otherwise).")
@click.option("--to", "end", help="Before this time.")
@click.option(
    "--values",
    type=click.Choice(["raw", "corrected", "both"]),
    default="raw",
    show_default=True,
    help="Raw, corrected by the configuration's formulas (those readings only), or both.",
)
@click.option(
    "--grid-m",
    type=click.IntRange(0, 100_000),
    default=0,
    help="Positions of mobile nodes in cells of at least this size.  [default: each node's own]",
)
@config_option
def export(
    file: Path | None,
    kind: str | None,
    sqlite_file: Path | None,
    nodes: tuple[str, ...],
    quantities: tuple[str, ...],
    start: str | None,
    end: str | None,
    values: str,
    grid_m: int,
    config_file: Path,
) -> None:
    """Write readings to FILE, one a row; - is standard output.

    \b
    Example:
      osn-collector export plaza.csv --node Plaza --quantity pm2_5 --from 2026-03-01
      osn-collector export - --format jsonl --values both
    """
    config = load_config(config_file)
    registry, _ = open_nodes(config)
    if sqlite_file is not None:
        if file is not None or kind is not None:
            fail("--sqlite FILE stands alone: no other file, no --format")
        file, kind = sqlite_file, "sqlite"
    if file is None:
        fail("give a file, or - for standard output")
    kind = kind_of(file, kind)
    from_ms, to_ms = range_of(start, end)
    choice = Choice(
        nodes=frozenset(find_node(registry, text) for text in nodes),
        quantities=quantity_ids(quantities),
        from_ms=from_ms,
        to_ms=to_ms,
        values=cast(Values, values),
        grid_m=grid_m,
    )
    corrections = NodeCorrections([bind(each) for each in config.corrections], registry)
    try:
        with open_view(config) as view, progress_bar("exporting") as advance:
            require_overlap(view, choice.nodes, from_ms, to_ms)
            exporter = Exporter(view, registry, corrections, choice)
            rows = require_some(view, choice.nodes, exporter.rows(advance), exporter.remarks)
            written = write(rows, SHAPE, kind, file)
    except (NoArchive, ExportError) as error:
        fail(str(error))
    tell(exporter.remarks)
    click.echo(f"{written} readings", err=True)
