"""means and levels: hours and days for people who do not want every reading."""

import zoneinfo
from dataclasses import replace
from pathlib import Path

import click

from collector.commands.common import Number, config_option, fail, load_config
from collector.commands.nodes import find_node, open_nodes
from collector.commands.output import (
    file_argument,
    format_option,
    holds,
    kind_of,
    quantity_ids,
    range_of,
    require_overlap,
    require_some,
    tell,
    write,
)
from collector.commands.tables import progress_bar
from collector.nodes import NodeRegistry
from collector.operate.export_means import LEVEL_SHAPE, MEAN_SHAPE, MeansChoice, MeansExporter
from collector.operate.row_files import ExportError
from collector.readings.corrections import NodeCorrections, bind
from collector.settings import Config
from collector.storage.archive_view import NoArchive, open_view

node_option = click.option("--node", "nodes", multiple=True, help="Only this node; repeatable.")
from_option = click.option("--from", "start", help="From the day of this time on.")
to_option = click.option("--to", "end", help="Until the day before or of this time.")
zone_option = click.option("--zone", help="Time zone of the days.  [default: the configuration's]")


@click.command()
@file_argument
@format_option
@click.option("--period", type=click.Choice(["hour", "day"]), default="hour", show_default=True)
@node_option
@click.option("--quantity", "quantities", multiple=True, help="Only this quantity; repeatable.")
@from_option
@to_option
@click.option("--values", type=click.Choice(["raw", "corrected"]), default="raw", show_default=True)
@click.option(
    "--coverage",
    "coverage_percent",
    type=Number(0, 100),
    default=75,
    show_default=True,
    help="Share of the period that values must cover for its mean to be given.",
)
@zone_option
@config_option
def means(
    file: Path,
    kind: str | None,
    period: str,
    nodes: tuple[str, ...],
    quantities: tuple[str, ...],
    start: str | None,
    end: str | None,
    values: str,
    coverage_percent: float,
    zone: str | None,
    config_file: Path,
) -> None:
    """Write means of hours or days to FILE; - is standard output.

    Only readings of quality ok count. Levels are averaged by energy. A mean of too little is
    empty: an hour needs values for --coverage of it, a day as much of its hours.

    \b
    Example:
      osn-collector means plaza.csv --node Plaza --period day --quantity pm2_5
      osn-collector means - --values corrected --from 2026-03-01 --zone Europe/Madrid
    """
    config = load_config(config_file)
    registry, _ = open_nodes(config)
    kind = kind_of(file, kind)
    choice = _choice(config, registry, nodes, quantities, start, end, zone)
    choice = replace(choice, corrected=values == "corrected", coverage_min=coverage_percent / 100)
    corrections = NodeCorrections([bind(each) for each in config.corrections], registry)
    try:
        with open_view(config) as view, progress_bar("averaging") as advance:
            require_overlap(view, choice.nodes, choice.from_ms, choice.to_ms)
            exporter = MeansExporter(view, registry, corrections, choice)
            rows = exporter.means("day" if period == "day" else "hour", advance)
            given = require_some(view, choice.nodes, rows, exporter.remarks)
            written = write(given, MEAN_SHAPE, kind, file)
    except (NoArchive, ExportError) as error:
        fail(str(error))
    tell(exporter.remarks)
    click.echo(f"{written} means", err=True)


@click.command()
@file_argument
@format_option
@node_option
@from_option
@to_option
@zone_option
@config_option
def levels(
    file: Path,
    kind: str | None,
    nodes: tuple[str, ...],
    start: str | None,
    end: str | None,
    zone: str | None,
    config_file: Path,
) -> None:
    """Write Lday, Levening, Lnight and Lden of each day to FILE; - is standard output.

    A level is empty when less than 70 % of its part of the day was heard, and Lden when one of the
    three is.

    \b
    Example:
      osn-collector levels - --node Plaza --zone Europe/Madrid
    """
    config = load_config(config_file)
    registry, _ = open_nodes(config)
    kind = kind_of(file, kind)
    choice = _choice(config, registry, nodes, (), start, end, zone)
    try:
        with open_view(config) as view, progress_bar("averaging") as advance:
            require_overlap(view, choice.nodes, choice.from_ms, choice.to_ms)
            exporter = MeansExporter(view, registry, NodeCorrections([], registry), choice)
            written = write(exporter.levels(advance), LEVEL_SHAPE, kind, file)
            if not written:
                click.echo(f"no LAeq was measured; {holds(view, choice.nodes)}", err=True)
    except (NoArchive, ExportError) as error:
        fail(str(error))
    tell(exporter.remarks)
    click.echo(f"{written} days", err=True)


def _choice(
    config: Config,
    registry: NodeRegistry,
    nodes: tuple[str, ...],
    quantities: tuple[str, ...],
    start: str | None,
    end: str | None,
    zone: str | None,
) -> MeansChoice:
    from_ms, to_ms = range_of(start, end)
    try:
        return MeansChoice(
            zone=zoneinfo.ZoneInfo(zone or config.collector.zone),
            nodes=frozenset(find_node(registry, text) for text in nodes),
            quantities=quantity_ids(quantities),
            from_ms=from_ms,
            to_ms=to_ms,
        )
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        fail(f"{zone!r} is not a time zone such as Europe/Madrid")
