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
from simulator import provision
from simulator.collector_host import CollectorHost, CollectorPlan, Registered
from simulator.faults.filesystem import MemoryFiles
from simulator.fleet_node import Feed, PatientNode
from simulator.hosted import Bare, Buses, HostedBoard, HostedHal, HostedNode
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


MONTH_DAYS = 30


@dataclass(frozen=True)
class Part:
    """What one process took: seconds by wall and processor, frames archived, peak RSS."""

    seconds: float
    cpu_s: float
    frames: int
    rss_kb: int


@dataclass(frozen=True)
class Measured:
    """All processes together: node-seconds a second, and a processor's second."""

    rate: float
    cpu_rate: float
    frames: int
    rss_mb: int

    def __str__(self) -> str:
        return (
            f"{self.rate:,.0f} node-s/s ({self.cpu_rate:,.0f} a second of one processor), "
            f"{self.frames} frames archived, {self.rss_mb} MB"
        )


def share(task: tuple[int, float, bool, int]) -> Part:
    """One process's part of the work."""
    nodes, hours, drivers, seed = task
    logging.disable(logging.CRITICAL)
    parent = FAST_FOLDER if FAST_FOLDER.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="osn-bench-", dir=parent))
    try:
        times, frames = run(lambda loop: _run(loop, folder, nodes, hours, drivers, seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Part(*times, frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


async def _run(
    loop: VirtualLoop, folder: Path, nodes: int, hours: float, drivers: bool, seed: int
) -> tuple[tuple[float, float], int]:
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
    for number, who in enumerate(registered):
        node = _node(loop, network, who, number, drivers)
        loop.call_at_ms(number * 10_000 // max(1, nodes), node.power_on)
    gc.collect()
    gc.freeze()  # what lives to the end need not be looked at again
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(hours * 3600)
    times = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    host.check()
    frames = host.connection.execute("SELECT count(*) FROM frame").fetchone()[0]
    await host.stop()
    return times, frames


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
    return Measured(
        node_seconds / max(part.seconds for part in parts),
        node_seconds / sum(part.cpu_s for part in parts),
        sum(part.frames for part in parts),
        sum(part.rss_kb for part in parts) // 1024,
    )


def main() -> None:
    """python -m benchmarks.simulator"""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulator")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=2.0)
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    above = measure(given.nodes, given.hours, False, cores)
    print(f"{given.nodes} nodes, {given.hours} h above the drivers: {above}")
    driver_nodes = max(cores, given.nodes // 10)
    drivers = measure(driver_nodes, given.hours, True, cores)
    print(f"{driver_nodes} nodes with drivers: {drivers}")
    # A month, for a boot's clock observations pile up over days before they stay as many.
    alone = share((1, 24.0 * MONTH_DAYS, False, 9))
    year = 365 / MONTH_DAYS
    took = f"{alone.seconds:.1f} s, {alone.cpu_s:.1f} s of one processor"
    print(f"one node for {MONTH_DAYS} days: {took}")
    print(f"so a year is {alone.seconds * year:.0f} s, {alone.cpu_s * year:.0f} s of one processor")
    week_s = given.nodes * 7 * 86_400
    print(f"{given.nodes} nodes for 7 days would take {week_s / above.rate / 60:.1f} min at this "
          f"rate, {week_s / above.cpu_rate / cores / 60:.1f} min with all cores free")  # fmt: skip
    print(
        json.dumps(
            {
                "node_seconds_per_s": round(above.rate),
                "node_seconds_per_cpu_s": round(above.cpu_rate),
                "with_drivers_node_seconds_per_s": round(drivers.rate),
                "with_drivers_node_seconds_per_cpu_s": round(drivers.cpu_rate),
                "node_year_s": round(alone.seconds * year, 1),
                "node_year_cpu_s": round(alone.cpu_s * year, 1),
                "rss_mb": max(above.rss_mb, drivers.rss_mb),
            }
        )
    )


if __name__ == "__main__":
    main()
