"""How fast the simulator is: node-seconds a second, above the drivers and with them.

Above the drivers: a reading each 10 s on 8 channels through encoder, flash, network, intake and
archive. With drivers: the classic board (SDS011, BME280) once a minute, device models included.
Both on all cores, a process each with a collector of its own. Rates are by the wall clock; those
by processor time are printed too, for machines that do other work meanwhile. Last line: JSON.
"""

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import UUID

from collector.nodes import NodeInfo
from firmware.node import Node
from firmware.settings import Settings
from hardware import boardfile
from protocol import samples
from simulator import provision
from simulator.buses import Bare, Buses
from simulator.collector_host import CollectorHost, CollectorPlan, Registered
from simulator.faults.filesystem import MemoryFiles
from simulator.fleet_node import Feed, PatientNode
from simulator.hosted import HostedNode
from simulator.hosted_board import HostedBoard
from simulator.hosted_hal import HostedHal
from simulator.network import Network, SimulatedTransport
from simulator.virtual_loop import VirtualClock, VirtualLoop, run
from simulator.wiring import Wiring
from simulator.world import Place, PlaceStimulus, World

START_UNIX_MS = 1_770_000_000_000
FAST_FOLDER = Path("/dev/shm")  # noqa: S108 - memory, where the platform has it
SETTINGS = {
    "sample_interval_s": 10,
    "report_interval_s": 600,
    "batch_rows": 60,
    "live_interval_s": 600,
    "spool_sync_s": 600,
}
DRIVER_SETTINGS = {**SETTINGS, "sample_interval_s": 60, "report_interval_s": 3600}
YEAR_DAYS = 365
SETTLE_S = 30  # what was sent last is on its way
PARTS = ("above", "drivers", "year")
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Part:
    """What one process took: seconds by wall and processor, peak RSS; frames built and archived."""

    seconds: float
    cpu_s: float
    rss_kb: int
    built: int
    archived: int


@dataclass(frozen=True)
class Measured:
    """All processes together: node-seconds a second, and a processor's second."""

    seconds: float
    rate: float
    cpu_rate: float
    rss_mb: int
    built: int
    archived: int

    def __str__(self) -> str:
        return (
            f"{self.rate:,.0f} node-s/s ({self.cpu_rate:,.0f} a second of one processor), "
            f"{self.archived} of {self.built} frames archived, {self.rss_mb} MB"
        )


def share(task: tuple[int, float, bool, int]) -> Part:
    """One process's part of the work."""
    nodes, hours, drivers, seed = task
    logging.disable(logging.CRITICAL)
    parent = FAST_FOLDER if FAST_FOLDER.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="osn-bench-", dir=parent))
    try:
        seconds, cpu_s, built, archived = run(
            lambda loop: _run(loop, folder, nodes, hours, drivers, seed)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rss_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Part(seconds, cpu_s, rss_kb, built, archived)


async def _run(
    loop: VirtualLoop, folder: Path, nodes: int, hours: float, drivers: bool, seed: int
) -> tuple[float, float, int, int]:
    network = Network(loop, Random(seed), latency_ms=30, patient=not drivers)
    registered = [_registered(seed * 100_000 + number) for number in range(nodes)]
    host = CollectorHost(
        CollectorPlan(
            folder=folder,
            clock=VirtualClock(loop, START_UNIX_MS),
            nodes=registered,
            make_transports=lambda: [SimulatedTransport(network)],
        )
    )
    host.start()
    fleet = []
    for number, who in enumerate(registered):
        node = _node(loop, network, who, number, drivers)
        fleet.append(node)
        loop.call_at_ms(number * 10_000 // max(1, nodes), node.power_on)
    gc.collect()
    gc.freeze()  # what lives to the end need not be looked at again
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(hours * 3600)
    seconds, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    await asyncio.sleep(SETTLE_S)
    host.check()
    built = sum(hosted.node.outbox.issued for hosted in fleet if hosted.node is not None)
    archived = host.connection.execute("SELECT count(*) FROM frame").fetchone()[0]
    await host.stop()
    return seconds, cpu_s, built, archived


def _registered(number: int) -> Registered:
    uuid = str(UUID(int=number + 1, version=4))
    return Registered(NodeInfo(number + 1, uuid, f"node {number}"), number.to_bytes(32, "big"))


def _node(
    loop: VirtualLoop, network: Network, who: Registered, number: int, drivers: bool
) -> HostedNode:
    board = boardfile.load("classic").board_json() if drivers else {"board": "fleet"}
    stimulus = PlaceStimulus(World(1), Place(street_m=5.0 + number % 90), START_UNIX_MS)

    def make(hal: HostedHal) -> Node:
        settings = Settings()
        for name, value in (DRIVER_SETTINGS if drivers else SETTINGS).items():
            settings.set(name, value)
        if drivers:
            return PatientNode(hal, board, settings)
        return PatientNode(hal, board, settings, sensors=[(Feed(number, 10_000), 0)])

    def wired() -> Buses:
        return Wiring(board, stimulus, number, lambda: loop.now_ms)

    identity = provision.identity_of(who.info.node, who.info.uuid, who.key, 1_770_000_000)
    hosted = HostedBoard(board, MemoryFiles(), provision.into_memory(identity), who.key[:6])
    buses: Callable[[], Buses] = wired if drivers else Bare
    return HostedNode(loop, network, who.info.node, hosted, buses, make, number)


def measure(nodes: int, hours: float, drivers: bool, processes: int) -> Measured:
    """The same number of nodes in each process."""
    tasks = [(nodes // processes, hours, drivers, seed) for seed in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        parts = pool.map(share, tasks)
    node_seconds = sum(task[0] for task in tasks) * hours * 3600
    seconds = max(part.seconds for part in parts)
    return Measured(
        seconds,
        node_seconds / seconds,
        node_seconds / sum(part.cpu_s for part in parts),
        sum(part.rss_kb for part in parts) // 1024,
        sum(part.built for part in parts),
        sum(part.archived for part in parts),
    )


def main() -> None:
    """python -m benchmarks.simulator"""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulator")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; may be repeated")
    given = parser.parse_args()
    parts = given.part or PARTS
    figures: dict[str, float] = {}
    print(f"the encoder is {'interpreted' if samples.__file__.endswith('.py') else 'compiled'}")
    if "above" in parts:
        figures |= above(given.nodes, given.hours)
    if "drivers" in parts:
        figures |= with_drivers(max(CORES, given.nodes // 10), given.hours)
    if "year" in parts:
        figures |= year()
    print(json.dumps(figures))


def above(nodes: int, hours: float) -> dict[str, float]:
    """Values enter above the drivers."""
    found = measure(nodes, hours, False, CORES)
    print(f"{nodes} nodes, {hours:g} h above the drivers, took {found.seconds:.0f} s: {found}")
    week_s = nodes * 7 * 86_400
    print(
        f"{nodes} nodes for 7 days would take {week_s / found.rate / 60:.1f} min at this rate, "
        f"{week_s / found.cpu_rate / CORES / 60:.1f} min with all cores free"
    )
    return {
        "node_seconds_per_s": round(found.rate),
        "node_seconds_per_cpu_s": round(found.cpu_rate),
        "rss_mb": found.rss_mb,
    }


def with_drivers(nodes: int, hours: float) -> dict[str, float]:
    """Drivers read device models."""
    found = measure(nodes, hours, True, CORES)
    print(f"{nodes} nodes, {hours:g} h with drivers, took {found.seconds:.0f} s: {found}")
    return {
        "with_drivers_node_seconds_per_s": round(found.rate),
        "with_drivers_node_seconds_per_cpu_s": round(found.cpu_rate),
    }


def year() -> dict[str, float]:
    """One node, above the drivers, for a whole year."""
    alone = share((1, 24.0 * YEAR_DAYS, False, 9))
    print(
        f"one node for {YEAR_DAYS} days: {alone.seconds:.1f} s, "
        f"{alone.cpu_s:.1f} s of one processor, {alone.archived} of {alone.built} frames archived"
    )
    return {"node_year_s": round(alone.seconds, 1), "node_year_cpu_s": round(alone.cpu_s, 1)}


if __name__ == "__main__":
    main()
