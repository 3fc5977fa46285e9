"""Archives of every earlier version open today, with all that was in them."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from collector.archive import archive, migrations, schema
from collector.archive.schema import SCHEMA_VERSION, SchemaError
from collector.archive.upgrade import bring_up_to_date, is_outdated
from tests.collector.core import Bench, Board

DATA = Path(__file__).parent / "data"
VERSIONS = range(1, SCHEMA_VERSION)
TABLES = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name"


def old_archive(version: int, folder: Path) -> Path:
    path = folder / "archive.db"
    connection = sqlite3.connect(path)
    connection.executescript((DATA / f"archive_v{version}.sql").read_text())
    connection.close()
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_archive_gets_todays_tables(version: int, tmp_path: Path) -> None:
    path = old_archive(version, tmp_path)
    before = sqlite3.connect(path).execute("SELECT * FROM frame").fetchall()
    assert migrations.migrate(path) == (version, SCHEMA_VERSION)
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    schema.create(fresh, 1)
    migrated = sqlite3.connect(path)
    assert migrated.execute(TABLES).fetchall() == fresh.execute(TABLES).fetchall()
    assert migrated.execute("SELECT * FROM frame").fetchall() == before
    assert migrations.migrate(path) == (SCHEMA_VERSION, SCHEMA_VERSION)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_collector_goes_on_with_an_older_archive(version: int, tmp_path: Path) -> None:
    old_archive(version, tmp_path)
    node, boot = 0xA1B2C3D4, 1_764_000_000
    board = Board(node=node, boot=boot, secret=bytes(range(32)))
    bench = Bench(tmp_path, [board])
    account = bench.storage.ledger.account(node)
    assert (account.produced, account.stored, account.outstanding) == (6, 5, 1)
    stamp = bench.storage.timeline.time_of(node, boot, 3_000_000)
    assert stamp is not None
    assert stamp.unix_ms == 1_795_000_000_000
    await bench.take(board.data(6))
    assert bench.acked(boot) == (8, 0)


def test_only_an_older_archive_is_touched(tmp_path: Path) -> None:
    assert not is_outdated(tmp_path / "none.db")
    archive.open_archive(tmp_path / "archive.db").close()
    assert not bring_up_to_date(tmp_path / "archive.db")
    (tmp_path / "empty.db").touch()
    assert not is_outdated(tmp_path / "empty.db")


def test_a_failed_step_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old_archive(1, tmp_path)
    before = sqlite3.connect(path).execute(TABLES).fetchall()

    def half(database: object) -> None:
        migrations.to_2(database)  # type: ignore[arg-type]
        raise RuntimeError("power cut")

    monkeypatch.setitem(migrations.STEPS, 2, half)
    with pytest.raises(RuntimeError):
        migrations.migrate(path)
    after = sqlite3.connect(path)
    assert after.execute(TABLES).fetchall() == before
    assert after.execute("PRAGMA user_version").fetchone() == (1,)


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old_archive(1, tmp_path)
    assert migrations.main([str(path)]) == 0
    assert f"schema 1 to {SCHEMA_VERSION}" in capsys.readouterr().out
    assert migrations.main([str(path)]) == 0
    assert "up to date" in capsys.readouterr().out
    assert migrations.main([str(tmp_path / "none.db")]) == 1
    assert migrations.main([]) == 1
    sqlite3.connect(path).execute("PRAGMA application_id = 5")
    assert migrations.main([str(path)]) == 1
    with pytest.raises(SchemaError, match="not an archive"):
        migrations.migrate(path)


def test_the_daemon_never_loads_sqlite_utils() -> None:
    daemon = "collector.storage.storage, collector.housekeeping"
    code = f"import {daemon}, sys; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sqlite_utils" not in done.stdout
    assert "collector.archive.upgrade" in done.stdout
