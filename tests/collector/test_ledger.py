"""The ledger: every frame that a board issued is somewhere, and the sums agree."""

import random
from pathlib import Path

import pytest

from collector.ledger import ledger_store
from collector.ledger.ledger import Alarm
from collector.ledger.ledger_boot import Account
from collector.storage import retention
from protocol import wire
from protocol.decoder import decode
from tests.collector.core import BOOT, NODE, Bench, Board


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def bench(tmp_path: Path, board: Board) -> Bench:
    return Bench(tmp_path, [board])


def account(bench: Bench) -> Account:
    return bench.storage.ledger.account(NODE)


async def test_what_lies_before_first_contact_is_before_our_time(
    bench: Bench, board: Board
) -> None:
    bench.receive(board.live(60_000, [(BOOT, 901, 905)], dropped=[(1, 40)]))
    await bench.take(*(board.data(seq) for seq in range(901, 906)))
    assert account(bench) == Account(produced=5, stored=5)
    assert bench.alarms == []
    assert bench.acked() == (905, 0)


async def test_first_contact_survives_a_crash(bench: Bench, board: Board) -> None:
    bench.receive(board.live(60_000, [(BOOT, 901, 905)], dropped=[(1, 40)]))
    await bench.intake.flush()
    after = await bench.again([board], clean=False)
    ours = after.storage.ledger.collector
    after.receive(board.live(120_000, [(BOOT, 901, 905)], [(1, 40)], collector=ours))
    assert after.alarms == []
    assert after.storage.ledger.account(NODE) == Account(produced=5, outstanding=5)


async def test_drops_right_after_first_contact_survive_a_crash(bench: Bench, board: Board) -> None:
    bench.receive(board.live(60_000, [(BOOT, 1, 10)], dropped=[(1, 40)]))
    bench.receive(board.live(61_000, [(BOOT, 4, 10)], dropped=[(1, 43)]))
    await bench.intake.flush()
    after = await bench.again([board], clean=False)
    ours = after.storage.ledger.collector
    after.receive(board.live(120_000, [(BOOT, 4, 10)], [(1, 43)], collector=ours))
    assert after.alarms == []
    assert account(after) == Account(produced=10, dropped=3, outstanding=7)


async def test_drops_that_the_board_counts_are_dropped_with_their_reason(
    bench: Bench, board: Board
) -> None:
    bench.receive(board.live(60_000, [(BOOT, 1, 10)]))
    await bench.take(*(board.data(seq) for seq in (1, 2)))
    dropped = [(wire.DROP_SPOOL_FULL, 3), (wire.DROP_CORRUPT, 1)]
    bench.receive(board.live(120_000, [(BOOT, 7, 10)], dropped))
    assert account(bench) == Account(produced=10, stored=2, dropped=4, outstanding=4)
    assert bench.alarms == []
    assert bench.acked() == (6, 0)
    assert bench.storage.ledger.node(NODE).dropped_by_reason() == dict(dropped)


async def test_what_no_drop_counter_explains_is_lost_and_alarmed(
    bench: Bench, board: Board
) -> None:
    bench.receive(board.live(60_000, [(BOOT, 1, 10)]))
    bench.receive(board.live(120_000, [(BOOT, 6, 10)], [(1, 2)], collector=0xFEED))
    assert account(bench) == Account(produced=10, dropped=2, lost=3, outstanding=5)
    [alarm] = bench.alarms
    assert (alarm.kind, alarm.frames, alarm.ranges) == ("lost_elsewhere", 3, ((3, 5),))
    assert bench.acked() == (5, 0)


async def test_a_restored_collector_is_told_from_a_second_one_and_asks_again(
    bench: Bench, board: Board
) -> None:
    ours = bench.storage.ledger.collector
    bench.receive(board.live(60_000, [(BOOT, 1, 10)]))
    bench.receive(board.live(120_000, [(BOOT, 6, 10)], collector=ours))
    assert [alarm.kind for alarm in bench.alarms] == ["lost_here"]
    assert bench.storage.ledger.collector != ours
    assert bench.acks()[-1].collector != ours
    [command] = [frame.command for frame in bench.down if frame.command is not None]
    assert command.code == wire.C_RESEND
    assert command.arguments == b"".join(n.to_bytes(4, "little") for n in (BOOT, 1, 5))


async def test_frames_that_come_after_all_move_back(bench: Bench, board: Board) -> None:
    bench.receive(board.live(60_000, [(BOOT, 1, 5)]))
    bench.receive(board.live(120_000, [(BOOT, 5, 5)], [(1, 2)], collector=7))
    assert account(bench) == Account(produced=5, dropped=2, lost=2, outstanding=1)
    await bench.take(board.data(1), board.data(4))
    assert account(bench) == Account(produced=5, stored=2, dropped=1, lost=1, outstanding=1)


async def test_what_the_board_still_keeps_is_not_settled(bench: Bench, board: Board) -> None:
    bench.receive(board.live(60_000, [(BOOT, 1, 9)]))
    bench.receive(board.live(120_000, [(BOOT, 8, 9)], collector=7))
    assert bench.acked() == (7, 0)
    bench.receive(board.live(180_000, [(BOOT, 3, 9)], collector=7))
    assert bench.acked() == (2, 0)
    assert account(bench) == Account(produced=9, lost=2, outstanding=7)


async def test_a_boot_that_left_the_spool_is_closed(bench: Bench, board: Board) -> None:
    bench.receive(board.live(60_000, [(BOOT, 1, 4)]))
    await bench.take(board.data(1), board.data(2))
    later = Board(boot=BOOT + 1)
    bench.receive(later.live(1_000, [(BOOT + 1, 1, 1)], [(1, 1)]))
    assert account(bench) == Account(produced=5, stored=2, dropped=1, lost=1, outstanding=1)


async def test_boots_that_are_not_listed_wait_for_their_turn(bench: Bench, board: Board) -> None:
    bench.receive(board.live(60_000, [(BOOT, 1, 4)]))
    later = Board(boot=BOOT + 40)
    bench.receive(later.live(1_000, [(BOOT + 40, 1, 1)], [(1, 4)], unlisted=3))
    assert account(bench).dropped == 0
    bench.receive(later.live(61_000, [(BOOT + 40, 1, 1)], [(1, 4)]))
    assert account(bench) == Account(produced=5, dropped=4, outstanding=1)
    assert bench.alarms == []


async def test_the_ledger_is_the_same_after_a_restart_or_a_crash(tmp_path: Path) -> None:
    board = Board()
    randomness = random.Random(5)
    bench = Bench(tmp_path, [board])
    bench.receive(board.live(60_000, [(BOOT, 3, 400)], [(1, 2)]))
    seqs = randomness.sample(range(3, 400), 300)
    for number, seq in enumerate(seqs):
        await bench.take(board.data(seq))
        if number % 97 == 0:
            await bench.storage.snapshot()
    bench.receive(board.live(90_000, [(BOOT, 10, 400)], [(1, 4)]))
    await bench.storage.snapshot()
    await bench.take(board.data(401), board.data(402))
    before = account(bench), bench.stored()
    crashed = await bench.again([board], clean=False)
    assert (account(crashed), crashed.stored()) == before
    assert crashed.storage.replayed == 2
    restarted = await crashed.again([board], clean=True)
    assert (account(restarted), restarted.stored()) == before
    assert restarted.storage.replayed == 0
    assert await restarted.take(board.data(seqs[-1])) in (["unsure"], ["duplicate"])
    assert len(restarted.stored()) == len(before[1])


async def test_what_a_crash_forgets_of_live_frames_the_next_one_tells_again(tmp_path: Path) -> None:
    """LIVE counters and drop counters since the last snapshot are not on the disk.

    A LIVE recorded since can be replayed once then: it settles nothing, alarms nobody, moves no
    time beyond its bound, and the next true LIVE makes the ledger what it was.
    """
    board = Board()
    bench = Bench(tmp_path, [board])
    bench.receive(board.live(60_000, [(BOOT, 1, 10)]))
    await bench.take(*(board.data(seq) for seq in (1, 2)))
    await bench.storage.snapshot()
    bench.clock.pass_ms(60_000)
    stale = board.live(120_000, [(BOOT, 1, 10)])
    bench.receive(stale)
    bench.clock.pass_ms(60_000)
    bench.receive(board.live(180_000, [(BOOT, 6, 12)], [(1, 3)]))
    before = account(bench)
    assert before == Account(produced=12, stored=2, dropped=3, outstanding=7)
    dated = bench.storage.timeline.time_of(NODE, BOOT, 150_000)
    assert dated is not None

    crashed = await bench.again([board], clean=False)
    crashed.clock.pass_ms(480_000)
    assert crashed.words(stale) == ["live"]
    assert crashed.acked() == (2, 0)
    replayed = crashed.storage.timeline.time_of(NODE, BOOT, 150_000)
    assert replayed is not None
    assert abs(replayed.unix_ms - dated.unix_ms) <= replayed.error_ms
    ours = crashed.storage.ledger.collector
    crashed.receive(board.live(660_000, [(BOOT, 6, 12)], [(1, 3)], collector=ours))
    assert account(crashed) == before
    assert crashed.alarms == []
    assert crashed.words(stale) == ["live_replayed"]


async def test_many_boots_stay_on_the_ledger_and_few_in_memory(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Board()])
    for number in range(60):
        board = Board(boot=BOOT + number)
        await bench.take(board.data(1), board.data(2))
        await bench.storage.snapshot()
    assert len(bench.storage.ledger.nodes[NODE].boots) <= 17
    first = Board().data(1)
    assert await bench.take(first) == ["unsure"]
    assert len(bench.stored()) == 120
    stored = list(ledger_store.boots(bench.inline.connection, NODE))
    assert sum((boot.account() for boot in stored), Account()) == Account(120, 120)


async def test_a_thousand_nodes(tmp_path: Path) -> None:
    boards = [Board(node=number) for number in range(1, 1_001)]
    bench = Bench(tmp_path, boards)
    for board in boards:
        bench.receive(board.live(60_000, [(BOOT, 1, 2)]))
    words = await bench.take(*(board.data(seq) for seq in (1, 2) for board in boards))
    assert set(words) == {"accepted"}
    await bench.storage.snapshot()
    after = await bench.again(boards)
    assert len(after.storage.ledger.nodes) == 1_000
    totals = sum((after.storage.ledger.account(board.node) for board in boards), Account())
    assert totals == Account(produced=2_000, stored=2_000)


async def test_erased_frames_are_acknowledged_and_not_stored(bench: Bench, board: Board) -> None:
    frames = [board.data(seq) for seq in range(1, 6)]
    stranger = Board(node=9)
    bench.keys.add(9, stranger.secret)
    await bench.take(*frames, stranger.data(1))
    await bench.storage.snapshot()
    connection = bench.inline.connection
    while retention.erase_node(connection, NODE, limit=2):
        pass
    assert retention.erase_traces(connection, NODE) == 5
    retention.forget_in_memory(bench.storage.ledger, NODE)
    assert await bench.take(*frames) == ["erased"] * 5
    assert bench.acked() == (5, 0)
    assert bench.stored() == [(9, BOOT, 1)]
    after = await bench.again([board])
    assert await after.take(frames[2]) == ["erased"]
    assert after.storage.ledger.account(NODE) == Account(produced=5, erased=5)
    for path in tmp_files(after):
        assert frames[0][20:] not in path.read_bytes()


def tmp_files(bench: Bench) -> list[Path]:
    bench.inline.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [bench.folder / "archive.db"]


async def test_downlinks_name_the_boot_of_the_last_live(bench: Bench, board: Board) -> None:
    later = Board(boot=BOOT + 1)
    bench.receive(later.live(1_000, [(BOOT, 1, 2), (BOOT + 1, 1, 1)]))
    await bench.take(board.data(1))
    assert {decode(down.raw).boot for down in bench.raw_down} == {BOOT + 1}
    assert bench.acked(BOOT) == (1, 0)


def test_an_alarm_is_one_line_of_the_log() -> None:
    alarm = Alarm("LOST", 0xA1B2C3D4, 7, 3, "numbers that never came")
    assert str(alarm) == "alarm LOST: node a1b2c3d4 boot 7, 3 frames: numbers that never came"
