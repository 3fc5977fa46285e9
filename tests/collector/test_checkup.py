"""The doctor finds what is wrong, and saves a damaged archive's frames."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from collector.archive import identity
from collector.archive.witness import Witness
from collector.doctor import checkup
from collector.doctor.checkup import card_wear
from collector.single import FolderLock
from tests.collector.house import BOOT, FRAMES, STREET, House, street_frame

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
    with sqlite3.connect(house.folder / "data" / "archive.db") as connection:
        connection.execute("DELETE FROM frame WHERE id = 4")
    well, text = findings(house)["ledger"]
    assert not well
    assert "6 known, 5 stored" in text


def test_a_missing_key_is_named(house: House) -> None:
    (house.folder / "data" / "keys.json").write_text('{"nodes": {}}')
    assert findings(house)["keys"] == (False, "no key for Bike, Plaza")


def test_nodes_with_one_identity_are_named(house: House) -> None:
    path = house.folder / "data" / "nodes.json"
    document = json.loads(path.read_text())
    for record in document["nodes"]:
        record["uuid"] = document["nodes"][0]["uuid"]
    path.write_text(json.dumps(document))
    well, text = findings(house)["nodes"]
    assert not well
    assert "Bike" in text
    assert "Plaza" in text
    assert "nodes erase" in text


def damage(path: Path) -> None:
    """Overwrites the page that begins the frame table's own, as a dying card does."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'hour'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)


def test_a_damaged_archive_is_saved_and_set_aside(house: House) -> None:
    path = house.folder / "data" / "archive.db"
    damage(path)
    assert not findings(house)["archive"][0]
    lock = FolderLock(house.folder / "data")
    assert "stop the collector" in house.call("doctor", "--repair", code=1)
    lock.release()
    shown = house.call("doctor", "--repair", code=3)
    assert f"{2 * FRAMES} frames saved, 0 unreadable" in shown
    assert list(path.parent.glob("archive.db.damaged-*"))
    found = findings(house)
    assert found["archive"][0]
    assert found["ledger"][0]
    ledger = json.loads(house.call("ledger", "Plaza", "--json"))
    assert ledger["frames"]["stored"] == FRAMES
    assert ledger["sinks"]["file"]["unaccounted"] == 0
    assert "nothing to repair" in house.call("doctor", "--repair", code=3)


def test_an_unreadable_frame_costs_only_its_page(house: House) -> None:
    path = house.folder / "data" / "archive.db"
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO frame (node, boot, seq, type, state, received, first_ms, last_ms, raw)"
            " VALUES (9, 1, ?, 1, 0, 0, 0, 0, ?)",
            [(seq, b"frame %03d!" % seq + bytes(900)) for seq in range(1, 201)],
        )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    raw = path.read_bytes()
    page = raw.index(b"frame 100!") // PAGE_BYTES
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)
    shown = house.call("doctor", "--repair", code=3)
    saved = int(shown.split(" frames saved")[0])
    assert 2 * FRAMES + 200 - 6 <= saved < 2 * FRAMES + 200


def test_an_archive_without_one_readable_frame_is_set_aside_and_boards_are_asked_again(
    house: House,
) -> None:
    folder = house.folder / "data"
    former = Witness.beside(folder / "archive.db")
    assert former is not None
    (folder / "archive.db").write_bytes(b"")
    assert findings(house)["archive"][1].startswith("damaged: the file is empty")
    assert "0 frames saved" in house.call("doctor", "--repair", code=3)
    [aside] = folder.glob("archive.db.damaged-*")
    assert aside.read_bytes() == b""
    with closing(sqlite3.connect(folder / "archive.db")) as connection:
        collector, known_before = identity.read(connection)
        assert former.collector in known_before
    assert collector != former.collector


def test_a_head_that_is_gone_costs_tables_and_no_frame(house: House) -> None:
    path = house.folder / "data" / "archive.db"
    with path.open("r+b") as file:
        file.write(bytes(100))
    shown = house.call("doctor", "--repair", code=3)
    assert f"{2 * FRAMES} frames saved" in shown
    assert findings(house)["ledger"][0]


def test_a_hole_in_the_log_is_named_and_what_lies_behind_it_is_saved(house: House) -> None:
    """SQLite ends at the first bad page of its log and drops the commits behind it."""
    path = house.folder / "data" / "archive.db"
    live = sqlite3.connect(path, isolation_level=None)
    live.execute("PRAGMA wal_autocheckpoint = 0")
    frames = [(seq, street_frame(seq)) for seq in range(100, 140)]
    for seq, raw in frames:
        live.execute(
            "INSERT INTO frame (node, boot, seq, type, state, received, first_ms, last_ms, raw)"
            " VALUES (?, ?, ?, 1, 0, 0, 0, 0, ?)",
            (STREET, BOOT, seq, raw),
        )
    image = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")}
    live.close()
    hole = bytearray(image["-wal"])
    hole[32 + 24 + 100] ^= 0xFF
    Path(f"{path}-shm").unlink(missing_ok=True)
    path.write_bytes(image[""])
    Path(f"{path}-wal").write_bytes(hole)
    well, text = findings(house)["log"]
    assert not well
    assert "may hold acknowledged frames" in text
    house.call("doctor", "--repair", code=3)
    with closing(sqlite3.connect(path)) as connection:
        saved = {seq for (seq,) in connection.execute("SELECT seq FROM frame WHERE seq >= 100")}
    assert saved == {seq for seq, _ in frames}
    assert findings(house)["log"][0]


def test_a_damaged_quarantine_is_set_aside(house: House) -> None:
    path = house.folder / "data" / "quarantine.db"
    path.write_bytes(b"x" * 9_000)
    assert not findings(house)["quarantine"][0]
    assert "another is begun" in house.call("doctor", "--repair", code=3)
    assert "quarantine" not in findings(house)
    assert [p.read_bytes() for p in path.parent.glob("quarantine.db.damaged-*")] == [b"x" * 9_000]


def test_a_disk_without_room_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(f_bavail=10, f_frsize=4096)
    monkeypatch.setattr(checkup.os, "statvfs", lambda folder: full)
    well, text = findings(house)["disk"]
    assert not well
    assert "boards keep their data" in text


@pytest.mark.parametrize("right", [True, False])
def test_the_clock_is_looked_at(house: House, right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    house.config.write_text(house.config.read_text().replace('"always"', '"kernel"'))
    monkeypatch.setattr(checkup, "kernel_synchronised", lambda: right)
    assert findings(house)["clock"][0] is right


@pytest.mark.parametrize(
    ("per_day", "well", "text"),
    [
        (250_000_000, True, "250 MB written a day: a card for 20 TB lasts more than 100 years"),
        (2_000_000_000, True, "lasts 27 years"),
        (20_000_000_000, False, "lasts 3 years"),
    ],
)
def test_the_cards_years_follow_from_what_is_written(per_day: int, well: bool, text: str) -> None:
    [finding] = card_wear({"written_per_day_bytes": per_day})
    assert finding.well is well
    assert text in finding.text
    assert list(card_wear({"written_per_day_bytes": 0})) == []


def test_a_serial_pattern_without_a_port_is_named(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "SERIAL", house.folder / "none")
    pattern = house.folder / "osn-*"
    house.config.write_text(house.config.read_text() + f'[[serial]]\nport = "{pattern}"\n')
    assert findings(house)["serial serial"] == (False, f"0 ports {pattern}")
    serial = house.folder / "serial"
    for kind, name in (
        ("by-id", "usb-CP2102N_0123"),
        ("by-path", "usb-0:1"),
        ("by-path", "usb-0:2"),
    ):
        (serial / kind).mkdir(parents=True, exist_ok=True)
        (serial / kind / name).symlink_to(f"../../tty{name.replace('CP2102N_0123', '0:1')}")
    monkeypatch.setattr(checkup, "SERIAL", serial)
    text = findings(house)["serial serial"][1]
    assert f"plugged in are {serial}/by-id/usb-CP2102N_0123, {serial}/by-path/usb-0:2: name" in text
    (house.folder / "osn-a").touch()
    assert findings(house)["serial serial"] == (True, f"1 ports {pattern}")
