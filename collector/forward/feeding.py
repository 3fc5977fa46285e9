"""Forwarders out of the configuration: what each network may know, and how it is fed."""

import random
import sqlite3
from collections.abc import Iterable, Mapping

from collector.archive.writer import Writer
from collector.clock import Clock
from collector.forward import book_tables
from collector.forward.forwarder import Forwarder
from collector.forward.selection import policy_of
from collector.nodes import NodeRegistry
from collector.readings.corrections import NodeCorrections, bind
from collector.readings.privacy import SinkAudience
from collector.readings.rendering import DecodedFrames, Renderer, Samples, Undecodable
from collector.settings import Config, SinkEntry
from collector.sinks import build_sink
from collector.sinks.base import DeliverySettings, Sink
from collector.storage.storage import Storage
from collector.timeline.frozen_time import FrozenTimes
from protocol.decoder import decode
from protocol.wire import FrameError


class ArchiveIds:
    """The ids that one network gave to our entities, kept in the archive."""

    def __init__(self, writer: Writer, sink: str, known: Mapping[str, str]) -> None:
        self._writer = writer
        self._sink = sink
        self._ids = dict(known)

    def get(self, key: str) -> str | None:
        """The id kept under this key, or None."""
        return self._ids.get(key)

    async def put(self, ids: Mapping[str, str]) -> None:
        """Keeps ids; returns when they are committed."""
        kept = dict(ids)
        await self._writer.write(
            lambda connection: book_tables.keep_ids(connection, self._sink, kept), urgent=True
        )
        self._ids.update(kept)


def decode_samples(raw: bytes) -> tuple[Samples, ...]:
    """A frame's SAMPLES sections; Undecodable for what this version cannot read."""
    try:
        return decode(raw).samples
    except FrameError as error:
        raise Undecodable(error.reason) from error


async def known_ids(writer: Writer, sinks: Iterable[str]) -> dict[str, dict[str, str]]:
    """Upstream ids of these sinks; makes the tables of the sinks' books when they are missing."""
    names = list(sinks)

    def operation(connection: sqlite3.Connection) -> dict[str, dict[str, str]]:
        book_tables.create(connection)
        return {name: book_tables.ids(connection, name) for name in names}

    return await writer.write(operation, urgent=True)


async def open_forwarders(
    config: Config,
    storage: Storage,
    nodes: NodeRegistry,
    clock: Clock,
    ready: Mapping[str, Sink] | None = None,
    chance: random.Random | None = None,
) -> list[Forwarder]:
    """One forwarder for each enabled sink; `ready` has sinks that are made already, by name.

    `chance` spreads waiting times; a simulation hands in a seeded one.
    """
    entries = [entry for entry in config.sinks if entry.enabled]
    entries += [SinkEntry("", name, None) for name in ready or {}]
    ids = await known_ids(storage.writer, [entry.name for entry in entries])
    decoded = DecodedFrames(decode_samples)
    frozen = FrozenTimes(storage.timeline)
    corrections = NodeCorrections([bind(each) for each in config.corrections], nodes)
    forwarders = []
    for entry in entries:
        if ready and entry.name in ready:
            sink = ready[entry.name]
        else:
            store = ArchiveIds(storage.writer, entry.name, ids[entry.name])
            sink = build_sink(entry.kind, entry.name, entry.config, store)
        settings = entry.config.delivery if entry.config is not None else DeliverySettings()
        policy = policy_of(settings, sink.capabilities)
        audience = SinkAudience(nodes, entry.privacy.grid_m, entry.nodes)
        renderer = Renderer(
            decoded,
            audience,
            sink.upstream_name,
            policy.qualities,
            corrections if entry.corrected else None,
        )
        public = [seen for info in nodes if (seen := audience.node(info.node)) is not None]
        forwarders.append(
            Forwarder(
                sink,
                storage.writer,
                renderer,
                frozen,
                clock,
                policy,
                nodes=public,
                chance=chance,
            )
        )
    return forwarders
