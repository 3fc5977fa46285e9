"""However a write ends, and whoever is cancelled meanwhile: each parcel is told once, and truly."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from collector.archive.parcels import commit
from collector.archive.writer import OutcomeUnknown, WriteFailed
from tests.collector.parcels import FATES, KEPT, KINDS, Disk, Fate, cancelled_after, plain


class Noted:
    """A parcel that remembers what it was told."""

    def __init__(self, value: int, fault: Exception | None = None) -> None:
        self.told: list[str] = []
        self._value = value
        self._fault = fault

    def write(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO number VALUES (?)", (self._value,))
        if self._fault is not None:
            raise self._fault

    def committed(self) -> None:
        self.told.append("committed")

    def failed(self) -> None:
        self.told.append("failed")

    def unknown(self) -> None:
        self.told.append("unknown")


def on_disk(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM number")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fate", FATES)
async def test_each_parcel_is_told_what_the_disk_has(tmp_path: Path, kind: str, fate: Fate) -> None:
    path = tmp_path / "n.db"
    disk = Disk(plain(path))
    writer = disk.writer(kind)
    parcels = [Noted(1), Noted(2)]
    disk.fate = fate
    if fate == "kept":
        await commit(writer, parcels)
    else:
        with pytest.raises(WriteFailed) as failure:
            await commit(writer, parcels)
        assert isinstance(failure.value, OutcomeUnknown) == fate.startswith("unknown")
    word = {"kept": "committed", "failed": "failed"}.get(fate, "unknown")
    assert [parcel.told for parcel in parcels] == [[word], [word]]
    disk.fate = "kept"
    after = Noted(3)
    await commit(writer, [after])
    assert after.told == ["committed"]
    await writer.close()
    assert on_disk(path) == ([1, 2, 3] if fate in KEPT else [3])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_parcel_that_cannot_be_written_fails_with_those_beside_it(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "n.db"
    writer = Disk(plain(path)).writer(kind)
    parcels = [Noted(1), Noted(2, KeyError("ours")), Noted(3)]
    with pytest.raises(KeyError):
        await commit(writer, parcels)
    assert [parcel.told for parcel in parcels] == [["failed"]] * 3
    await writer.close()
    assert on_disk(path) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fate", FATES)
async def test_a_cancellation_at_any_await_leaves_no_parcel_untold(
    tmp_path: Path, kind: str, fate: Fate
) -> None:
    cut, turns = True, 0
    seen: set[str] = set()
    while cut and turns < 12:
        path = tmp_path / f"{turns}.db"
        disk = Disk(plain(path))
        writer = disk.writer(kind)
        disk.fate = fate
        parcel = Noted(7)
        known: list[list[str]] = []

        async def story(parcel: Noted = parcel, writer: object = writer) -> None:
            try:
                await commit(writer, [parcel], first=asyncio.sleep(0), urgent=True)  # type: ignore[arg-type]
            finally:
                known.append(list(parcel.told))  # noqa: B023
            await asyncio.sleep(3_600)

        await cancelled_after(turns, story)
        await writer.close()
        assert len(parcel.told) == 1 or (not known and not parcel.told), "not begun, or told once"
        assert known in ([], [parcel.told]), "told before its owner went on"
        seen.update(parcel.told)
        there = on_disk(path) == [7]
        if parcel.told == ["unknown"]:
            assert there == (fate == "unknown, kept")
        else:
            assert there == (parcel.told == ["committed"])
        turns += 1
    word = {"kept": "committed", "failed": "failed"}.get(fate, "unknown")
    assert seen == {word, "failed"}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_to_be_done_first_may_fail(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "n.db"
    writer = Disk(plain(path)).writer(kind)

    async def first() -> None:
        raise OSError("no room")

    parcel = Noted(1)
    with pytest.raises(OSError, match="no room"):
        await commit(writer, [parcel], first=first())
    assert parcel.told == ["failed"]
    await writer.close()
    assert on_disk(path) == []
