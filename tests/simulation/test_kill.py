"""Killing collector and broker in the middle of everything loses nothing and doubles nothing."""

import asyncio
import random
from collections import Counter
from pathlib import Path

from simulator.broker import Broker
from simulator.collector_host import CollectorHost
from simulator.demo.collector import SINK, CollectorProcess
from simulator.demo.ledger import BoardAccount, read_archive
from simulator.faults.network import Loss, Partition, Span
from simulator.fleet import Fleet, FleetOptions, members, records
from simulator.network import Network
from simulator.recordings import cut, read_recording
from simulator.replay import ReplayOptions, replay
from simulator.sample_recording import ROUGH, write_recording
from simulator.upstream.sensorthings import SensorThings
from simulator.virtual_loop import VirtualLoop

HOUR_MS = 3_600_000


def test_a_replay_survives_crashes_of_collector_and_broker(tmp_path: Path) -> None:
    write_recording(tmp_path / "in", seed=21, days=1, quirks=ROUGH)
    recording = cut(read_recording(tmp_path / "in"), 0.5)
    chance = random.Random(4)
    crashes: list[int] = []

    def disturb(loop: VirtualLoop, host: CollectorHost, network: Network) -> None:
        network.faults.append(Loss(0.2))
        for _ in range(4):
            start_ms = chance.randrange(HOUR_MS, 10 * HOUR_MS)
            network.faults.append(Partition(Span(start_ms, start_ms + 600_000)))
        for _ in range(8):
            at_ms = chance.randrange(HOUR_MS, 12 * HOUR_MS)
            loop.call_at_ms(at_ms, lambda: crashes.append(loop.now_ms) or host.crash())
            loop.call_at_ms(at_ms + 120_000, lambda: None if host.running else host.start())

    report = replay(recording, ReplayOptions(tmp_path / "out", disturb=disturb))
    assert len(crashes) == 8
    assert report.ok, report.as_json()


async def test_real_processes_survive_sigkill(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    network = SensorThings()
    options = FleetOptions(
        nodes=12, interval_s=1, report_s=2, seconds=14, drain_s=40, port=broker.port
    )
    async with network.serving() as url:
        collector = CollectorProcess(tmp_path / "collector", broker.port, f"{url}/v1.1")
        await broker.start()
        await collector.adopt("\n".join(records(options, 1_764_000_000)))
        await collector.start()
        fleet = Fleet(options, boot=1_764_000_000)
        told: list[str] = []
        run = asyncio.create_task(fleet.run(told.append))
        try:
            for _ in range(3):
                await asyncio.sleep(3)
                collector.kill()
                await asyncio.sleep(0.3)
                await broker.stop()
                await collector.start()
                await broker.start()
            total = await run
            assert total.open_frames == 0, told
            accounts = {m.address: BoardAccount(str(m.number)) for m in members(options)}
            await until_delivered(collector, accounts)
        finally:
            run.cancel()
            fleet.close()
            await collector.stop()
            await broker.stop()
    stored = sum(account.readings_stored for account in accounts.values())
    assert total.readings == stored > 12 * 10 * 8
    assert {len(account.stored) for account in accounts.values()} <= set(range(6, 60))
    settled = sum((account.settled for account in accounts.values()), Counter())
    assert set(settled) <= {"delivered", "left_out"}, "what is not ok stays here, and nothing else"
    assert Counter(network.stored.values()) == {1: settled["delivered"]}
    assert settled["delivered"] > 0.9 * stored == 0.9 * settled.total()


async def until_delivered(collector: CollectorProcess, accounts: dict[int, BoardAccount]) -> None:
    """Wait until every stored reading is settled, and leave the final counts in accounts."""
    for _ in range(100):
        await asyncio.sleep(0.3)
        for account in accounts.values():
            account.stored.clear()
            account.settled.clear()
        read_archive(collector.archive, SINK, accounts)
        if all(a.readings_stored == sum(a.settled.values()) for a in accounts.values()):
            return
