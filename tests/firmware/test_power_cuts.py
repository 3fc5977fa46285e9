"""A whole node that loses power at every single operation of its flash and its NVS."""

import itertools

import pytest

from protocol import wire
from protocol.frame import parse_header
from simulator.faults.filesystem import Behaviour, Faults, MemoryFiles, Outcome, PowerCut
from tests.firmware import boards
from tests.firmware.conversation import Collector

CUTS = list(itertools.product(Behaviour, Outcome))
Name = tuple[int, int]


class CuttingNvs(boards.MemoryNvs):
    """NVS whose commits are operations of the same flash: they happen wholly or not at all."""

    def __init__(self, files: MemoryFiles) -> None:
        super().__init__()
        self._files = files

    def commit(self) -> None:
        for happens in self._files.count_operation():
            if happens is Outcome.ALL:
                super().commit()


class Witness:
    """All that a collector ever got: no (boot, seq) may come with two contents."""

    def __init__(self) -> None:
        self.frames: dict[Name, bytes] = {}
        self.boots: list[int] = []

    def see(self, link: boards.Link) -> None:
        for raw in link.up:
            kind, _, _, _, boot, seq = parse_header(raw)
            if kind != wire.T_LIVE:
                assert self.frames.setdefault((boot, seq), raw) == raw
        link.up.clear()

    def upto(self, boot: int) -> int:
        """What an ACK may cover."""
        upto = 0
        while (boot, upto + 1) in self.frames:
            upto += 1
        return upto


def live(hal: boards.MemoryHal, witness: Witness) -> None:
    """One stretch of power: samples, frames, an acknowledgement in the middle."""
    hal.now_ms = 0
    node = boards.make_node(hal, sample_interval_s=5, report_interval_s=10, spool_sync_s=0)
    node.start()
    assert node.identity.boot not in witness.boots
    witness.boots.append(node.identity.boot)
    collector = Collector(node)
    try:
        for _ in range(3):
            boards.run(node, 12_000)
            witness.see(hal.transport)
            collector.ack(witness.upto(node.identity.boot))
    finally:
        witness.see(hal.transport)


def board(behaviour: Behaviour, faults: Faults) -> boards.MemoryHal:
    files = MemoryFiles(behaviour, faults)
    nvs = CuttingNvs(MemoryFiles())
    boards.provision(nvs)
    nvs._files = files
    return boards.MemoryHal(files, nvs)


@pytest.mark.parametrize(("behaviour", "outcome"), CUTS)
def test_no_cut_keeps_the_board_from_starting_or_repeats_a_number(
    behaviour: Behaviour, outcome: Outcome
) -> None:
    for cut_at in itertools.count(1):
        hal = board(behaviour, Faults(cut_at, outcome))
        witness = Witness()
        try:
            live(hal, witness)
        except PowerCut:
            pass
        else:
            assert cut_at > 15
            return
        again = boards.MemoryHal(hal.files.survivors(), hal.nvs)
        assert isinstance(again.nvs, CuttingNvs)
        again.nvs._files = again.files
        again.nvs._pending.clear()
        live(again, witness)
        live(again, witness)
        newest = witness.boots[-1]
        seqs = sorted(seq for boot, seq in witness.frames if boot == newest)
        assert seqs == list(range(1, len(seqs) + 1))
