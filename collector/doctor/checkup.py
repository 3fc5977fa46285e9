"""Looks at everything a collector depends on, and changes nothing."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from collector.archive import archive, schema
from collector.clock import kernel_synchronised
from collector.doctor.salvage import FAULTS_SHOWN, log_fault, page_faults
from collector.keys import KeyRing
from collector.nodes import NodeRegistry
from collector.operate.control import ControlError, NotRunning, ask
from collector.ownership import owner_of, strangers
from collector.private_file import PrivateFileError
from collector.settings import Config, MqttSettings
from collector.storage.archive_view import ArchiveView
from protocol.node_name import name_fault

CARD_TERABYTES = 20.0
"""What a small card of a known maker stands, by the makers' own tables for 32 GB."""
YEARS_MIN = 5.0
SERIAL = Path("/dev/serial")
REPAIR = "stop the collector, then: osn-collector doctor --repair"


class Finding(NamedTuple):
    """One thing looked at: whether it is well, and what was seen."""

    well: bool
    what: str
    text: str


def examine(config: Config) -> Iterator[Finding]:
    """Everything, one finding after another; changes nothing."""
    yield from _owner(config)
    yield from _files(config)
    yield from _archive(config)
    yield from _quarantine(config)
    yield from _machine(config)
    yield from _collector(config)
    yield from _links(config)


def _owner(config: Config) -> Iterator[Finding]:
    """Files that the service cannot open, because another user made them."""
    folder = config.collector.data
    with suppress(OSError):
        found = [path.name for path in strangers(folder)]
        if found:
            owner = owner_of(folder)
            yield Finding(
                False,
                "owner",
                f"{', '.join(found[:FAULTS_SHOWN])} of {folder} do not belong to {owner.name}, "
                f"as whom the collector runs: sudo osn-collector doctor --repair",
            )


def _files(config: Config) -> Iterator[Finding]:
    settings = config.collector
    try:
        registry, keys = NodeRegistry(settings.nodes), KeyRing(settings.keys)
    except PrivateFileError as error:
        yield Finding(False, "keys and nodes", str(error))
        return
    for twins in registry.twins():
        named = " and ".join(f"{info.name} ({info.id})" for info in twins[:FAULTS_SHOWN])
        yield Finding(
            False,
            "nodes",
            f"{named} have one UUID: networks take them for one. Provision one of the boards "
            "again, then: osn-collector nodes erase ADDRESS, and import its new record",
        )
    if misnamed := registry.misnamed():
        named = "; ".join(f"{i.id}: {i.name!r} {name_fault(i.name)}" for i in misnamed[:5])
        yield Finding(
            False, "names", f"{named}. Give another: osn-collector nodes set ADDRESS --name NAME"
        )
    keyless = [info.name for info in registry if info.state == "active" and info.node not in keys]
    if keyless:
        yield Finding(False, "keys", f"no key for {', '.join(keyless[:FAULTS_SHOWN])}")
    else:
        yield Finding(True, "keys and nodes", f"{len(registry)} nodes, readable by us alone")


def _archive(config: Config) -> Iterator[Finding]:
    path = config.collector.archive
    if not path.exists():
        yield Finding(True, "archive", "none yet")
        return
    faults = page_faults(path)
    if faults:
        shown = "; ".join(faults)
        yield Finding(False, "archive", f"damaged: {shown}; {REPAIR}")
    else:
        yield Finding(True, "archive", f"pages are whole, {path.stat().st_size / 1e6:.1f} MB")
    hidden = log_fault(path)
    yield Finding(not hidden, "log", f"{hidden}; {REPAIR}" if hidden else "whole up to its end")
    if not faults:
        yield from _ledger_of(path)


def _ledger_of(path: Path) -> Iterator[Finding]:
    with closing(archive.open_reader(path)) as connection:
        try:
            schema.require_current(connection)
            connection.execute("BEGIN")
            view = ArchiveView(connection)
            if view.damaged:
                shown = "; ".join(map(str, view.damaged[:FAULTS_SHOWN]))
                yield Finding(False, "ledger", f"damaged rows: {shown}; {REPAIR}")
            yield from _ledger(view)
        except (schema.SchemaError, sqlite3.DatabaseError, ValueError) as error:
            yield Finding(False, "ledger", str(error))


def _quarantine(config: Config) -> Iterator[Finding]:
    path = config.collector.quarantine
    if path.exists() and page_faults(path):
        yield Finding(False, "quarantine", f"damaged: {REPAIR}; it holds no readings")


def _ledger(view: ArchiveView) -> Iterator[Finding]:
    """Frames that the ledger does not know, or knows and that are not there."""
    stored = {
        (node, boot): frames
        for node, boot, frames in view.connection.execute(
            "SELECT node, boot, count(DISTINCT seq) FROM frame GROUP BY node, boot"
        )
    }
    (first,) = view.connection.execute("SELECT min(id) FROM frame").fetchone()
    removed_some = first is not None and first > 1
    wrong = []
    for node in view.nodes():
        for boot in view.boots(node):
            frames = stored.pop((node, boot.boot), 0)
            known = boot.received.count()
            if frames > known or (frames < known and not removed_some):
                wrong.append(f"node {node:08x} boot {boot.boot}: {known} known, {frames} stored")
    wrong += [f"node {node:08x} boot {boot}: not on the ledger" for node, boot in stored]
    if wrong:
        yield Finding(False, "ledger", "; ".join(wrong[:FAULTS_SHOWN]))
    else:
        yield Finding(True, "ledger", "agrees with the frames")


def _machine(config: Config) -> Iterator[Finding]:
    folder = config.collector.data
    with suppress(OSError):
        status = os.statvfs(folder)
        free_mb = status.f_bavail * status.f_frsize / 1e6
        least_mb = config.retention.disk_free_mb_min
        text = f"{free_mb / 1e3:.1f} GB free"
        if free_mb <= least_mb:
            text += f": nothing is taken in below {least_mb} MB; boards keep their data. Free some"
        yield Finding(free_mb > least_mb, "disk", text)
    if config.collector.clock == "kernel":
        if kernel_synchronised():
            yield Finding(True, "clock", "synchronised")
        else:
            yield Finding(
                False, "clock", "not synchronised: boards get no time from us; set up NTP"
            )


def _collector(config: Config) -> Iterator[Finding]:
    try:
        found = ask(config.collector.data, "status")
    except NotRunning:
        yield Finding(False, "collector", "not running")
        return
    except ControlError as error:
        yield Finding(False, "collector", str(error))
        return
    yield Finding(True, "collector", "running")
    fault = found["collector"].get("file_fault")
    if fault:
        yield Finding(False, "keys and nodes", f"the running collector says: {fault}")
    yield from card_wear(found["storage"])


def card_wear(storage: dict[str, Any]) -> Iterator[Finding]:
    """How long a card lasts, from what the running collector has written so far."""
    per_day = storage.get("written_per_day_bytes")
    if not per_day:
        return
    years = CARD_TERABYTES * 1e12 / per_day / 365
    text = f"{per_day / 1e6:.0f} MB written a day: a card for {CARD_TERABYTES:g} TB lasts "
    text += f"{years:.0f} years" if years < 100 else "more than 100 years"
    yield Finding(years >= YEARS_MIN, "card", text)


def _links(config: Config) -> Iterator[Finding]:
    for broker in config.mqtt:
        fault = _broker_fault(broker)
        where = f"{broker.host}:{broker.port_used}"
        yield Finding(
            not fault,
            f"broker {broker.name}",
            f"{where}: {fault}" if fault else f"{where} lets us in",
        )
    for port in config.serial:
        pattern = Path(port.port)
        ports = sorted(pattern.parent.glob(pattern.name))
        text = f"{len(ports)} ports {port.port}"
        if not ports and (others := plugged_in()):
            text += f"; plugged in are {', '.join(map(str, others))}: name yours as port"
        yield Finding(bool(ports), f"serial {port.name}", text)


def plugged_in() -> list[Path]:
    """Serial ports on USB by names that stay: by the device's own number, else by the socket."""
    by_id, by_path = (sorted((SERIAL / kind).glob("*")) for kind in ("by-id", "by-path"))
    named = {path.resolve() for path in by_id}
    return [*by_id, *(path for path in by_path if path.resolve() not in named)]


def _broker_fault(broker: MqttSettings) -> str:
    """Why a broker cannot be used, "" when it can: name, port, certificate, password."""
    from collector.transports.mqtt import UNREACHED, reach

    try:
        asyncio.run(reach(broker))
    except UNREACHED as error:
        return str(error) or type(error).__name__
    return ""
