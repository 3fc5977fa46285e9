"""Salvage: frames come out of pages whose tree is gone, and what is gone is lost on the ledger."""

import sqlite3
from pathlib import Path

import pytest

from collector.archive import archive
from collector.doctor.log_file import read_log
from collector.doctor.pages import add_carved, carve, mark_lost
from collector.ledger.ledger_boot import Account
from tests.collector.core import BOOT, NODE, Bench, Board

FRAMES = 300


async def filled(tmp_path: Path) -> tuple[Board, Bench]:
    board = Board()
    bench = Bench(tmp_path, [board])
    bench.receive(board.live(60_000, [(BOOT, 1, FRAMES)]))
    for first in range(1, FRAMES + 1, 50):
        await bench.take(*(board.data(seq) for seq in range(first, first + 50)))
    return board, bench


async def test_a_torn_log_is_told_from_a_whole_one(tmp_path: Path) -> None:
    board, bench = await filled(tmp_path)
    whole = (tmp_path / "archive.db-wal").read_bytes()
    image = tmp_path / "image"
    image.mkdir()
    (image / "archive.db").write_bytes((tmp_path / "archive.db").read_bytes())
    (image / "archive.db-wal").write_bytes(whole + whole[32:3_000])
    before, after = read_log(tmp_path / "archive.db-wal"), read_log(image / "archive.db-wal")
    assert before is not None
    assert after is not None
    assert (before.torn_bytes, after.torn_bytes) == (0, 2_968)
    assert after.frames == before.frames
    opened = Bench(image, [board], bench.clock)
    assert opened.storage.ledger.account(NODE).stored == FRAMES
    assert read_log(tmp_path / "none") is None


async def test_frames_in_the_log_alone_are_found(tmp_path: Path) -> None:
    _, bench = await filled(tmp_path)
    log = (tmp_path / "archive.db-wal").read_bytes()
    image = tmp_path / "image"
    image.mkdir()
    (image / "archive.db").write_bytes(b"\0" * 10_000)
    (image / "archive.db-wal").write_bytes(log)
    found = {frame.id: frame for frame in carve(image / "archive.db")}
    assert list(found.values()) == list(archive.frames(bench.inline.connection, 1, FRAMES, FRAMES))


async def test_long_frames_are_followed_over_their_pages(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    extra = [(5, bytes(range(250)) * 15)]
    raw = board.data(1, extra=extra)
    assert len(raw) > 3_700
    frame = archive.StoredFrame(9_000, NODE, BOOT, 1, 1, 0, bench.clock.unix_ms(), 5, -9, raw)
    padded = frame._replace(raw=raw)
    archive.append(bench.inline.connection, padded)
    await bench.storage.close()
    [found] = carve(tmp_path / "archive.db")
    assert found.raw == raw
    assert found.last_ms == -9


@pytest.mark.parametrize("page", range(2, 16))
async def test_a_saved_archive_says_what_is_lost_and_takes_it_again(
    tmp_path: Path, page: int
) -> None:
    board, bench = await filled(tmp_path)
    await bench.storage.close()
    path = tmp_path / "archive.db"
    raw = bytearray(path.read_bytes())
    start = (page - 1) * archive.PAGE_BYTES
    raw[start : start + archive.PAGE_BYTES] = b"\xa5" * archive.PAGE_BYTES
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(raw)
    (path.with_name("archive.db.witness")).unlink()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DELETE FROM frame")
    kept = add_carved(connection, damaged)
    assert FRAMES - 60 <= kept <= FRAMES
    assert mark_lost(connection) == FRAMES - kept
    connection.close()
    after = Bench(tmp_path, [board], bench.clock)
    account = after.storage.ledger.account(NODE)
    assert account == Account(FRAMES, kept, lost=FRAMES - kept)
    await after.take(*(board.data(seq) for seq in range(1, FRAMES + 1)))
    await after.intake.flush()
    assert after.storage.ledger.account(NODE) == Account(FRAMES, FRAMES)
