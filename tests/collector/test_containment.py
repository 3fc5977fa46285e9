"""What one authentic frame may do to the whole intake: nothing, but be archived and acknowledged.

HOSTILE_FRAMES in the environment says how many frames each seed sends.
"""

import os
import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from collector.archive import archive
from collector.archive.hour_index import HourIndex
from collector.intake.decision import Kind
from collector.ledger.ledger_boot import BootLedger
from collector.timeline.timeline import Timeline
from protocol import reasons, wire
from protocol.compose import compose
from protocol.outline import RAISED
from tests.collector.core import BOOT, NODE, Bench, Board
from tests.collector.hostile import Hostile

FRAMES = int(os.environ.get("HOSTILE_FRAMES", "1000"))
HONEST = 0x0000B0B1
OUTCOMES = {
    "accepted", "pending", "duplicate", "conflict", "unsure", "live",
    "type", "seq", "seq_too_far", "too_many_ranges", "too_many_boots", "too_many_conflicts",
    "live_replayed", "live_of_old_boot", "live_uptime",
    *(f"live_{reason}" for reason in reasons.CONTENT),
}  # fmt: skip
"""What docs/protocol.md names; "failed" is a fault of this program."""


def settled(bench: Bench, node: int, boot: int, seq: int) -> bool:
    """Whether the board has been told that it may free this frame, or an operator has to decide."""
    known = bench.storage.ledger.known_boot(node, boot)
    assert known is not None
    return seq in known.received


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_a_key_holder_sends_the_others_go_on(tmp_path: Path, seed: int) -> None:
    attacker, honest = Board(NODE), Board(HONEST)
    boards = [attacker, honest]
    hostile, chance = Hostile(seed, attacker), random.Random(seed)
    bench = Bench(tmp_path, boards)
    stored: dict[tuple[int, int], bytes] = {}
    waiting: dict[tuple[int, int], bytes] = {}
    honest_seq = 0
    for count, raw in enumerate(islice(hostile.frames(), FRAMES), 1):
        [decision] = bench.receive(raw)
        word = decision.reason or decision.kind.value
        assert word in OUTCOMES, (word, raw.hex())
        boot, seq = (int.from_bytes(raw[at : at + 4], "little") for at in (8, 12))
        if decision.kind is Kind.ACCEPTED:
            waiting[boot, seq] = raw
        bench.clock.pass_ms(chance.randrange(20_000))
        if count % 10 == 0:
            honest_seq += 1
            assert bench.words(honest.data(honest_seq)) == ["accepted"]
            await bench.intake.flush()
            stored |= waiting
            waiting.clear()
            assert bench.storage.ledger.acks(HONEST, [BOOT]) == [(BOOT, honest_seq, 0)]
            assert all(settled(bench, NODE, *number) for number in stored)
        if count % 70 == 0:
            assert await bench.storage.snapshot()
        if count % 100 == 0:
            await bench.intake.flush()
            stored |= waiting
            waiting.clear()
            bench = await bench.again(boards, clean=chance.random() < 0.5)
            assert bench.storage.healed == [], "no sender can make a row that cannot be"
            assert all(settled(bench, NODE, *number) for number in stored)
        assert bench.storage.indexing.undecoded[RAISED] == 0
        assert bench.intake.counters.unheard == 0
    kept = {
        (frame.boot, frame.seq, frame.raw)
        for frame in archive.frames(bench.inline.connection, 1, 1 << 40, FRAMES * 2)
    }
    assert kept >= {(*number, raw) for number, raw in stored.items()}
    assert len(stored) > FRAMES // 4


def breaking(method: Callable[..., object], when: Callable[..., bool]) -> Callable[..., object]:
    """A method that raises for some calls: a fault that nobody has thought of."""

    def broken(*arguments: object, **more: object) -> object:
        if when(*arguments, **more):
            raise ZeroDivisionError("nobody has thought of this")
        return method(*arguments, **more)

    return broken


async def states(bench: Bench) -> list[int]:
    rows = bench.inline.connection.execute("SELECT state FROM frame ORDER BY id")
    return [state for (state,) in rows]


async def test_a_frame_that_breaks_the_index_is_acknowledged_and_left_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board()
    monkeypatch.setattr(
        HourIndex, "add", breaking(HourIndex.add, lambda self, frame_id, *_: frame_id == 2)
    )
    bench = Bench(tmp_path, [board])
    assert await bench.take(*(board.data(seq) for seq in (1, 2, 3))) == ["accepted"] * 3
    assert bench.acked() == (3, 0)
    assert bench.storage.indexing.undecoded == {RAISED: 1}
    assert await bench.take(board.data(4)) == ["accepted"]
    assert await states(bench) == [archive.OK, archive.FAILED, archive.OK, archive.OK]
    assert await bench.storage.snapshot()
    monkeypatch.undo()
    after = await bench.again([board], clean=False)
    assert after.storage.ledger.acks(NODE, [BOOT]) == [(BOOT, 4, 0)]


async def test_a_frame_that_breaks_the_replay_does_not_keep_the_collector_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(*(board.data(seq) for seq in (1, 2, 3)))
    monkeypatch.setattr(
        HourIndex, "add", breaking(HourIndex.add, lambda self, frame_id, *_: frame_id == 2)
    )
    after = await bench.again([board], clean=False)
    assert after.storage.indexing.undecoded == {RAISED: 1}
    assert await after.take(board.data(4)) == ["accepted"]
    assert after.acked() == (4, 0)
    monkeypatch.undo()
    third = await after.again([board], clean=False)
    assert third.storage.indexing.undecoded == {RAISED: 1}, "it is recognised by its state"
    assert await states(third) == [archive.OK, archive.FAILED, archive.OK, archive.OK]


async def test_a_frame_that_no_row_can_hold_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, other = Board(), Board(HONEST)
    bench = Bench(tmp_path, [board, other])
    whole = archive.append_many
    monkeypatch.setattr(
        archive,
        "append_many",
        breaking(
            whole,
            lambda _, frames: any(f.seq == 2 and f.state == archive.OK for f in frames),
        ),
    )
    words = await bench.take(*(board.data(seq) for seq in (1, 2, 3)), other.data(1))
    assert words == ["accepted"] * 4
    assert bench.storage.ledger.acks(NODE, [BOOT]) == [(BOOT, 3, 0)]
    assert await states(bench) == [archive.OK, archive.FAILED, archive.OK, archive.OK]
    assert not bench.intake.commits.doubtful


async def test_a_live_that_breaks_something_is_refused_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, other = Board(), Board(HONEST)
    bench = Bench(tmp_path, [board, other])
    monkeypatch.setattr(
        Timeline, "observe_live", breaking(Timeline.observe_live, lambda _, node, *__: node == NODE)
    )
    assert bench.words(board.live(60_000), other.live(60_000)) == [RAISED, "live"]
    assert bench.intake.counters.refused[RAISED] == 1
    assert bench.storage.quarantine.counted == 1
    assert [frame.node for frame in bench.down if frame.time] == [HONEST]


async def test_an_ack_that_cannot_be_made_costs_no_other_node_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, other = Board(), Board(HONEST)
    bench = Bench(tmp_path, [board, other])
    monkeypatch.setattr(BootLedger, "ack", breaking(BootLedger.ack, lambda self: self.node == NODE))
    await bench.take(board.data(1), other.data(1))
    assert {frame.node for frame in bench.down if frame.ack} == {HONEST}


async def test_who_listens_and_fails_keeps_no_frame_out(tmp_path: Path) -> None:
    def fails(*what: object) -> None:
        raise ZeroDivisionError

    board = Board()
    bench = Bench(tmp_path, [board])
    bench.intake._on_live = bench.intake._on_answer = fails
    log = (wire.S_TEXT, b"started")
    assert bench.words(board.live(60_000)) == ["live"]
    await bench.take(compose(wire.T_LOG, NODE, BOOT, 1, [log], board.up))
    assert bench.acked() == (1, 0)
    assert bench.intake.counters.unheard == 2


async def test_uptimes_that_no_board_can_have_are_counted_and_left_undecoded(
    tmp_path: Path,
) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    late = board.data(1, t0_ms=(1 << 48) - 1)
    assert await bench.take(late) == ["accepted"]
    assert bench.acked() == (1, 0)
    assert bench.storage.indexing.undecoded == {"uptime": 1}
    after = await bench.again([board], clean=False)
    assert after.storage.indexing.undecoded == {"uptime": 1}
    assert await states(after) == [archive.UNDECODED]
