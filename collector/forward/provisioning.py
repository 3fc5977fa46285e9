"""What a network would be sent, and its entities there: for the operator's commands."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from collector.archive import archive
from collector.archive.decoding import why_undecoded
from collector.archive.inline_writer import InlineWriter
from collector.forward.feeding import ArchiveIds, decode_samples, known_ids
from collector.readings.observation import Channel, PublicNode
from collector.readings.rendering import Undecodable, channels_of
from collector.settings import Config, SinkEntry
from collector.sinks import build_sink
from collector.sinks.base import MemoryIds, Sink
from collector.storage.archive_view import NoArchive, open_view
from protocol import wire
from protocol.registry import REGISTRY

SAMPLE_FRAMES = 2_000
FIRST_BAND = 13


class Explanation(NamedTuple):
    """One channel at one sink: what it is called there, None when it cannot be sent."""

    node: str
    channel: str
    upstream: str | None


def _registry_channels(node: PublicNode) -> list[Channel]:
    """A channel for each quantity of the registry, as this node might have it."""
    return [
        Channel(node, row, band=FIRST_BAND if row.shape == "bands" else None)
        for row in REGISTRY.values()
        if row.kind != "time"
    ]


def explain(
    sink: Sink, nodes: Sequence[PublicNode], channels: Sequence[Channel] = ()
) -> list[Explanation]:
    """What a sink calls every channel, of the registry or of those given."""
    asked = channels or [channel for node in nodes for channel in _registry_channels(node)]
    return [
        Explanation(channel.node.name, channel.key, sink.upstream_name(channel))
        for channel in asked
    ]


def channels_sent(config: Config, nodes: Sequence[PublicNode]) -> list[Channel]:
    """Channels that these nodes have sent lately, as the archive holds them; may be none."""
    by_link = {node.link: node for node in nodes}
    found: dict[tuple[int, str], Channel] = {}
    try:
        with open_view(config) as view:
            newest = archive.newest_id(view.connection)
            first = max(1, newest - SAMPLE_FRAMES + 1)
            for frame in archive.frames(view.connection, first, newest, SAMPLE_FRAMES):
                if frame.node not in by_link or frame.type != wire.T_DATA or why_undecoded(frame):
                    continue
                with suppress(Undecodable):
                    for channel in channels_of(decode_samples(frame.raw), by_link[frame.node]):
                        found.setdefault((frame.node, channel.key), channel)
    except NoArchive:
        return []
    return list(found.values())


async def provision_sink(
    config: Config, entry: SinkEntry, nodes: Sequence[PublicNode], *, dry_run: bool
) -> Sequence[str]:
    """Creates or finds a sink's entities upstream and keeps their ids; a line for each."""
    channels = channels_sent(config, nodes)
    settings = config.collector
    if dry_run:
        sink = build_sink(entry.kind, entry.name, entry.config, MemoryIds())
        return await provision(sink, nodes, channels, dry_run=True)
    if not settings.archive.exists():
        raise NoArchive(f"{settings.archive}: no archive yet; start the collector first")
    writer = InlineWriter(lambda: archive.open_archive(settings.archive))
    try:
        ids = await known_ids(writer, [entry.name])
        store = ArchiveIds(writer, entry.name, ids[entry.name])
        sink = build_sink(entry.kind, entry.name, entry.config, store)
        return await provision(sink, nodes, channels, dry_run=False)
    finally:
        await writer.close()


async def provision(
    sink: Sink, nodes: Sequence[PublicNode], channels: Sequence[Channel], *, dry_run: bool
) -> Sequence[str]:
    """Creates or finds again what a sink needs upstream; returns a line for each entity.

    A dry run asks nothing of the network. Raises SinkError.
    """
    named = [channel for channel in channels if sink.upstream_name(channel) is not None]
    lines = sink.plan(named)
    if not dry_run:
        try:
            await sink.prepare(nodes)
            await sink.provision(named)
            lines = sink.plan(named)
        finally:
            await sink.close()
    return lines
