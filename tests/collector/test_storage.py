"""Storage as a whole: restores are noticed, failed writes leave memory and disk in step."""

import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from collector.archive import archive
from collector.archive.schema import SchemaError
from collector.archive.writer import WriteFailed
from collector.clock import HOUR_MS, SteadyClock, SystemClock, kernel_synchronised
from collector.storage import rollup
from collector.storage.storage import SNAPSHOT_FRAMES, open_storage
from protocol.decoder import decode
from tests.collector.core import BOOT, NODE, Bench, BenchClock, Board

NOBODY = 65_534


async def test_a_restored_archive_takes_a_new_id_and_higher_frame_ids(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(board.data(1), board.data(2))
    bench = await bench.again([board])
    old_id = bench.storage.ledger.collector
    backup = tmp_path / "backup.db"
    shutil.copy(tmp_path / "archive.db", backup)
    await bench.take(*(board.data(seq) for seq in range(3, 8)))
    await bench.storage.close()
    shutil.copy(backup, tmp_path / "archive.db")
    for leftover in ("archive.db-wal", "archive.db-shm"):
        (tmp_path / leftover).unlink(missing_ok=True)
    restored = Bench(tmp_path, [board], bench.clock)
    assert restored.storage.restored
    assert restored.storage.ledger.collector != old_id
    assert old_id in restored.storage.ledger.identity.former
    restored.receive(board.live(600_000, [(BOOT, 8, 9)], collector=old_id))
    assert [(alarm.kind, alarm.frames) for alarm in restored.alarms] == [("lost_here", 5)]
    await restored.take(board.data(8))
    assert archive.newest_id(restored.inline.connection) == 8
    again = await restored.again([board])
    assert not again.storage.restored


def copied_without_its_log(folder: Path, name: str) -> Path:
    """What `cp archive.db` of a running collector takes, put back beside its witness."""
    elsewhere = folder / name
    elsewhere.mkdir()
    for file in ("archive.db", "archive.db.witness"):
        shutil.copy(folder / file, elsewhere)
    return elsewhere


async def test_a_log_lost_after_the_first_commit_is_noticed(tmp_path: Path) -> None:
    """Until the first checkpoint the file is one empty page: even its tables are in the log."""
    board = Board()
    bench = Bench(tmp_path, [board])
    old_id = bench.storage.ledger.collector
    await bench.take(board.data(1))
    lost = Bench(copied_without_its_log(tmp_path, "lost"), [board], bench.clock)
    assert lost.storage.restored
    assert lost.storage.ledger.collector != old_id
    assert lost.storage.ledger.identity.former == (old_id,)
    lost.receive(board.live(600_000, [(BOOT, 2, 1)], collector=old_id))
    assert [(alarm.kind, alarm.frames) for alarm in lost.alarms] == [("lost_here", 1)]
    await lost.take(board.data(2))
    assert archive.newest_id(lost.inline.connection) == 2
    again = await lost.again([board])
    assert not again.storage.restored
    assert again.storage.ledger.identity.former == (old_id,)


@pytest.mark.parametrize("later", [1, 5])
async def test_a_log_lost_after_a_checkpoint_is_noticed(tmp_path: Path, later: int) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    old_id = bench.storage.ledger.collector
    await bench.take(*(board.data(seq) for seq in range(1, 10)))
    bench.inline.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = Bench(copied_without_its_log(tmp_path, "kept"), [board], bench.clock)
    assert not kept.storage.restored
    await bench.take(*(board.data(seq) for seq in range(10, 10 + later)))
    lost = Bench(copied_without_its_log(tmp_path, "lost"), [board], bench.clock)
    assert lost.storage.restored
    assert lost.storage.ledger.identity.former == (old_id,)


async def test_a_damaged_witness_accuses_nobody(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(board.data(1))
    await bench.storage.close()
    for damage in (b"", b"\0" * 61, b'{"collector": 7', b'{"collector": null, "newest_id": 9}'):
        (tmp_path / "archive.db.witness").write_bytes(damage)
        bench = Bench(tmp_path, [board], bench.clock)
        assert not bench.storage.restored
        await bench.storage.close()
        witness = json.loads((tmp_path / "archive.db.witness").read_text())
        assert witness == {"collector": bench.storage.ledger.collector, "newest_id": 1}


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_clean_stop_leaves_one_complete_file(tmp_path: Path, threaded: bool) -> None:
    board = Board()
    open_ = partial(open_storage, tmp_path / "archive.db", tmp_path / "quarantine.db")
    storage = open_(BenchClock(), threaded=threaded)
    storage.quarantine.offer(b"?", None, "short", "mqtt")
    assert await storage.quarantine.flush()
    assert await storage.writer.read(archive.newest_id) == 0
    await storage.writer.write(lambda c: archive.append(c, stored(board.data(1))))
    await storage.close()
    assert names(tmp_path) == ["archive.db", "archive.db.witness", "quarantine.db"]
    copy = tmp_path / "elsewhere.db"
    shutil.copy(tmp_path / "archive.db", copy)
    with closing(archive.open_reader(copy)) as connection:
        assert connection.execute("SELECT seq FROM frame").fetchall() == [(1,)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM frame")
    assert "elsewhere.db-wal" not in names(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_who_may_only_read_reads_a_stopped_archive() -> None:
    with tempfile.TemporaryDirectory(prefix="osn-read-only-") as folder:
        board = Board()
        bench = Bench(Path(folder), [board])
        await bench.take(board.data(1))
        await bench.storage.close()
        os.chmod(folder, 0o755)  # noqa: PTH101
        before = names(Path(folder))
        os.seteuid(NOBODY)
        try:
            with closing(archive.open_reader(f"{folder}/archive.db")) as connection:
                assert archive.newest_id(connection) == 1
        finally:
            os.seteuid(0)
        assert names(Path(folder)) == before


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stored(raw: bytes) -> archive.StoredFrame:
    frame = decode(raw)
    return archive.StoredFrame(0, frame.node, frame.boot, frame.seq, frame.type, 0, 1, 0, 0, raw)


async def test_a_crash_is_no_restore(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(board.data(1))
    await bench.storage.snapshot()
    await bench.take(board.data(2))
    after = await bench.again([board], clean=False)
    assert not after.storage.restored


async def test_ids_start_above_every_done_range(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(board.data(1), board.data(2))
    connection = bench.inline.connection
    archive.raise_ids_above(connection, 1_000)
    connection.execute("DELETE FROM frame")
    await bench.take(board.data(3))
    assert archive.newest_id(connection) == 1_001
    archive.raise_ids_above(connection, 500)
    assert archive.newest_id(connection) == 1_001


class FullDisk:
    """Lets a connection write only so many pages more: SQLITE_FULL, as on a full disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")


async def test_a_full_disk_rolls_back_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(board.data(1))
    acks = len(bench.acks())
    FullDisk(bench.inline.connection)
    frames = [board.data(seq, rows=[(seq, seq)] * 60) for seq in range(2, 200)]
    await bench.take(*frames)
    assert bench.stored() == [(NODE, BOOT, 1)]
    assert len(bench.acks()) == acks
    assert bench.storage.ledger.account(NODE).stored == 1
    assert bench.intake.commits.failed == 1
    assert await bench.take(*frames) == ["accepted"] * len(frames)
    assert len(bench.stored()) == 199
    assert bench.acked() == (199, 0)


async def test_a_failed_snapshot_is_taken_again(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    bench.receive(board.live(60_000, [(BOOT, 1, 9)]))
    await bench.take(*(board.data(seq) for seq in range(1, 10)))
    bench.inline.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.OperationalError):
        bench.inline.connection.execute("DELETE FROM meta")
    assert not await bench.storage.snapshot()
    bench.inline.connection.execute("PRAGMA query_only = OFF")
    assert await bench.storage.snapshot()
    after = await bench.again([board], clean=False)
    assert after.storage.replayed == 0
    assert after.storage.ledger.account(NODE).stored == 9
    assert after.storage.timeline.time_of(NODE, BOOT, 60_000) is not None


async def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE notes (text TEXT)")
    other.close()
    with pytest.raises(SchemaError, match="not an archive"):
        open_storage(tmp_path / "other.db", tmp_path / "q.db", BenchClock(), threaded=False)


async def test_a_newer_archive_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "archive.db"
    connection = archive.open_archive(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(SchemaError, match="newer version"):
        archive.open_archive(path)
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (999,)


async def test_the_first_knot_of_a_boot_survives_a_crash(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    bench.receive(board.live(60_000, [(BOOT, 1, 1)]))
    await bench.take(board.data(1))
    before = bench.storage.timeline.time_of(NODE, BOOT, 60_000)
    after = await bench.again([board], clean=False)
    now = after.storage.timeline.time_of(NODE, BOOT, 60_000)
    assert before is not None
    assert now is not None
    assert now.unix_ms == before.unix_ms


async def test_a_closed_writer_refuses(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "a.db", tmp_path / "q.db", BenchClock())
    await storage.close()
    await storage.close()
    with pytest.raises(WriteFailed):
        await storage.writer.write(lambda connection: None)


def test_a_clock_before_2024_is_never_believed() -> None:
    class Old(SystemClock):
        def unix_ms(self) -> int:
            return 1_000_000

    assert not Old("always").synchronised()
    assert SystemClock("always").synchronised()
    assert not SystemClock("never").synchronised()
    assert SystemClock("kernel").synchronised() == kernel_synchronised()


def test_a_slow_drift_is_no_step() -> None:
    clock = BenchClock()
    steady = SteadyClock(clock)
    for _ in range(1_000):
        clock.pass_ms(60_000)
        clock.step_ms(30)  # 500 ppm, the most that ntpd slews
        assert steady.synchronised()
    assert steady.steps == 0


async def test_few_frames_wait_for_the_hour_and_many_do_not(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    storage = bench.storage
    bench.clock.pass_ms(HOUR_MS - bench.clock.unix_ms() % HOUR_MS + rollup.GRACE_MS)
    bench.receive(board.live(600_000, []))
    await bench.take(board.data(1))
    assert storage.snapshot_is_due()
    assert await storage.snapshot()
    await bench.take(*(board.data(seq) for seq in range(2, SNAPSHOT_FRAMES + 1)))
    assert not storage.snapshot_is_due()
    await bench.take(board.data(SNAPSHOT_FRAMES + 1))
    assert storage.snapshot_is_due()
    assert await storage.snapshot()
    bench.clock.pass_ms(HOUR_MS - 1)
    assert not storage.snapshot_is_due()
    bench.clock.pass_ms(1)
    assert storage.snapshot_is_due()


async def test_a_snapshot_that_failed_is_due_again(tmp_path: Path) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(board.data(1))
    bench.inline.connection.execute("ALTER TABLE hour RENAME TO away")
    assert not await bench.storage.snapshot()
    assert bench.storage.snapshot_is_due()
    bench.inline.connection.execute("ALTER TABLE away RENAME TO hour")
    assert await bench.storage.snapshot()
    assert not bench.storage.snapshot_is_due()
