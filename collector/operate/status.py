"""What an operator wants to know, gathered once for `status`, /metrics and the dashboard.

The same picture comes from a running collector or, without one, from its archive.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from collector.app import Collector
from collector.archive import archive, quarantine
from collector.archive.archive import StoredFrame
from collector.archive.decoding import decode_stored
from collector.archive.quarantine import Claimed
from collector.clock import DAY_MS, SystemClock
from collector.forward import book_tables
from collector.keys import KeyRing
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_boot import Account, BootLedger
from collector.nodes import NodeRegistry, node_text
from collector.operate.status_books import book_counts, counted
from collector.readings.observation import quality_name
from collector.settings import Config
from collector.storage.archive_view import ArchiveView
from collector.timeline.timeline import Timeline
from protocol import names, wire
from protocol.decoder import decode
from protocol.reading import Reading, readings
from protocol.registry import REGISTRY
from protocol.wire import FrameError

Status = dict[str, Any]

LATEST_SEARCH_FRAMES = 200_000
WEAR_AFTER_MS = 60_000
STRANGERS_MAX = 100
DROP_REASONS = names.DROPS
HEALTH = ("battery_voltage", "rssi", "free_heap", "queue_depth", "bus_errors", "chip_temperature")


def of_collector(
    collector: Collector,
    counts: Mapping[str, Mapping[book_tables.Count, int]],
    refused: Iterable[Claimed] = (),
) -> Status:
    """The running collector's status.

    `counts` are the sinks' books from the archive, `refused` what the quarantine counted.
    """
    storage, intake = collector.storage, collector.intake
    now_ms = collector.clock.unix_ms()
    data = collector.config.collector.data
    writer = storage.writer.counters
    return {
        "running": True,
        "now_ms": now_ms,
        "collector": {
            "name": collector.config.collector.name,
            "id": f"{storage.ledger.collector:08x}",
            "clock": collector.config.collector.clock,
            "clock_synchronised": collector.clock.synchronised(),
            "uptime_s": (collector.clock.monotonic_ms() - collector.started_ms) // 1000,
            "restored": storage.restored,
            "accepting": intake.accepting,
            "file_fault": collector.file_fault,
            "loop_lag_s": round(collector.loop_lag.longest_s, 3),
        },
        "nodes": [
            node_status(
                node,
                collector.nodes,
                storage.ledger,
                storage.timeline,
                intake.latest.get(node),
                _boots_in_memory(storage.ledger, node),
            )
            | {"deaf": intake.hearing.deaf(node)}
            for node in _all_nodes(collector.nodes, storage.ledger)
        ],
        "transports": [
            {
                "name": name,
                "connected": transport.state.connected,
                "reason": transport.state.reason,
                **asdict(transport.state.counters),
            }
            for name, transport in collector.transports.items()
        ],
        "intake": {
            "received": intake.counters.received,
            "bytes": intake.counters.bytes,
            "live": intake.counters.live,
            "committed": intake.commits.committed,
            "commits_failed": intake.commits.failed,
            "waiting": intake.waiting,
            "queued": len(collector.queue),
            "queue_dropped": collector.queue.dropped,
            "unsent_downlinks": collector.unsent_downlinks,
            "decisions": {kind.value: n for kind, n in intake.counters.decisions.items()},
            "refused": dict(intake.counters.refused),
            "undecoded": dict(storage.indexing.undecoded),
            "unheard": intake.counters.unheard,
        },
        "storage": {
            **_disk(data, collector.config.collector.archive),
            "commits": writer.commits,
            "failures": writer.failures,
            "failing": intake.commits.doubtful,
            "last_failure": writer.last_failure,
            "newest_frame": storage.ledger.newest_id,
            **_written(collector),
        },
        "sinks": [
            {**asdict(forwarder.status()), **counted(counts.get(forwarder.sink.name, {}))}
            for forwarder in collector.forwarders
        ],
        "alarms": [asdict(alarm) for alarm in collector.alarms.latest[-50:]],
        **_doubtful(collector.nodes, collector.keys, storage.ledger),
        "strangers": _strangers(refused, collector.nodes, now_ms),
    }


def of_archive(
    view: ArchiveView, config: Config, nodes: NodeRegistry, keys: KeyRing, now_ms: int
) -> Status:
    """The status of a collector that does not run, from what it has committed."""
    newest = archive.newest_id(view.connection)
    counts = book_counts(view.connection)
    sinks = sorted({*(sink.name for sink in config.sinks), *counts})
    return {
        "running": False,
        "now_ms": now_ms,
        "collector": {
            "name": config.collector.name,
            "id": f"{view.ledger.collector:08x}",
            "clock": config.collector.clock,
            "clock_synchronised": SystemClock(config.collector.clock).synchronised(),
        },
        "nodes": [
            node_status(
                node,
                nodes,
                view.ledger,
                view.timeline,
                latest_frame(view, node, newest),
                view.boots(node),
            )
            for node in _all_nodes(nodes, view.ledger)
        ],
        "transports": [],
        "storage": {
            **_disk(config.collector.data, config.collector.archive),
            "newest_frame": newest,
        },
        "sinks": [
            {
                "name": name,
                "open_frames": newest - _done(view, name),
                **counted(counts.get(name, {})),
            }
            for name in sinks
        ],
        "alarms": [],
        **_doubtful(nodes, keys, view.ledger),
        "strangers": _strangers(_refused_in(config.collector.quarantine), nodes, now_ms),
    }


def _doubtful(nodes: NodeRegistry, keys: KeyRing, ledger: Ledger) -> Status:
    """Names of nodes whose frames are refused for want of a key, and names that do harm."""
    active = {info.node: info.name for info in nodes if info.state == "active"}
    forgotten = (node for node in ledger.nodes if nodes.get(node) is None)
    known = active | {n: node_text(n) for n in forgotten if ledger.account(n).stored}
    return {
        "keyless": [name for node, name in sorted(known.items()) if node not in keys],
        "misnamed": [f"{info.id} {info.name}" for info in nodes.misnamed()],
    }


def _strangers(refused: Iterable[Claimed], nodes: NodeRegistry, now_ms: int) -> list[Status]:
    """Boards that nobody imported and that were refused within a day, the latest first."""
    return [
        {"node": f"{one.node:08x}", "frames": one.frames, "last_ms": one.last_ms}
        for one in refused
        if one.reason == quarantine.UNKNOWN_NODE
        and one.last_ms > now_ms - DAY_MS
        and nodes.get(one.node) is None
    ][:STRANGERS_MAX]


def _refused_in(path: Path) -> list[Claimed]:
    if not path.exists():
        return []
    with suppress(sqlite3.Error), closing(archive.open_reader(path)) as connection:
        return quarantine.claimed(connection)
    return []


def node_status(
    node: int,
    nodes: NodeRegistry,
    ledger: Ledger,
    timeline: Timeline,
    latest: StoredFrame | None,
    boots: Iterable[BootLedger],
) -> Status:
    """One node: who, when last heard, last readings, time quality, and its frames by fate.

    Positions are left out: status and metrics are read by more people than may know them.
    """
    info = nodes.get(node)
    owner = ledger.nodes.get(node)
    account = Account()
    conflicts = 0
    for boot in boots:
        account += boot.account()
        conflicts += len(boot.conflicts)
    status: Status = {
        "node": f"{node:08x}",
        "name": info.name if info else f"{node:08x}",
        "state": info.state if info else "unknown",
        "seen_ms": owner.seen_ms if owner else 0,
        "boot": owner.boot if owner else 0,
        "frames": asdict(account),
        "conflicts": conflicts,
        "dropped": {
            DROP_REASONS.get(reason, str(reason)): frames
            for reason, frames in (owner.dropped_by_reason() if owner else {}).items()
        },
        "readings": [],
        "health": {},
        "time": None,
    }
    if latest is not None:
        status["seen_ms"] = max(status["seen_ms"], latest.received_ms)
        _add_readings(status, latest, timeline)
    return status


def _add_readings(status: Status, latest: StoredFrame, timeline: Timeline) -> None:
    try:
        newest: dict[tuple[int, int, int | None], Reading] = {}
        for reading in readings(decode_stored(latest)):
            newest[reading.quantity, reading.instance, reading.band] = reading
    except FrameError:
        return
    for reading in newest.values():
        row = REGISTRY.get(reading.quantity)
        if row is None or reading.band is not None or row.kind == "position":
            continue
        if row.name in HEALTH:
            if reading.value is not None:
                status["health"][row.name] = reading.value
        else:
            status["readings"].append(
                {
                    "quantity": row.name,
                    "instance": reading.instance,
                    "value": reading.value,
                    "unit": row.unit,
                    "quality": quality_name(reading.quality),
                }
            )
    stamp = timeline.time_of(latest.node, latest.boot, latest.last_ms)
    if stamp is not None:
        status["time"] = {
            "last_ms": stamp.unix_ms,
            "error_ms": stamp.error_ms,
            "source": stamp.source,
        }


def latest_frame(view: ArchiveView, node: int, newest: int) -> StoredFrame | None:
    """The newest DATA frame of a node among the last 200,000 frames."""
    row = view.connection.execute(
        "SELECT id FROM frame WHERE id > ? AND node = ? AND type = 1 ORDER BY id DESC LIMIT 1",
        (newest - LATEST_SEARCH_FRAMES, node),
    ).fetchone()
    return None if row is None else archive.frame_by_id(view.connection, row[0])


def firmware_versions(connection: sqlite3.Connection) -> dict[int, str]:
    """What each node said in its newest HELLO among the last 200,000 frames."""
    found: dict[int, str] = {}
    newest = archive.newest_id(connection)
    rows = connection.execute(
        "SELECT max(id), node, raw FROM frame WHERE id > ? AND type = ? GROUP BY node",
        (newest - LATEST_SEARCH_FRAMES, wire.T_HELLO),
    )
    for _, node, raw in rows:
        with suppress(FrameError):
            info = decode(raw).info
            if info is not None and info.firmware:
                found[node] = info.firmware
    return found


def _done(view: ArchiveView, sink: str) -> int:
    row = view.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'done'").fetchone()
    return book_tables.load(view.connection, sink).done.count() if row else 0


def _boots_in_memory(ledger: Ledger, node: int) -> list[BootLedger]:
    owner = ledger.nodes.get(node)
    return list(owner.boots.values()) if owner else []


def _all_nodes(nodes: NodeRegistry, ledger: Ledger) -> list[int]:
    return sorted({info.node for info in nodes} | set(ledger.nodes))


def _written(collector: Collector) -> dict[str, Any]:
    """Bytes that this process has sent to the disk, and how many a day that makes."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
        written = int(next(line for line in lines if line.startswith("write_bytes")).split()[1])
    except (OSError, StopIteration, ValueError):
        return {}
    uptime_ms = collector.clock.monotonic_ms() - collector.started_ms
    if uptime_ms < WEAR_AFTER_MS:
        return {"written_bytes": written}
    return {"written_bytes": written, "written_per_day_bytes": written * DAY_MS // uptime_ms}


def _disk(folder: Path, archive_file: Path) -> dict[str, Any]:
    size = sum(
        path.stat().st_size
        for suffix in ("", "-wal")
        if (path := Path(f"{archive_file}{suffix}")).exists()
    )
    try:
        free = os.statvfs(folder)
    except OSError:
        return {"archive_bytes": size, "free_bytes": None}
    return {"archive_bytes": size, "free_bytes": free.f_bavail * free.f_frsize}
