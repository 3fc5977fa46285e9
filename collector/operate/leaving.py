"""A node leaves: frames, keys, name and place go; what cannot be recalled is named."""

import asyncio
import sqlite3
from collections.abc import Iterator
from functools import partial

from collector.archive import archive, quarantine
from collector.clock import SystemClock
from collector.forward import book_tables
from collector.keys import KeyRing
from collector.nodes import NodeError, NodeRegistry, node_text
from collector.operate.backup_log import backups_made
from collector.operate.control import ControlError, NotRunning, ask
from collector.operate.status_books import book_counts
from collector.ownership import acting_as_owner
from collector.settings import Config
from collector.single import AlreadyRunning, FolderLock
from collector.storage import retention
from collector.storage.storage import Storage, open_storage

CAN_DELETE = {
    "jsonl": "edit the file, or replace it",
    "postgres": "DELETE FROM its table WHERE node is this one",
    "influxdb": "delete its series with the influx command",
    "sensorthings": "delete its Thing; its Datastreams and Observations go with it",
    "ckan": "datastore_delete with a filter on the node",
    "opensensemap": "delete its box, or ask openSenseMap to",
    "smart_citizen": "delete its device in the account that owns it",
    "ngsi_ld": "delete its entities",
    "sentilo": "delete its sensors from the catalogue",
    "home_assistant": "remove its device",
}


def leave(config: Config, registry: NodeRegistry, keys: KeyRing, node: int) -> Iterator[str]:
    """Removes a node; yields what was done and what is left to do, a line each.

    The key goes first, so that nothing new of it can arrive meanwhile. Raises NodeError when the
    archive cannot be changed now.
    """
    text = node_text(node)
    keys.remove(node)
    registry.remove(node)
    yield f"node {text}: key, name and place removed"
    try:
        answer = ask(config.collector.data, "erase", node=text)
        removed, erased = answer["removed"], answer["erased"]
    except NotRunning:
        removed, erased = erase_in_files(config, node)
    except ControlError as error:
        raise NodeError(str(error)) from error
    yield f"{removed} frames removed and overwritten; {erased} numbers stay as erased"
    yield from _backups(config)
    yield from _networks(config, node)


async def erase_frames(storage: Storage, node: int) -> tuple[int, int]:
    """Removes and overwrites a node's frames, a little at a time; its ranges stay as erased.

    Returns how many frames were removed, and how many numbers the ledger keeps as erased.
    """
    await storage.snapshot(everything=True)
    removed = 0
    while step := await storage.writer.write(partial(retention.erase_node, node=node), urgent=True):
        removed += step
        await asyncio.sleep(0)

    erased = await storage.writer.write(partial(retention.erase_traces, node=node), urgent=True)
    retention.forget_in_memory(storage.ledger, node)
    await storage.snapshot()
    await storage.writer.maintain(_compact)
    await storage.quarantine_writer.write(partial(quarantine.release, node=node), urgent=True)
    return removed, erased


def _compact(connection: sqlite3.Connection) -> None:
    """Moves the overwritten pages from the log into the file, and gives free ones back."""
    retention.vacuum(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def erase_in_files(config: Config, node: int) -> tuple[int, int]:
    """The same without a running collector."""
    settings = config.collector
    if not settings.archive.exists():
        return 0, 0

    async def erase() -> tuple[int, int]:
        storage = open_storage(
            settings.archive, settings.quarantine, SystemClock(settings.clock), threaded=False
        )
        try:
            return await erase_frames(storage, node)
        finally:
            await storage.close()

    with acting_as_owner(settings.data):
        try:
            lock = FolderLock(settings.data)
        except AlreadyRunning as error:
            raise NodeError(f"{error}; try again in a moment") from error
        try:
            return asyncio.run(erase())
        finally:
            lock.release()


def _backups(config: Config) -> Iterator[str]:
    made = backups_made(config)
    if not made:
        yield "backups made elsewhere may still hold it"
        return
    yield "these backups still hold it; make a new one and destroy them:"
    for entry in made:
        yield f"  {entry.get('file')} of {entry.get('made')}"


def _networks(config: Config, node: int) -> Iterator[str]:
    if not config.collector.archive.exists():
        return
    connection = archive.open_reader(config.collector.archive)
    try:
        counts = book_counts(connection)
    finally:
        connection.close()
    kinds = {entry.name: entry.kind for entry in config.sinks}
    for sink, books in sorted(counts.items()):
        given = sum(
            number
            for count, number in books.items()
            if count.node == node and count.outcome == book_tables.DELIVERED
        )
        if given:
            how = CAN_DELETE.get(
                kinds.get(sink, ""), "this network cannot delete what it was given"
            )
            yield f"{sink} was given {given} readings: {how}"
