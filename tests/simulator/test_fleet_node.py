"""A patient node wakes for its deadlines only, and what it sends is the same to the byte."""

import asyncio
import secrets
from pathlib import Path
from random import Random

import pytest

from collector.nodes import NodeInfo
from firmware.node import Node
from firmware.settings import Settings
from simulator import provision
from simulator.buses import Bare
from simulator.collector_host import CollectorHost, CollectorPlan, Registered
from simulator.faults.filesystem import MemoryFiles
from simulator.fleet_node import FEED_CHANNELS, Feed, PatientNode, feed_columns, feed_values
from simulator.hosted import HostedNode
from simulator.hosted_board import HostedBoard
from simulator.hosted_hal import HostedHal
from simulator.network import Network, SimulatedTransport
from simulator.virtual_loop import VirtualClock, VirtualLoop, run

START_UNIX_MS = 1_770_000_000_000
NODES = 3
HOURS = 3
UUID = "6f9619ff-8b86-4d01-b42d-00000000000%d"

Sent = list[tuple[int, int, bytes]]


class Counted(PatientNode):
    """Counts its steps."""

    steps = 0

    def step(self) -> int:
        self.steps += 1
        return super().step()


def board(
    loop: VirtualLoop, network: Network, number: int, who: Registered, settings: dict[str, int]
) -> HostedNode:
    file = {"board": "fleet"}

    def make(hal: HostedHal) -> Node:
        chosen = Settings()
        for name, value in settings.items():
            chosen.set(name, value)
        return Counted(hal, file, chosen, sensors=[(Feed(number, 10_000), 0)])

    identity = provision.identity_of(who.info.node, who.info.uuid, who.key, START_UNIX_MS // 1000)
    hosted = HostedBoard(file, MemoryFiles(), provision.into_memory(identity), who.key[:6])
    return HostedNode(loop, network, who.info.node, hosted, Bare, make, number)


def sent(
    folder: Path, patient: bool, settings: dict[str, int], drift_ppm: int = 0
) -> tuple[Sent, int]:
    """What boards sent, with the millisecond and the node; and how often they were stepped."""
    frames: Sent = []
    steps = 0

    async def main(loop: VirtualLoop) -> None:
        nonlocal steps
        network = Network(loop, Random(1), latency_ms=30, patient=patient)
        network.taps.append(lambda way, node, raw: frames.append((loop.now_ms, node, raw)))
        members = [
            Registered(NodeInfo(number + 1, UUID % number, "n"), bytes([number + 1] * 32))
            for number in range(NODES)
        ]
        host = CollectorHost(
            CollectorPlan(
                folder=folder,
                clock=VirtualClock(loop, START_UNIX_MS),
                nodes=members,
                make_transports=lambda: [SimulatedTransport(network)],
            )
        )
        host.start()
        boards = []
        for number, who in enumerate(members):
            hosted = board(loop, network, number, who, settings)
            hosted.drift_ppm = drift_ppm
            loop.call_at_ms(7_001 * number, hosted.power_on)
            boards.append(hosted)
        await asyncio.sleep(HOURS * 3600)
        host.check()
        for hosted in boards:
            assert hosted.crashes == []
            assert isinstance(hosted.node, Counted)
            steps += hosted.node.steps
        await host.stop()

    run(main)
    return frames, steps


@pytest.mark.parametrize(
    "settings",
    [
        {"sample_interval_s": 10, "report_interval_s": 600, "batch_rows": 60},
        {"sample_interval_s": 10, "report_interval_s": 600, "batch_rows": 7, "live_interval_s": 90},
        {"sample_interval_s": 7, "report_interval_s": 100, "batch_rows": 60, "spool_sync_s": 230},
    ],
    ids=["on time", "batch full", "odd"],
)
@pytest.mark.parametrize("drift_ppm", [0, 43])
def test_a_patient_node_sends_what_any_other_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], drift_ppm: int
) -> None:
    monkeypatch.setattr(secrets, "randbits", lambda bits: 0xC0113C70 & (1 << bits) - 1)
    usual, often = sent(tmp_path / "usual", False, settings, drift_ppm)
    patient, seldom = sent(tmp_path / "patient", True, settings, drift_ppm)
    assert [frame for _, _, frame in patient] == [frame for _, _, frame in usual]
    assert max(abs(a[0] - b[0]) for a, b in zip(patient, usual, strict=True)) <= 1
    assert seldom < often


def test_a_stretch_of_a_feed_is_its_instants_side_by_side() -> None:
    random = Random(3)
    for _ in range(50):
        seed, first = random.randrange(2_000), random.randrange(100_000)
        count = random.randrange(1, 256)
        rows = [feed_values(seed, first + index) for index in range(count)]
        columns = [[row[column] for row in rows] for column in range(len(FEED_CHANNELS))]
        assert [list(column) for column in feed_columns(seed, first, count)] == columns
