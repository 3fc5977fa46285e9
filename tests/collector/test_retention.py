"""Retention removes what it may, keeps what sinks need, and the ledger remembers all of it."""

import random
from pathlib import Path

from collector.archive import archive, lookup
from collector.forward import book_tables
from collector.housekeeping import DAY_MS, Housekeeping, Keep
from collector.ranges import Ranges
from collector.storage import retention
from tests.collector.core import BOOT, NODE, Bench, Board


async def filled(tmp_path: Path, days: int = 10, per_day: int = 5) -> tuple[Bench, Board]:
    board = Board()
    bench = Bench(tmp_path, [board])
    bench.receive(board.live(0, [(BOOT, 1, 1)]))
    book_tables.create(bench.inline.connection)
    for day in range(days):
        first = day * per_day + 1
        frames = [
            board.data(seq, t0_ms=day * DAY_MS + seq * 1_000)
            for seq in range(first, first + per_day)
        ]
        await bench.take(*frames)
        await bench.storage.snapshot()
        bench.clock.pass_ms(DAY_MS)
    return bench, board


def settle(bench: Bench, sink: str, last_id: int) -> None:
    change = book_tables.Entries(done=Ranges([(1, last_id)]))
    connection = bench.inline.connection
    connection.execute("BEGIN")
    book_tables.enter_apart(connection, sink, change)
    connection.execute("COMMIT")


async def test_old_frames_go_and_resends_of_them_are_still_known(tmp_path: Path) -> None:
    bench, board = await filled(tmp_path)
    house = Housekeeping(bench.storage, bench.clock, Keep(days=3))
    await house.once()
    assert [seq for _, _, seq in bench.stored()] == list(range(36, 51))
    assert house.removed == 35
    bench = await bench.again([board])
    old = board.data(3, t0_ms=3_000)
    assert await bench.take(old) == ["unsure"]
    assert bench.acked() == (50, 0)
    assert len(bench.stored()) == 15
    assert bench.storage.ledger.account(NODE).stored == 50
    anchor_ms = bench.storage.timeline.anchor_ms(NODE, BOOT)
    assert anchor_ms is not None
    connection = bench.inline.connection
    found = lookup.by_uptime(connection, NODE, BOOT, anchor_ms, 0, 11 * DAY_MS)
    assert len(list(found)) == 15


async def test_what_a_sink_still_needs_is_kept(tmp_path: Path) -> None:
    bench, _ = await filled(tmp_path)
    settle(bench, "quick", 50)
    settle(bench, "slow", 12)
    house = Housekeeping(bench.storage, bench.clock, Keep(days=3, sinks=("quick", "slow")))
    await house.once()
    assert [seq for _, _, seq in bench.stored()] == list(range(13, 51))
    assert house.held_back


async def test_what_is_dropped_undelivered_is_on_each_sinks_ledger(tmp_path: Path) -> None:
    bench, _ = await filled(tmp_path)
    settle(bench, "quick", 50)
    settle(bench, "slow", 12)
    keep = Keep(days=3, drop_undelivered=True, sinks=("quick", "slow"))
    await Housekeeping(bench.storage, bench.clock, keep).once()
    assert [seq for _, _, seq in bench.stored()] == list(range(36, 51))
    counts = book_tables.counts(bench.inline.connection)
    expired = book_tables.Count(book_tables.EXPIRED, "retention", NODE)
    assert counts.get("quick", {}).get(expired, 0) == 0
    assert counts["slow"][expired] == (35 - 12) * 4


async def test_size_is_kept_and_the_file_shrinks(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    randomness = random.Random(1)
    for seq in range(1, 1_501):
        rows = [(randomness.randrange(900), randomness.randrange(4_000)) for _ in range(40)]
        bench.words(board.data(seq, rows))
    await bench.intake.flush()
    await bench.storage.snapshot()
    connection = bench.inline.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    keep = Keep(bytes_max=pages * archive.PAGE_BYTES // 2)
    await Housekeeping(bench.storage, bench.clock, keep).once()
    (after,) = connection.execute("PRAGMA page_count").fetchone()
    assert after <= pages * 0.6
    assert bench.stored()[-1][2] == 1_500
    assert 500 < len(bench.stored()) < 1_000


async def test_nothing_is_due_in_an_empty_archive(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])
    connection = bench.inline.connection
    assert retention.due_up_to(connection, bench.clock.unix_ms(), 1) == 0
    assert retention.remove_up_to(connection, 100, None) == retention.Removed()
