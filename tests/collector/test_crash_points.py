"""A crash at every write and sync: what was acknowledged is there, nothing twice, it starts."""

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from collector.archive.inline_writer import InlineWriter
from collector.forward import book_tables
from collector.ledger.ledger_boot import Account
from collector.storage.storage import FollowUp, Storage, open_storage
from tests.collector import faulty_disk
from tests.collector.core import BOOT, NODE, Bench, BenchClock, Board
from tests.collector.faulty_disk import IOERR_WRITE, MARK, SQLITE_FULL, Disk, lay_out

FRAMES = 36


class Ended(BaseException):
    """Stands for the end of the process."""


def end(error: BaseException) -> None:
    raise Ended


def open_durable(*arguments: object, **options: object) -> Storage:
    options["durable"] = True
    return open_storage(*arguments, **options, fatal=end)  # type: ignore[arg-type]


def open_durable_small_log(*arguments: object, **options: object) -> Storage:
    """With checkpoints every few commits, so that crashes fall into them too."""
    storage = open_durable(*arguments, **options)
    assert isinstance(storage.writer, InlineWriter)
    follow_up = storage.writer._connection._after_commit
    assert isinstance(follow_up, FollowUp)
    checkpoint = follow_up.checkpoint
    checkpoint._bytes = checkpoint._due_bytes = 16_384
    return storage


def acked(bench: Bench) -> set[int]:
    upto, mask = bench.acked()
    return set(range(1, upto + 1)) | {upto + 2 + i for i in range(32) if mask >> i & 1}


async def record(folder: Path) -> list[faulty_disk.Op]:
    """A day's work in small: groups, snapshots, a sink's progress, checkpoints, a clean end."""
    board = Board()
    with faulty_disk.faulty_disk() as disk:
        bench = Bench(folder, [board], durable=True, open_=open_durable_small_log)
        connection = bench.inline.connection
        book_tables.create(connection)
        bench.receive(board.live(60_000, [(BOOT, 1, FRAMES)]))
        for first in range(1, FRAMES + 1, 6):
            seqs = range(first, min(first + 6, FRAMES + 1))
            await bench.take(*(board.data(seq) for seq in seqs))
            disk.mark(frozenset(acked(bench)))
            if first % 18 == 1:
                await bench.storage.snapshot()
        await bench.storage.close()
        disk.mark(frozenset(acked(bench)))
    return [op for op in disk.ops if "quarantine" not in op.path]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> list[faulty_disk.Op]:
    return asyncio.run(record(tmp_path_factory.mktemp("recorded")))


@pytest.mark.parametrize("lost", ["nothing", "unsynced", "some"])
async def test_a_crash_at_each_write_and_sync(
    log: list[faulty_disk.Op], tmp_path: Path, lost: str
) -> None:
    randomness = random.Random(7)
    board = Board()
    promised: frozenset[int] = frozenset()
    points = 0
    for number, op in enumerate(log):
        if op.kind == MARK:
            assert isinstance(op.note, frozenset)
            promised = op.note
            continue
        points += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        lay_out(log[: number + 1], folder, lost, randomness)
        bench = Bench(folder, [board])
        connection = bench.inline.connection
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        stored = [seq for _, _, seq in bench.stored()]
        assert promised <= set(stored), f"lost after operation {number}"
        assert len(stored) == len(set(stored))
        account = bench.storage.ledger.account(NODE)
        assert account.stored == len(stored)
        await bench.take(*(board.data(seq) for seq in range(1, FRAMES + 1)))
        await bench.intake.flush()
        assert sorted(seq for _, _, seq in bench.stored()) == list(range(1, FRAMES + 1))
        assert bench.acked() == (FRAMES, 0)
        assert bench.storage.ledger.account(NODE) == Account(FRAMES, FRAMES)
        await bench.storage.close()
    assert points > 100


async def attempt(bench: Bench, board: Board, seqs: range) -> None:
    """What a board does: sends again what is not acknowledged."""
    missing = [seq for seq in seqs if seq not in acked(bench)]
    await bench.take(*(board.data(seq) for seq in missing))
    assert_memory_is_not_ahead(bench)


def assert_memory_is_not_ahead(bench: Bench) -> None:
    on_disk = {seq for _, _, seq in bench.stored()}
    assert acked(bench) <= on_disk
    boot = bench.storage.ledger.known_boot(NODE, BOOT)
    if boot is not None:
        durable = {seq for first, last in boot.received for seq in range(first, last + 1)}
        assert durable <= on_disk


async def run_with_failures(folder: Path, disk: Disk, board: Board) -> int:
    """Works until all is acknowledged, starting anew when the process ends; returns the starts."""
    starts = 0
    clock = BenchClock()
    bench: Bench | None = None
    while True:
        try:
            if bench is None:
                starts += 1
                bench = Bench(folder, [board], clock, durable=True, open_=open_durable_small_log)
            for first in range(1, 37, 6):
                await attempt(bench, board, range(first, first + 6))
                clock.pass_ms(1_000)
            await bench.storage.snapshot()
            if acked(bench) == set(range(1, 37)):
                return starts
        except Ended:
            bench = None
        except sqlite3.Error:  # the daemon ends too when it cannot open its archive
            bench = None
        assert starts < 20


@pytest.mark.parametrize(("error", "failures"), [(SQLITE_FULL, 5), (IOERR_WRITE, 1)])
async def test_a_failure_at_each_write_and_sync(tmp_path: Path, error: int, failures: int) -> None:
    board = Board()
    number = 0
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        with faulty_disk.faulty_disk() as disk:
            disk.recording = False
            disk.fail(number, failures, error)
            await run_with_failures(folder, disk, board)
            reached = disk.failed
        check = Bench(folder, [board])
        stored = sorted(seq for _, _, seq in check.stored())
        assert stored == list(range(1, 37)), f"operation {number}"
        assert check.storage.ledger.account(NODE).stored == 36
        await check.storage.close()
        if not reached:
            break
        number += 1
    assert number > 60


async def test_the_disk_really_fails_and_really_loses(tmp_path: Path) -> None:
    """The bench itself: without its faults the same checks see them."""
    board = Board()
    with faulty_disk.faulty_disk() as disk:
        bench = Bench(tmp_path, [board], durable=True, open_=open_durable)
        disk.fail(0, 1_000_000)
        await bench.take(board.data(1))
        assert disk.failed
        assert bench.acks() == []
        disk.fail_from = None
        await bench.intake.flush()
        await bench.take(board.data(1))
        assert bench.acked() == (1, 0)
        kinds = {op.kind for op in disk.ops}
    assert {"write", "sync"} <= kinds
