"""What every writer promises: inline, of the daemon's thread, and later in virtual time."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from collector.archive.inline_writer import InlineWriter
from collector.archive.thread_writer import ThreadWriter
from collector.archive.writer import WriteFailed, Writer, is_sync_failure, outcome
from simulator.late_writer import Killed, LateWriter


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


KINDS = ("inline", "late", "thread")
GATHERING = ("late", "thread")
"""Writers that gather; the inline one commits each operation at once."""


def make(
    kind: str,
    open_: Callable[[], sqlite3.Connection],
    *,
    interval_s: float = 0.01,
    **options: object,
) -> Writer:
    if kind == "inline":
        return InlineWriter(open_, **options)  # type: ignore[arg-type]
    made = LateWriter if kind == "late" else ThreadWriter
    return made(open_, open_, interval_s=interval_s, **options)


def thread_writer(path: Path, **options: object) -> ThreadWriter:
    return ThreadWriter(opener(path), opener(path), **options)


@pytest.mark.parametrize("kind", GATHERING)
async def test_operations_share_a_commit(tmp_path: Path, kind: str) -> None:
    writer = make(kind, opener(tmp_path / "n.db"), interval_s=0.2)
    await asyncio.gather(*(writer.write(add(number)) for number in range(50)))
    assert writer.counters.commits == 1
    assert await writer.read(count) == 50
    await writer.close()


@pytest.mark.parametrize("kind", GATHERING)
async def test_an_urgent_operation_or_500_frames_commit_at_once(tmp_path: Path, kind: str) -> None:
    writer = make(kind, opener(tmp_path / "n.db"), interval_s=3_600)
    waiting = asyncio.create_task(writer.write(add(1)))
    await asyncio.sleep(0)
    await asyncio.wait_for(writer.write(add(2), urgent=True), 240)
    await asyncio.wait_for(waiting, 240)
    await asyncio.wait_for(writer.write(add(3), frames=500), 240)
    assert await writer.read(count) == 3
    await writer.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_faulty_operation_fails_alone(tmp_path: Path, kind: str) -> None:
    writer = make(kind, opener(tmp_path / "n.db"), interval_s=0.1)

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


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_commit_fails_the_group_and_the_database_is_opened_again(
    tmp_path: Path, kind: str
) -> None:
    writer = make(kind, broken_opener(tmp_path / "n.db"))
    Broken.failures, Broken.code = 1, sqlite3.SQLITE_IOERR_WRITE
    with pytest.raises(WriteFailed, match="disk I/O error"):
        await writer.write(add(1))
    await writer.write(add(1))
    assert await writer.read(count) == 1
    assert (writer.counters.failures, writer.counters.reopened) == (1, 1)
    await writer.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC])
async def test_a_failed_fsync_ends_the_process(tmp_path: Path, kind: str, code: int) -> None:
    ended: list[BaseException] = []
    writer = make(kind, broken_opener(tmp_path / "n.db"), fatal=ended.append)
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


@pytest.mark.parametrize("kind", KINDS)
async def test_maintenance_runs_outside_a_transaction_and_fails_alone(
    tmp_path: Path, kind: str
) -> None:
    writer = make(kind, opener(tmp_path / "n.db"), interval_s=0.05)
    one, vacuumed = await asyncio.gather(
        writer.write(add(1)), writer.maintain(lambda c: c.execute("VACUUM").fetchall())
    )
    assert (one, vacuumed) == (1, [])
    with pytest.raises(WriteFailed):
        await writer.maintain(lambda c: c.execute("PRAGMA nonsense(").fetchall())
    assert await writer.write(add(2)) == 2
    await writer.close()


async def settled(writer: Writer, commits: int) -> None:
    """What follows a commit happens after its caller was told."""
    for _ in range(1_000):
        if writer.counters.commits >= commits and writer.counters.failures:
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [sqlite3.OperationalError("no room"), OSError("gone")])
async def test_what_fails_after_a_durable_commit_takes_nothing_back(
    tmp_path: Path, kind: str, error: Exception
) -> None:
    failing = [error]

    def checkpoint(connection: sqlite3.Connection) -> None:
        if failing:
            raise failing.pop()

    writer = make(kind, opener(tmp_path / "n.db"), after_commit=checkpoint)
    assert await writer.write(add(7)) == 1
    await settled(writer, 1)
    assert (writer.counters.commits, writer.counters.failures) == (1, 1)
    assert writer.counters.last_failure == str(error)
    assert await writer.write(add(8)) == 2, "the database was opened again"
    assert await writer.read(count) == 2
    await writer.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_fsync_after_a_commit_ends_the_process(tmp_path: Path, kind: str) -> None:
    ended: list[BaseException] = []

    def checkpoint(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    writer = make(kind, opener(tmp_path / "n.db"), after_commit=checkpoint, fatal=ended.append)
    assert await writer.write(add(7)) == 1
    await settled(writer, 1)
    assert len(ended) == 1
    await writer.close()


def raising(error: Exception) -> Callable[[sqlite3.Connection], int]:
    def operation(connection: sqlite3.Connection) -> int:
        add(99)(connection)
        raise error

    return operation


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (raising(KeyError("ours")), KeyError),
        (raising(OSError("a file of ours")), OSError),
        (add(1), sqlite3.IntegrityError),
        (lambda c: c.execute("SELECT nonsense"), sqlite3.OperationalError),
    ],
    ids=["an error of ours", "an OSError of ours", "a constraint", "a wrong statement"],
)
async def test_what_an_operation_raises_reaches_its_caller_and_is_rolled_back(
    tmp_path: Path, kind: str, operation: Callable[[sqlite3.Connection], object], expected: type
) -> None:
    writer = make(kind, opener(tmp_path / "n.db"))
    await writer.write(add(1))
    with pytest.raises(expected):
        await writer.write(operation)
    with pytest.raises(WriteFailed if expected is sqlite3.OperationalError else Exception):
        await writer.maintain(operation)
    assert writer.counters.failures == writer.counters.reopened == 0
    assert await writer.write(add(2)) is not None
    await writer.close()
    with closing(sqlite3.connect(tmp_path / "n.db")) as connection:
        values = {value for (value,) in connection.execute("SELECT value FROM number")}
    assert {1, 2} <= values


@pytest.mark.parametrize("kind", KINDS)
async def test_a_database_that_cannot_be_opened_again_is_a_failed_write(
    tmp_path: Path, kind: str
) -> None:
    good, away = opener(tmp_path / "n.db"), [False]

    def open_() -> sqlite3.Connection:
        if away[0]:
            raise PermissionError("the card is gone")
        return good()

    def checkpoint(connection: sqlite3.Connection) -> None:
        if not away[0]:
            away[0] = True
            raise sqlite3.OperationalError("the card is gone")

    writer = make(kind, open_, after_commit=checkpoint)
    await writer.write(add(1))
    await settled(writer, 1)
    with pytest.raises(WriteFailed, match="the card is gone"):
        await writer.write(add(2))
    away[0] = False
    assert await writer.write(add(2)) == 2, "here only what follows the commit fails"
    away[0] = False
    assert await writer.read(count) == 2
    await writer.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_closed_writer_leaves_one_file(tmp_path: Path, kind: str) -> None:
    writer = make(kind, opener(tmp_path / "n.db"))
    await writer.write(add(1))
    assert await writer.read(count) == 1
    await writer.close()
    assert names(tmp_path) == ["n.db"]
    with closing(sqlite3.connect(tmp_path / "n.db")) as connection:
        assert count(connection) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_writer_closed_after_a_failed_commit_leaves_one_file_too(
    tmp_path: Path, kind: str
) -> None:
    good = opener(tmp_path / "n.db")

    def open_() -> sqlite3.Connection:
        good().close()
        connection = broken_opener(tmp_path / "n.db")()
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    writer = make(kind, open_)
    await writer.write(add(1))
    kept = closing(sqlite3.connect(tmp_path / "n.db"))
    with kept as reader:  # the log stays when the connection is given up
        assert count(reader) == 1
        Broken.failures, Broken.code = 1, sqlite3.SQLITE_IOERR_WRITE
        with pytest.raises(WriteFailed):
            await writer.write(add(2))
        reader.execute("PRAGMA query_only = 1")
        assert "n.db-wal" in names(tmp_path)
        content = (tmp_path / "n.db-wal").read_bytes()
    if not (tmp_path / "n.db-wal").exists():  # as if nobody had been able to move it
        (tmp_path / "n.db-wal").write_bytes(content)
    await writer.close()
    assert names(tmp_path) == ["n.db"]
    await writer.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reader_sees_what_is_committed_and_nothing_else(tmp_path: Path, kind: str) -> None:
    writer = make(kind, opener(tmp_path / "n.db"), interval_s=0.2)
    await writer.write(add(1), urgent=True)
    waiting = [asyncio.create_task(writer.write(add(number))) for number in (2, 3)]
    while not all(task.done() for task in waiting):
        await asyncio.sleep(0)
        told = sum(task.done() for task in waiting)
        seen = await writer.read(count)
        assert 1 + told <= seen <= 3, "who is told of a commit finds it"
        assert seen != 2 or kind == "inline", "one commit holds both"
    assert await writer.read(count) == 3
    await writer.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_commits_what_waits_and_then_nothing_more(tmp_path: Path, kind: str) -> None:
    writer = make(kind, opener(tmp_path / "n.db"), interval_s=3_600)
    waiting = [asyncio.create_task(writer.write(add(number))) for number in range(20)]
    reading = asyncio.create_task(writer.read(count))
    await asyncio.sleep(0)
    await writer.close()
    assert len(await asyncio.gather(*waiting)) == 20
    await asyncio.gather(reading)
    for late in (writer.write(add(99)), writer.maintain(count), writer.read(count)):
        with pytest.raises(WriteFailed, match="closed"):
            await late
    await writer.close()
    assert names(tmp_path) == ["n.db"]
    with closing(sqlite3.connect(tmp_path / "n.db")) as connection:
        assert count(connection) == 20


@pytest.mark.parametrize("kind", GATHERING)
async def test_a_cancelled_write_is_known_to_be_done_before_the_cancellation_comes(
    tmp_path: Path, kind: str
) -> None:
    writer = make(kind, opener(tmp_path / "n.db"), interval_s=0.2)
    seen: list[int] = []

    async def caller() -> None:
        seen.append(await writer.write(add(5)))
        seen.append(-1)
        await asyncio.sleep(0)
        seen.append(-2)

    task = asyncio.create_task(caller())
    for _ in range(3):
        await asyncio.sleep(0.01)
        task.cancel()
        assert not task.done()
    await asyncio.wait([task])
    assert task.cancelled()
    assert seen == [1, -1]
    assert await writer.read(count) == 1
    await writer.close()


async def test_of_a_killed_writer_nobody_learns_anything(tmp_path: Path) -> None:
    writer = LateWriter(opener(tmp_path / "n.db"), opener(tmp_path / "n.db"), interval_s=3_600)
    gathered = asyncio.create_task(writer.write(add(1)))
    await asyncio.sleep(0)
    writer.abandon()
    for dead in (gathered, writer.write(add(2)), writer.read(count)):
        with pytest.raises((Killed, WriteFailed)):
            await dead
    with closing(sqlite3.connect(tmp_path / "n.db")) as connection:
        assert count(connection) == 0


async def test_a_write_that_waits_for_room_can_be_called_back(tmp_path: Path) -> None:
    writer = thread_writer(tmp_path / "n.db", interval_s=0.01)
    writer._room = asyncio.Semaphore(0)
    task = asyncio.create_task(writer.write(add(5)))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await writer.read(count) == 0
    late = asyncio.create_task(writer.write(add(6)))
    await asyncio.sleep(0.01)
    await writer.close()
    writer._room.release()
    with pytest.raises(WriteFailed, match="closed"):
        await late


@pytest.mark.parametrize("fails", [False, True])
async def test_an_outcome_counts_cancellations(fails: bool) -> None:
    """So that time-outs and task groups around it still know whose they were."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    left: list[int] = []

    async def caller() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await outcome(future)
        except WriteFailed:
            assert fails
        left.append(task.cancelling())
        await asyncio.sleep(0)

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    if fails:
        future.set_exception(WriteFailed("full"))
    else:
        future.set_result(1)
    await asyncio.wait([task])
    assert task.cancelled()
    assert left == [2]
