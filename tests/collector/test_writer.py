"""Writers: groups, failures, and the end of the process when fsync fails."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.archive.inline_writer import InlineWriter
from collector.archive.thread_writer import ThreadWriter
from collector.archive.writer import WriteFailed, is_sync_failure


def opener(path: Path) -> Callable[[], sqlite3.Connection]:
    def open_() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS number (value INTEGER UNIQUE)")
        return connection

    return open_


def add(value: int) -> Callable[[sqlite3.Connection], int]:
    return lambda c: c.execute("INSERT INTO number VALUES (?)", (value,)).lastrowid or 0


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM number").fetchone()[0])


def thread_writer(path: Path, **options: object) -> ThreadWriter:
    return ThreadWriter(opener(path), opener(path), **options)  # type: ignore[arg-type]


async def test_operations_share_a_commit(tmp_path: Path) -> None:
    writer = thread_writer(tmp_path / "n.db", interval_s=0.2)
    await asyncio.gather(*(writer.write(add(number)) for number in range(50)))
    assert writer.counters.commits == 1
    assert await writer.read(count) == 50
    await writer.close()


async def test_an_urgent_operation_or_500_frames_commit_at_once(tmp_path: Path) -> None:
    writer = thread_writer(tmp_path / "n.db", interval_s=3_600)
    waiting = asyncio.create_task(writer.write(add(1)))
    await asyncio.sleep(0)
    await asyncio.wait_for(writer.write(add(2), urgent=True), 240)
    await asyncio.wait_for(waiting, 240)
    await asyncio.wait_for(writer.write(add(3), frames=500), 240)
    assert await writer.read(count) == 3
    await writer.close()


async def test_a_faulty_operation_fails_alone(tmp_path: Path) -> None:
    writer = thread_writer(tmp_path / "n.db", interval_s=0.1)

    def add_and_raise(connection: sqlite3.Connection) -> None:
        add(100)(connection)
        raise KeyError("ours")

    results = await asyncio.gather(
        writer.write(add(1)),
        writer.write(add_and_raise),
        writer.write(add(1)),
        writer.write(add(2)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, KeyError, sqlite3.IntegrityError, int]
    assert await writer.read(count) == 2
    await writer.close()


class Broken(sqlite3.Connection):
    """Fails at COMMIT with a given SQLite error code, as often as `failures` says."""

    failures = 0
    code = sqlite3.SQLITE_IOERR_WRITE

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:  # type: ignore[override]
        if sql == "COMMIT" and Broken.failures:
            Broken.failures -= 1
            super().execute("ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = Broken.code
            raise error
        return super().execute(sql, *arguments)  # type: ignore[arg-type]


def broken_opener(path: Path) -> Callable[[], sqlite3.Connection]:
    def open_() -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=Broken
        )
        connection.execute("CREATE TABLE IF NOT EXISTS number (value INTEGER UNIQUE)")
        return connection

    return open_


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_failed_commit_fails_the_group_and_the_database_is_opened_again(
    tmp_path: Path, threaded: bool
) -> None:
    open_ = broken_opener(tmp_path / "n.db")
    writer = ThreadWriter(open_, open_, interval_s=0.05) if threaded else InlineWriter(open_)
    Broken.failures, Broken.code = 1, sqlite3.SQLITE_IOERR_WRITE
    with pytest.raises(WriteFailed, match="disk I/O error"):
        await writer.write(add(1))
    await writer.write(add(1))
    assert await writer.read(count) == 1
    assert (writer.counters.failures, writer.counters.reopened) == (1, 1)
    await writer.close()


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC])
async def test_a_failed_fsync_ends_the_process(tmp_path: Path, threaded: bool, code: int) -> None:
    ended: list[BaseException] = []
    open_ = broken_opener(tmp_path / "n.db")
    writer = (
        ThreadWriter(open_, open_, interval_s=0.05, fatal=ended.append)
        if threaded
        else InlineWriter(open_, fatal=ended.append)
    )
    Broken.failures, Broken.code = 1, code
    with pytest.raises(WriteFailed):
        await writer.write(add(1))
    [error] = ended
    assert isinstance(error, sqlite3.Error)
    assert is_sync_failure(error)
    await writer.close()


async def test_a_writer_that_was_away_answers_every_waiting_caller(tmp_path: Path) -> None:
    gate = threading.Event()
    writer = thread_writer(tmp_path / "n.db", interval_s=0.01)
    held = asyncio.create_task(writer.write(lambda c: gate.wait(240)))
    await asyncio.sleep(0.05)
    others = [asyncio.create_task(writer.write(add(number))) for number in range(1_500)]
    await asyncio.sleep(0.05)
    gate.set()
    await asyncio.gather(held, *others)
    assert await writer.read(count) == 1_500
    await writer.close()


async def test_maintenance_runs_outside_a_transaction_and_fails_alone(tmp_path: Path) -> None:
    writer = thread_writer(tmp_path / "n.db", interval_s=0.05)
    one, vacuumed = await asyncio.gather(
        writer.write(add(1)), writer.maintain(lambda c: c.execute("VACUUM").fetchall())
    )
    assert (one, vacuumed) == (1, [])
    with pytest.raises(WriteFailed):
        await writer.maintain(lambda c: c.execute("PRAGMA nonsense(").fetchall())
    assert await writer.write(add(2)) == 2
    await writer.close()
