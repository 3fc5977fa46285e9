"""A collector in one file: made while it runs, put back here or on a new machine."""

import asyncio
import json
import sqlite3
import tarfile
from pathlib import Path

import pytest

from collector.app import Collector
from collector.config import load
from collector.operate.backup import make_backup
from collector.operate.sealing import SealError, seal, unseal
from tests.collector.house import FRAMES, KEYS, STREET, House, Script, an_hour, street_frame

WORDS = "correct horse battery"


@pytest.fixture
def passphrase(tmp_path: Path) -> str:
    folder = tmp_path.parent / f"{tmp_path.name}-secret"
    folder.mkdir(exist_ok=True)
    (folder / "passphrase").write_text(WORDS + "\n")
    return str(folder / "passphrase")


@pytest.fixture
def saved(house: House, passphrase: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("usb") / "osn.backup"
    house.call("backup", str(file), "--passphrase-file", passphrase)
    return file


def test_what_is_sealed_opens_with_the_passphrase_alone() -> None:
    sealed = seal(b"secret", WORDS)
    assert b"secret" not in sealed
    assert sealed != seal(b"secret", WORDS)
    assert unseal(sealed, WORDS) == b"secret"
    with pytest.raises(SealError, match="wrong"):
        unseal(sealed, WORDS + "!")
    for place in (9, 30, len(sealed) - 1):
        damaged = bytearray(sealed)
        damaged[place] ^= 1
        with pytest.raises(SealError):
            unseal(bytes(damaged), WORDS)
    with pytest.raises(SealError, match="not sealed"):
        unseal(b"short", WORDS)


def test_keys_names_and_places_are_not_readable_in_the_file(saved: Path, house: House) -> None:
    raw = saved.read_bytes()
    assert saved.stat().st_mode & 0o777 == 0o600
    for secret in (KEYS[STREET], KEYS[STREET].hex().encode(), b"Plaza", b"41.385", b"jsonl"):
        assert secret not in raw
    with tarfile.open(saved) as tar:
        assert set(tar.getnames()) == {"manifest.json", "private.sealed", "archive.db"}
    shown = house.call("nodes", "erase", "Plaza", "--yes")
    assert str(saved) in shown, "who leaves is told which backups still hold them"


def test_a_new_machine_goes_on_where_the_old_one_stood(
    saved: Path, house: House, passphrase: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new = House(tmp_path_factory.mktemp("new"))
    shown = new.call("restore", str(saved), "--passphrase-file", passphrase)
    assert f"{2 * FRAMES} frames and 2 nodes" in shown
    before, after = (
        {a["node"]: a for a in map(json.loads, h.call("ledger", "--json").splitlines())}
        for h in (house, new)
    )
    assert after == before

    async def play(transport: Script, collector: Collector) -> None:
        transport.receive(STREET, street_frame(FRAMES + 1))
        await asyncio.sleep(5)
        assert transport.sent, "the new machine has the key and acknowledges"

    new.live(play)
    stored = json.loads(new.call("ledger", "Plaza", "--json"))["frames"]["stored"]
    assert stored == FRAMES + 1


def test_a_restored_archive_has_another_collector_id(
    saved: Path, house: House, passphrase: str
) -> None:
    def ids() -> tuple[str, str]:
        with sqlite3.connect(house.folder / "data" / "archive.db") as archive:
            rows = dict(archive.execute("SELECT key, value FROM meta"))
        return rows["collector"], rows.get("former_collectors", "[]")

    old, _ = ids()
    house.call("restore", str(saved), "--passphrase-file", passphrase, "--replace")
    new, former = ids()
    assert new != old
    assert json.loads(former) == [old]
    kept = [path.name for path in (house.folder / "data").glob("*.before-*")]
    assert any(name.startswith("archive.db.before-") for name in kept)
    assert any(name.startswith("keys.json.before-") for name in kept)


def test_nothing_is_overwritten_unasked(saved: Path, house: House, passphrase: str) -> None:
    arguments = ("restore", str(saved), "--passphrase-file", passphrase)
    assert "holds an archive; --replace" in house.call(*arguments, code=1)
    assert "exists" in house.call("backup", str(saved), "--passphrase-file", passphrase, code=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw[: len(raw) // 2], ""),
        (lambda raw: b"not a tar at all", "not"),
        (lambda raw: raw.replace(b"OSNSEAL1", b"OSNSEAL9"), "newer version"),
    ],
)
def test_a_damaged_backup_changes_nothing(
    saved: Path, passphrase: str, tmp_path_factory: pytest.TempPathFactory, change, words: str
) -> None:
    saved.write_bytes(change(saved.read_bytes()))
    new = House(tmp_path_factory.mktemp("new"))
    shown = new.call("restore", str(saved), "--passphrase-file", passphrase, code=1)
    assert words in shown
    assert not new.config.exists()
    assert not (new.folder / "data" / "archive.db").exists()


def test_a_wrong_passphrase_changes_nothing(
    saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new = House(tmp_path_factory.mktemp("new"))
    assert "passphrase is wrong" in new.call("restore", str(saved), code=1, stdin="guess guess\n")
    assert list(new.folder.iterdir()) == []


def test_a_weak_passphrase_is_refused(house: House, tmp_path: Path) -> None:
    shown = house.call("backup", str(tmp_path / "b"), code=1, stdin="short\nshort\n")
    assert "8 characters" in shown


def test_a_backup_of_a_running_collector_is_whole(
    bare_house: House, passphrase: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("usb") / "osn.backup"

    async def play(transport: Script, collector: Collector) -> None:
        await an_hour(transport, collector)
        make_backup(load(bare_house.config), file, WORDS)
        transport.receive(STREET, street_frame(FRAMES + 1))
        await asyncio.sleep(5)

    bare_house.live(play)
    new = House(tmp_path_factory.mktemp("new"))
    new.call("restore", str(file), "--passphrase-file", passphrase)
    assert json.loads(new.call("ledger", "Plaza", "--json"))["frames"]["stored"] == FRAMES
