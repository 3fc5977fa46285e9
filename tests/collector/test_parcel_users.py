"""Whoever writes from memory: however one write ended, after the next the tables say all, once.

Each user puts something into memory and has it written; that write fails, or nobody knows whether
it is on the disk, or it is cancelled at one of its awaits. Once the disk works again, its tables
have to be those of a collector that never met with anything.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collector.archive import archive, hour_index, identity
from collector.archive.parcels import commit
from collector.archive.writer import WriteFailed
from collector.forward import book_tables
from collector.storage import derived
from collector.storage.storage import Storage, open_storage
from collector.timeline.frozen_time import FrozenTimes
from collector.timeline.timeline_fit import GPS, Knot
from protocol import wire
from protocol.compose import clock_section
from protocol.sections import ClockSet
from simulator.virtual_loop import run
from tests.collector.core import BOOT, NODE, START_MS, Bench, BenchClock, Board
from tests.collector.parcels import FATES, KINDS, Disk, Fate, cancelled_after, made

HOUR_MS = 3_600_000
MOVED_HOURS = 40
CUTS_MAX = {"inline": 40, "late": 40, "thread": 6}
LATER_S = {"inline": 0.0, "late": 0.005, "thread": 0.001}
"""How much later each cut comes; 0: one turn of the loop."""

OF_SQLITE = ("sqlite_sequence", "sqlite_stat1")

Tables = dict[str, list[Any]]
Act = Callable[[Bench, Board], Awaitable[Any]]


@dataclass(frozen=True)
class User:
    """`begin` fills memory, `write` has it written, and once more when that did not hold."""

    begin: Act
    write: Act


async def nothing(bench: Bench, board: Board) -> None:
    pass


async def take_in(bench: Bench, board: Board) -> None:
    """Frames of a boot that is new, a LIVE of one that was heard before, and a conflict."""
    bench.clock.right = True
    bench.receive(board.live(60_000, [(BOOT, 1, 9)], counter=1), *frames(board))
    await bench.intake.flush()
    # a board sends again what is not acknowledged; a commit in doubt is looked at before
    bench.receive(*frames(board))
    await bench.intake.flush()


def frames(board: Board) -> list[bytes]:
    clock = clock_section(ClockSet(120_000, START_MS + 120_000, 60, wire.CLOCK_GPS))
    return [
        board.data(1),
        board.data(2, extra=[clock]),
        board.data(2, rows=((7, 7),)),
        board.data(3),
    ]


async def hear_undated(bench: Bench, board: Board) -> None:
    """The collector does not know the time yet."""
    bench.clock.right = False
    await bench.take(Board(NODE + 1).data(1))


async def hear_of_loss(bench: Bench, board: Board) -> None:
    """The board says that this archive lost what it has acknowledged: another id is due."""
    await bench.take(board.live(1_000, [(BOOT, 1, 9)]))
    bench.receive(board.live(2_000, [(BOOT, 6, 9)], collector=bench.storage.ledger.collector))


async def commit_twice(bench: Bench, board: Board) -> None:
    for _ in range(2):
        await bench.intake.flush()


async def fill(bench: Bench, board: Board) -> None:
    """Frames, clocks and LIVE of some hours are in memory, and times of a board have moved."""
    by_clock = Board(NODE + 1)
    for hour in range(6):
        seq, uptime_ms = hour + 1, hour * HOUR_MS
        clock = clock_section(ClockSet(uptime_ms, START_MS + uptime_ms, 5_000, wire.CLOCK_GPS))
        bench.receive(board.live(uptime_ms, [(BOOT, 1, seq)]))
        await bench.take(
            board.data(seq, t0_ms=uptime_ms),
            by_clock.data(seq, t0_ms=uptime_ms, extra=[clock]),
        )
        bench.clock.pass_ms(HOUR_MS)
    assert await bench.storage.snapshot()
    for hour in (100, 1):
        knot = Knot(hour * HOUR_MS, START_MS + MOVED_HOURS * HOUR_MS, 60, GPS)
        bench.storage.timeline.observe_clock(NODE + 1, BOOT, knot, None)
    await bench.take(board.data(7, t0_ms=6 * HOUR_MS))


async def snapshot(bench: Bench, board: Board) -> None:
    if await bench.storage.snapshot(everything=True):
        with reader(bench, "archive.db") as connection:
            (last,) = connection.execute("SELECT max(hour) FROM dirty").fetchone()
        assert last >= START_MS // HOUR_MS + MOVED_HOURS, "what has moved is computed again"
    bench.storage.indexing.failed(2, "frame 2")
    await bench.take(board.data(8, t0_ms=7 * HOUR_MS))


async def refuse(bench: Bench, board: Board) -> None:
    stranger = Board(NODE + 2)
    bench.receive(*(stranger.data(seq) for seq in (1, 2, 2, 3)))


async def write_quarantine(bench: Bench, board: Board) -> None:
    bench.clock.pass_ms(60_000)
    await bench.storage.quarantine.flush()


class Sending:
    """Dates of frames are frozen as they leave the house."""

    frozen: FrozenTimes

    async def begin(self, bench: Bench, board: Board) -> None:
        await bench.take(board.live(60_000, [(BOOT, 1, 9)]))
        await bench.storage.writer.write(book_tables.create, urgent=True)
        self.frozen = FrozenTimes(bench.storage.timeline)
        self.frozen.line(NODE, BOOT, 0, HOUR_MS)

    async def write(self, bench: Bench, board: Board) -> None:
        await commit(bench.storage.writer, [self.frozen.take()])


def users() -> dict[str, User]:
    sending = Sending()
    return {
        "first frames": User(nothing, take_in),
        "the date of a start": User(hear_undated, take_in),
        "another id": User(hear_of_loss, commit_twice),
        "a snapshot": User(fill, snapshot),
        "the quarantine": User(refuse, write_quarantine),
        "frozen times": User(sending.begin, sending.write),
    }


class Stage:
    """A bench whose writes end as its disk says."""

    def __init__(self, folder: Path, kind: str) -> None:
        def open_(path: Path, quarantine: Path, clock: BenchClock, **options: Any) -> Storage:
            if kind != "inline":
                options |= {"threaded": True, "make_writer": made(kind)}
            return open_storage(path, quarantine, clock, **options)

        folder.mkdir()
        self.disk = Disk()
        self.board = Board()
        with self.disk.under_all():
            self.bench = Bench(folder, [self.board, Board(NODE + 1)], open_=open_)

    async def play(self, user: User, incident: Callable[[], Awaitable[None]]) -> Tables:
        """What the tables say after an incident at the first of three writes."""
        bench, board = self.bench, self.board
        with self.disk.under_all():
            await user.begin(bench, board)
            await incident()
            self.disk.fate = "kept"
            for _ in range(2):
                await user.write(bench, board)
            told = first_of(bench)
            assert await bench.storage.snapshot(everything=True)
            told |= tables_of(bench)
            await bench.storage.close()
        return told

    async def write(self, user: User) -> None:
        try:
            await user.write(self.bench, self.board)
        except WriteFailed:
            assert self.disk.fate != "kept"


def reader(bench: Bench, name: str) -> AbstractContextManager[sqlite3.Connection]:
    return closing(archive.open_reader(bench.folder / name))


def first_of(bench: Bench) -> Tables:
    """What must not wait for a snapshot."""
    with reader(bench, "archive.db") as connection:
        asked = {
            "boots": "SELECT node, boot, before FROM ledger ORDER BY 1, 2",
            "baselines": "SELECT node, baseline FROM node ORDER BY 1",
            "clocks": "SELECT DISTINCT node, boot FROM knot ORDER BY 1, 2",
        }
        return {name: connection.execute(sql).fetchall() for name, sql in asked.items()}


def tables_of(bench: Bench) -> Tables:
    """What is committed, but for what differs from run to run: ids and downlink numbers."""
    found: Tables = {}
    for name in ("archive.db", "quarantine.db"):
        with reader(bench, name) as connection:
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            for (table,) in tables.fetchall():
                found[table] = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
    meta = dict(found.pop("meta"))
    assert meta["collector"] == bench.storage.ledger.collector
    found["meta"] = [meta[archive.SNAPSHOT_KEY], meta.get(identity.FORMER_KEY, "[]").count(",")]
    found["dirty"] = [row[:2] for row in found["dirty"]]
    found["node"] = [(*row[:2], *row[3:]) for row in found["node"]]
    found["ledger"] = [(*row[:7], *row[8:]) for row in found["ledger"]]
    return {table: rows for table, rows in found.items() if table not in OF_SQLITE}


async def undisturbed(folder: Path, user: User) -> Tables:
    """The tables of a collector that never met with anything."""
    calm = Stage(folder, "inline")
    return await calm.play(user, lambda: calm.write(user))


def run_with(kind: str, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """In virtual time, unless real threads take part."""
    if kind == "thread":
        asyncio.run(story())
    else:
        run(lambda loop: story())


each_user = pytest.mark.parametrize("name", users())
each_full = pytest.mark.parametrize("full", [False, True], ids=["roomy", "full"])


@pytest.mark.parametrize("kind", KINDS)
@each_user
@each_full
def test_however_a_write_ends_the_next_one_makes_it_good(
    tmp_path: Path, name: str, kind: str, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if full:
        monkeypatch.setattr(hour_index, "ROWS_MAX", 1)
    expected = asyncio.run(undisturbed(tmp_path / "calm", users()[name]))
    for fate in FATES:

        async def story(fate: Fate = fate) -> None:
            one, user = Stage(tmp_path / fate, kind), users()[name]

            async def incident() -> None:
                one.disk.fate = fate
                await one.write(user)

            assert await one.play(user, incident) == expected, fate

        run_with(kind, story)


@pytest.mark.parametrize("kind", KINDS)
@each_user
@each_full
def test_wherever_a_write_is_cancelled_the_next_one_makes_it_good(
    tmp_path: Path, name: str, kind: str, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if full:
        monkeypatch.setattr(hour_index, "ROWS_MAX", 1)
    monkeypatch.setattr(derived, "KEYS_PER_STEP", 1)
    expected = asyncio.run(undisturbed(tmp_path / "calm", users()[name]))
    cut, at = True, 0
    while cut and at < CUTS_MAX[kind]:
        cut = False

        async def story(at: int = at) -> None:
            one, user = Stage(tmp_path / str(at), kind), users()[name]

            async def incident() -> None:
                nonlocal cut
                cut = await cancelled_after(at, lambda: one.write(user), LATER_S[kind])

            assert await one.play(user, incident) == expected, f"cancelled at {at}"

        run_with(kind, story)
        at += 1
    assert at > 1 or kind == "inline"


def test_a_snapshot_does_not_overtake_a_first_contact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a snapshot still looks for what it has to write, a commit writes newer rows."""
    monkeypatch.setattr(derived, "KEYS_PER_STEP", 1)

    async def story() -> None:
        bench, board = Stage(tmp_path / "a", "late").bench, Board()
        await bench.take(*(board.data(seq, t0_ms=seq * HOUR_MS) for seq in range(5, 60)))
        running = asyncio.create_task(bench.storage.snapshot())
        for _ in range(10):
            await asyncio.sleep(0)
        bench.receive(board.live(60_000, [(BOOT, 5, 60)]))
        await asyncio.gather(running, bench.intake.flush())
        with reader(bench, "archive.db") as connection:
            before = connection.execute("SELECT boot, before FROM ledger").fetchall()
            (baseline,) = connection.execute("SELECT baseline FROM node").fetchone()
        assert before == [(BOOT, 4)], "what came before the first contact is known after a crash"
        assert baseline is not None
        await bench.storage.close()

    run_with("late", story)


async def test_frames_that_wait_for_a_snapshot_are_forgotten_when_that_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would write them any more, and their board would be told nothing for ever."""
    monkeypatch.setattr(hour_index, "ROWS_MAX", 1)
    bench, board = Stage(tmp_path / "a", "inline").bench, Board()
    await bench.take(board.data(1))
    assert bench.words(board.data(2)) == ["accepted"]
    async with bench.storage.indexing.writing:
        assert await cancelled_after(5, bench.intake.flush)
    assert bench.words(board.data(2)) == ["accepted"]
    await bench.intake.flush()
    assert bench.acked() == (2, 0)
    await bench.storage.close()
