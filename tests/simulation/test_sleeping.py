"""Boards that sleep between samples: RTC memory, power cuts asleep, what the oracle sees."""

import pytest

from firmware.power import Memory
from simulator.faults.power import PowerCuts
from simulator.hosted import HostedNode
from simulator.oracle import Verdict
from simulator.simulation import RunOptions, simulate
from simulator.soak import drawn
from simulator.truth import Truth


def slept(seed: int, hours: float = 3) -> Verdict:
    return simulate(drawn("sleeping_boards", seed), RunOptions(seed, nodes=2, hours=hours))[0]


@pytest.mark.parametrize("seed", [1, 5])
def test_boards_that_sleep_lose_their_open_batch_at_most(seed: int) -> None:
    verdict = slept(seed)
    assert verdict.findings == []
    assert verdict.power_cuts > 0
    assert verdict.readings_delivered > 500


def test_power_fails_asleep_and_takes_rtc_memory_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep: list[int] = []
    cut = PowerCuts.cut

    def noting(cuts: PowerCuts, node: HostedNode) -> None:
        was_asleep = node.asleep
        cut(cuts, node)
        if was_asleep:
            asleep.append(node.address)
            assert not node.asleep
            assert cuts.truth.latest[node.address].cut

    monkeypatch.setattr(PowerCuts, "cut", noting)
    assert slept(1).findings == []
    assert asleep


def test_rows_lost_in_sleep_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    unpack = Memory.unpack

    def forgetful(memory: Memory, record: bytes) -> bool:
        whole = unpack(memory, record)
        memory.rows = memory.rows[memory.row_bytes :]
        return whole

    monkeypatch.setattr(Memory, "unpack", forgetful)
    assert any("samples of boot" in text for text in slept(1).findings)


def test_a_value_changed_in_rtc_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    unpack = Memory.unpack

    def changing(memory: Memory, record: bytes) -> bool:
        whole = unpack(memory, record)
        if memory.rows:
            memory.rows[6] = 0
        return whole

    monkeypatch.setattr(Memory, "unpack", changing)
    assert any("not what the driver said" in text for text in slept(1).findings)


def test_a_boot_that_never_heard_the_time_is_archived_and_counted() -> None:
    verdict = simulate(drawn("sleeping_boards", 7), RunOptions(7))[0]
    assert verdict.findings == []
    assert verdict.readings_undated == 380


def test_a_boot_that_knew_the_time_is_not_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = Truth.fell_asleep

    def knowing(truth: Truth, hosted: HostedNode) -> None:
        asleep(truth, hosted)
        truth.latest[hosted.address].synchronised = True

    monkeypatch.setattr(Truth, "fell_asleep", knowing)
    verdict = simulate(drawn("sleeping_boards", 7), RunOptions(7))[0]
    assert verdict.unaccounted == 380
