"""sinks: what each network is sent, and its entities there."""

import asyncio
from pathlib import Path

import click

from collector import grid
from collector.commands.common import config_option, fail, load_config
from collector.commands.nodes import open_nodes
from collector.commands.output import range_of
from collector.commands.tables import show_table
from collector.nodes import NodeRegistry
from collector.operate.control import ControlError, NotRunning, ask
from collector.ownership import acting_as_owner
from collector.readings.observation import PublicNode
from collector.readings.privacy import SinkAudience
from collector.settings import Config, SinkEntry
from collector.storage.archive_view import NoArchive, open_view


@click.group()
def sinks() -> None:
    """Explain, provision and replay networks."""


@sinks.command()
@click.argument("name", required=False)
@config_option
@click.option("--all", "every", is_flag=True, help="Also quantities that no node has sent.")
def explain(name: str | None, config_file: Path, every: bool) -> None:
    """Show what each channel is called at a network, and which cannot be sent there."""
    from collector.forward.provisioning import channels_sent
    from collector.forward.provisioning import explain as explain_sink
    from collector.sinks import build_sink
    from collector.sinks.base import MemoryIds

    config = load_config(config_file)
    registry, _ = open_nodes(config)
    for entry in _chosen(config, name):
        public = public_nodes(entry, registry)
        channels = [] if every else channels_sent(config, public)
        sink = build_sink(entry.kind, entry.name, entry.config, MemoryIds())
        rows = explain_sink(sink, public, channels)
        show_table(
            f"{entry.name} ({entry.kind})",
            ("node", "channel", "name there"),
            [(row.node, row.channel, row.upstream or "- not sent") for row in rows],
        )
        click.echo(places_line(entry))
        click.echo()


@sinks.command()
@click.argument("name")
@config_option
@click.option("--dry-run", is_flag=True, help="Say what would be created; ask nobody.")
def provision(name: str, config_file: Path, dry_run: bool) -> None:
    """Create or find again the entities that a network needs; ids are kept in the archive.

    \b
    Example:
      osn-collector sinks provision city --dry-run
    """
    from collector.forward.provisioning import provision_sink
    from collector.sinks.base import SinkError

    config = load_config(config_file)
    registry, _ = open_nodes(config)
    (entry,) = _chosen(config, name)
    try:
        with acting_as_owner(config.collector.data):
            lines = asyncio.run(
                provision_sink(config, entry, public_nodes(entry, registry), dry_run=dry_run)
            )
    except (SinkError, NoArchive) as error:
        fail(f"{name}: {error}")
    for line in lines:
        click.echo(line)
    click.echo(f"{len(lines)} entities" + (" would be there" if dry_run else ""))


@sinks.command()
@click.argument("name")
@click.option("--from", "start", required=True, help="Frames received from this time on.")
@click.option("--to", "end", required=True, help="Frames received before this time.")
@config_option
@click.confirmation_option(prompt="Send these readings to the network again?")
def replay(name: str, start: str, end: str, config_file: Path) -> None:
    """Send what was received between two times to a network again.

    Networks that know a reading's identity replace it; others will have it twice.
    """
    config = load_config(config_file)
    _chosen(config, name)
    from_ms, to_ms = range_of(start, end)
    try:
        with open_view(config) as view:
            first, last = view.connection.execute(
                "SELECT min(id), max(id) FROM frame WHERE received >= ? AND received < ?",
                (from_ms, to_ms),
            ).fetchone()
        if first is None:
            fail("nothing was received then")
        answer = ask(config.collector.data, "replay", sink=name, first=first, last=last)
    except (NoArchive, NotRunning, ControlError) as error:
        fail(str(error))
    click.echo(f"{answer['frames']} frames go out again")


def places_line(entry: SinkEntry) -> str:
    """How a network is told where nodes stand."""
    wish_m = entry.privacy.grid_m
    if not wish_m:
        return "places: each node's own cell (`osn-collector nodes set --cell-m`)"
    size_m = grid.size_for(wish_m)
    return f"places: cells of {size_m} m (grid_m = {wish_m}), larger where the node's own is"


def public_nodes(entry: SinkEntry, registry: NodeRegistry) -> list[PublicNode]:
    """The nodes that a network may know, as it may know them."""
    audience = SinkAudience(registry, entry.privacy.grid_m, entry.nodes)
    seen = (audience.node(info.node) for info in registry)
    return [node for node in seen if node is not None]


def _chosen(config: Config, name: str | None) -> list[SinkEntry]:
    found = [entry for entry in config.sinks if name is None or entry.name == name]
    if not found:
        known = ", ".join(entry.name for entry in config.sinks) or "none"
        fail(f"no sink {name!r} is configured; known are: {known}")
    return found
