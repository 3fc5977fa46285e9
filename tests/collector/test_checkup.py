"""The doctor finds what is wrong, and saves a damaged archive's frames."""

import json
import sqlite3
from pathlib import Path

from collector.single import FolderLock
from tests.collector.house import FRAMES, House

PAGE_BYTES = 4096


def findings(house: House) -> dict[str, tuple[bool, str]]:
    lines = house.call("doctor", "--json", code=3).splitlines()
    return {f["what"]: (f["well"], f["text"]) for f in map(json.loads, lines)}


def test_a_healthy_folder_is_called_so(house: House) -> None:
    found = findings(house)
    for what in ("archive", "ledger", "keys and nodes", "disk"):
        assert found[what][0], found[what]
    assert found["collector"] == (False, "not running")
    assert not found["broker mqtt"][0] or "answers" in found["broker mqtt"][1]


def test_a_ledger_that_disagrees_is_named(house: House) -> None:
    with sqlite3.connect(house.folder / "data" / "archive.db") as archive:
        archive.execute("DELETE FROM frame WHERE id = 4")
    well, text = findings(house)["ledger"]
    assert not well
    assert "6 known, 5 stored" in text


def test_a_missing_key_is_named(house: House) -> None:
    (house.folder / "data" / "keys.json").write_text('{"nodes": {}}')
    assert findings(house)["keys"] == (False, "no key for Bike, Plaza")


def damage(archive: Path) -> None:
    """Overwrites the page that begins the frame table's own, as a dying card does."""
    with sqlite3.connect(archive) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'hour'"
        ).fetchone()
    with archive.open("r+b") as file:
        file.seek((root - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)


def test_a_damaged_archive_is_saved_and_set_aside(house: House) -> None:
    archive = house.folder / "data" / "archive.db"
    damage(archive)
    assert not findings(house)["archive"][0]
    lock = FolderLock(house.folder / "data")
    assert "stop the collector" in house.call("doctor", "--repair", code=1)
    lock.release()
    shown = house.call("doctor", "--repair", code=3)
    assert f"{2 * FRAMES} frames saved, 0 unreadable" in shown
    assert list(archive.parent.glob("archive.db.damaged-*"))
    found = findings(house)
    assert found["archive"][0]
    assert found["ledger"][0]
    ledger = json.loads(house.call("ledger", "Plaza", "--json"))
    assert ledger["frames"]["stored"] == FRAMES
    assert ledger["sinks"]["file"]["unaccounted"] == 0
    assert "nothing to repair" in house.call("doctor", "--repair", code=3)


def test_an_unreadable_frame_costs_only_its_page(house: House) -> None:
    archive = house.folder / "data" / "archive.db"
    with sqlite3.connect(archive) as connection:
        connection.executemany(
            "INSERT INTO frame (node, boot, seq, type, state, received, first_ms, last_ms, raw)"
            " VALUES (9, 1, ?, 1, 0, 0, 0, 0, ?)",
            [(seq, b"frame %03d!" % seq + bytes(900)) for seq in range(1, 201)],
        )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    raw = archive.read_bytes()
    page = raw.index(b"frame 100!") // PAGE_BYTES
    with archive.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)
    shown = house.call("doctor", "--repair", code=3)
    saved = int(shown.split(" frames saved")[0])
    assert 2 * FRAMES + 200 - 6 <= saved < 2 * FRAMES + 200
