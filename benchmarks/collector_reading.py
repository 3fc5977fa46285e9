"""How long it takes to read one node's day or month back, times and values of every channel."""

import asyncio
import sqlite3
import time
from functools import partial
from pathlib import Path

from benchmarks.collector_load import BOOT, PERIOD_MS, READINGS_PER_FRAME, ROWS, Fleet
from collector.archive import archive, lookup
from collector.archive.inline_writer import InlineWriter
from collector.clock import SystemClock
from collector.intake.intake import Intake, IntakeLimits
from collector.keys import KeyRing
from collector.readings.reading_view import anchor_of
from collector.storage.storage import Storage, open_storage
from collector.timeline import knots
from collector.timeline.timeline import Timeline
from collector.timeline.timeline_fit import LIVE, Knot
from collector.transports.base import Source
from protocol.decoder import decode
from protocol.identity import BootId

NODES = 10
DAYS = 30
DAY_MS = 86_400_000
FRAMES_A_DAY = DAY_MS // (ROWS * PERIOD_MS)
FRAMES_BETWEEN_SNAPSHOTS = 3_600
TRIES = 9


def measure(folder: Path) -> dict[str, float]:
    """Builds a month of 10 nodes with a reading each 10 s on 8 channels, and reads it."""
    path = folder / "month.db"
    start_ms = asyncio.run(_build(path, folder))
    return {
        "node_day_ms": _read(path, start_ms + 14 * DAY_MS, start_ms + 15 * DAY_MS),
        "node_month_ms": _read(path, start_ms, start_ms + DAYS * DAY_MS),
    }


async def _build(path: Path, folder: Path) -> int:
    fleet = Fleet(NODES)
    clock = SystemClock("always")
    storage = open_storage(
        path, folder / "month-quarantine.db", clock, threaded=False, durable=False
    )
    intake = Intake(
        KeyRing(secrets=fleet.keys),
        storage,
        clock,
        send=lambda downlink: None,
        limits=IntakeLimits(node_burst=10_000_000),
    )
    start_ms = clock.unix_ms() - DAYS * DAY_MS
    for node in fleet.nodes:
        intake.receive(fleet.live(node, 1, 0, 1), Source("bench"))
    _date(storage, fleet, start_ms)
    frames = 0
    for seq in range(1, DAYS * FRAMES_A_DAY + 1):
        for node in fleet.nodes:
            intake.receive(fleet.frame(node, seq), Source("bench"))
            frames += 1
        if frames % FRAMES_BETWEEN_SNAPSHOTS == 0:
            await intake.flush()
            await storage.snapshot()
    await intake.flush()
    await storage.close()
    return start_ms


def _date(storage: Storage, fleet: Fleet, start_ms: int) -> None:
    """Gives every boot an hourly knot, as LIVE would have."""
    for node in fleet.nodes:
        boot = storage.ledger.boot(node, BOOT, start_ms)
        boot.anchor_ms, boot.dirty = start_ms, True

    def write(connection: sqlite3.Connection) -> None:
        for node in fleet.nodes:
            knots.write(
                connection,
                [
                    (
                        BootId(node, BOOT),
                        start_ms // 3_600_000 + hour,
                        Knot(hour * 3_600_000, start_ms, 900, LIVE),
                    )
                    for hour in range(DAYS * 24)
                ],
            )

    assert isinstance(storage.writer, InlineWriter)
    storage.writer.write_now(write)


def _read(path: Path, first_ms: int, last_ms: int) -> float:
    """Median time of reading one node between two times, each time through a fresh connection."""
    node = Fleet(1).nodes[0]
    times = []
    for _ in range(TRIES):
        begin_s = time.perf_counter()
        readings = _node_between(path, node, first_ms, last_ms)
        times.append((time.perf_counter() - begin_s) * 1000)
        expected = (last_ms - first_ms) // (ROWS * PERIOD_MS) * READINGS_PER_FRAME
        if abs(readings - expected) > 2 * READINGS_PER_FRAME:
            raise RuntimeError(f"{readings} readings instead of {expected}")
    return sorted(times)[TRIES // 2]


def _node_between(path: Path, node: int, first_ms: int, last_ms: int) -> int:
    """Decodes all frames of a node between two Unix times; returns how many readings it has."""
    reader = archive.open_reader(path)
    dates = Timeline(partial(anchor_of, reader), partial(knots.load, reader))
    anchor_ms = anchor_of(reader, node, BOOT)
    first = dates.uptime_at(node, BOOT, first_ms)
    last = dates.uptime_at(node, BOOT, last_ms)
    assert anchor_ms is not None
    assert first is not None
    assert last is not None
    readings = 0
    for frame in lookup.by_uptime(reader, node, BOOT, anchor_ms, first, last - 1):
        stamp = dates.time_of(node, BOOT, frame.first_ms)
        assert stamp is not None
        for samples in decode(frame.raw).samples:
            readings += len(samples.times_ms) * len(samples.columns)
    reader.close()
    return readings
