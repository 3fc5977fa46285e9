"""Damaged rows of the ledger's tables: the collector starts, and knows what the frames say."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from collector.archive import archive
from tests.collector.core import BOOT, NODE, Bench, Board
from tests.collector.house import House

OTHER = 0x0000B0B1
IMPOSSIBLE: dict[str, tuple[object, ...]] = {
    "issued": (-1, 1 << 32, "many", 1.5),
    "before": (-1, 1 << 32, b"\x00", 9_000),
    "live": (-1, 1 << 32, "x"),
    "live_ms": (-2, 1 << 48, "x"),
    "last_ms": (-2, 1 << 60, b""),
    "down": (-1, 1 << 32, "x"),
    "anchor_ms": ("x", 1.5, (1 << 63) - 1),
    "seen_ms": ("x", b""),
    "received": (b"\x01", b"\xff" * 12, "text", 7, b"\x01\xff\xff\xff\xff\x7f"),
    "dropped": (b"\x05", b"\x80"),
    "lost": (b"\x02\x02\x01\x01", "x"),
    "erased": (b"\xff", 1),
    "conflicts": ("[", "[1]", '{"x": []}', '{"1": ["00"]}', '{"0": []}', "[" * 5_000, '{"1": 5}'),
}
IMPOSSIBLE_NODE: dict[str, tuple[object, ...]] = {
    "boot": (-1, "x", 1 << 32),
    "collector": (-1, b"x"),
    "seen_ms": (-1, "x"),
    "carried": (-1, "x"),
    "baseline": ("[", "[1]", '{"1": -1}', '{"900": 1}', b"x"),
    "drops": ("", "{", "7", '{"a": 1}', '{"1": 1e999}'),
}
CASES = [
    (table, column, value)
    for table, columns in (("ledger", IMPOSSIBLE), ("node", IMPOSSIBLE_NODE))
    for column, values in columns.items()
    for value in values
]


async def a_history(folder: Path) -> tuple[Bench, list[Board]]:
    """Five frames, a gap, a conflict, frames after the snapshot; another node beside."""
    board, other = Board(), Board(OTHER)
    bench = Bench(folder, [board, other])
    bench.receive(board.live(60_000, [(BOOT, 1, 9)]), other.live(60_000, [(BOOT, 1, 2)]))
    await bench.take(*(board.data(seq) for seq in (1, 2, 3, 5)), other.data(1))
    await bench.take(board.data(5, rows=((7, 7),)))
    assert await bench.storage.snapshot()
    await bench.take(board.data(6), other.data(2))
    return bench, [board, other]


def damage(folder: Path, table: str, column: str, value: object) -> None:
    with closing(sqlite3.connect(folder / "archive.db")) as connection, connection:
        changed = connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE node = ?", (value, NODE)
        ).rowcount
    assert changed == 1


@pytest.mark.parametrize(("table", "column", "value"), CASES)
async def test_a_start_heals_what_a_row_cannot_say(
    tmp_path: Path, table: str, column: str, value: object
) -> None:
    bench, boards = await a_history(tmp_path)
    before = {node: bench.storage.ledger.acks(node, [BOOT]) for node in (NODE, OTHER)}
    await bench.storage.writer.close()
    damage(tmp_path, table, column, value)
    after = Bench(tmp_path, boards, bench.clock)
    [found] = after.storage.healed
    assert (found.node, found.boot) == (NODE, BOOT if table == "ledger" else None)
    assert column in found.fault or "drop counters" in found.fault
    ledger = after.storage.ledger
    assert {node: ledger.acks(node, [BOOT]) for node in (NODE, OTHER)} == before
    assert ledger.known_boot(NODE, BOOT).conflicts.keys() == {5}  # type: ignore[union-attr]
    assert await after.take(boards[0].data(7), boards[1].data(3)) == ["accepted"] * 2
    again = await after.again(boards, clean=False)
    assert again.storage.healed == [], "it is in the archive as it was healed"
    assert again.storage.ledger.acks(OTHER, [BOOT]) == [(BOOT, 3, 0)]


async def test_rows_with_impossible_keys_are_taken_out(tmp_path: Path) -> None:
    bench, boards = await a_history(tmp_path)
    await bench.storage.writer.close()
    with closing(sqlite3.connect(tmp_path / "archive.db")) as connection, connection:
        connection.execute("UPDATE ledger SET boot = -5 WHERE node = ?", (OTHER,))
        connection.execute("UPDATE ledger SET node = 'x' WHERE node = ?", (NODE,))
    after = Bench(tmp_path, boards, bench.clock)
    assert after.storage.ledger.nodes.keys() == {NODE, OTHER}, "of frames after the snapshot"
    assert await after.take(boards[0].data(7)) == ["accepted"]


async def test_a_damaged_row_of_the_hour_index_fails_no_snapshot(tmp_path: Path) -> None:
    bench, boards = await a_history(tmp_path)
    bench.inline.connection.execute("UPDATE hour SET ids = x'80'")
    await bench.take(boards[0].data(7))
    assert await bench.storage.snapshot()


@pytest.mark.parametrize("seed", range(20))
async def test_any_random_damage_is_healed(tmp_path: Path, seed: int) -> None:
    """Several fields of all rows at once, bytes as a failing card leaves them."""
    chance = random.Random(seed)
    bench, boards = await a_history(tmp_path)
    await bench.storage.writer.close()
    with closing(sqlite3.connect(tmp_path / "archive.db")) as connection, connection:
        for table, columns in (("ledger", IMPOSSIBLE), ("node", IMPOSSIBLE_NODE)):
            for column in chance.sample(sorted(columns), chance.randrange(5)):
                value = chance.choice([chance.randbytes(9), chance.getrandbits(63), "\x00", -1])
                connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
        connection.execute("UPDATE meta SET value = 'x' WHERE key = 'snapshot_id'")
    after = Bench(tmp_path, boards, bench.clock)
    known = after.storage.ledger.known_boot(NODE, BOOT)
    assert known is not None
    assert all(seq in known.received for seq in (1, 2, 3, 5, 6))
    assert await after.take(boards[0].data(7), boards[1].data(3)) == ["accepted"] * 2
    after.receive(*(board.live(90_000_000, [(BOOT, 1, 9)], counter=9_000) for board in boards))
    assert await after.storage.snapshot()


def test_the_doctor_names_damaged_rows_and_heals_them(house: House) -> None:
    folder = house.folder / "data"
    damage(folder, "ledger", "before", -1)
    damage(folder, "node", "drops", "{")
    found = house.call("doctor", code=3)
    assert "before is -1" in found
    assert "drop counters" in found
    assert "doctor --repair" in found
    repaired = house.run("doctor", "--repair").output
    assert "made again from the frames: ledger of node a1b2c3d4 boot 1764000000: before" in repaired
    assert "nothing to repair" not in repaired
    assert "ok ledger: agrees with the frames" in repaired
    assert "nothing to repair" in house.run("doctor", "--repair").output
    with closing(archive.open_reader(folder / "archive.db")) as connection:
        assert connection.execute("SELECT min(before) FROM ledger").fetchone() == (0,)
