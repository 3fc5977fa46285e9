"""Files, folders and streams that cannot be used: each command says which, and changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collector.house import House

PIER = ("nodes", "adopt", "000000ff", "--name", "Pier", "--uuid",
        "6f9619ff-8b86-4d01-b42d-0000000000ff", "--key-file")  # fmt: skip
NOT_TEXT = b"\xe1\xff\x00" * 50


def refused(house: House, *arguments: str) -> str:
    """The message of a command that ends with 1 and an error, not with a traceback."""
    done = house.run(*arguments)
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    return done.stderr


@pytest.mark.parametrize("command", ["export", "means"])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "db", "parquet"])
def test_a_folder_that_is_not_there_is_named(
    house: House, tmp_path: Path, command: str, ending: str
) -> None:
    words = refused(house, command, str(tmp_path / f"away/new.{ending}"))
    assert f"no folder {tmp_path / 'away'}" in words
    assert "archive.db" not in words
    assert "no folder" in refused(house, command, f"{house.config}/new.{ending}")


def test_a_backup_names_the_folder_that_is_not_there(house: House, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("a long passphrase\n")
    target = tmp_path / "away/new.backup"
    words = refused(house, "backup", str(target), "--passphrase-file", str(tmp_path / "passphrase"))
    assert f"no folder {tmp_path / 'away'}" in words


def test_a_record_that_cannot_be_written_rotates_no_key(house: House, tmp_path: Path) -> None:
    before = (house.folder / "data/keys.json").read_bytes()
    assert "away" in refused(house, "nodes", "rotate", "Plaza", "--out", str(tmp_path / "away/x"))
    assert (house.folder / "data/keys.json").read_bytes() == before
    house.call("nodes", "rotate", "Plaza", "--out", str(tmp_path / "x"))
    refused(house, "nodes", "rotate", "Plaza", "--out", str(tmp_path / "y"))
    assert not (tmp_path / "y").exists()


def test_what_is_not_text_is_named(house: House, tmp_path: Path) -> None:
    file = tmp_path / "noise"
    file.write_bytes(NOT_TEXT)
    for arguments in (
        (*PIER, str(file)),
        ("nodes", "import", str(file)),
        ("backup", str(tmp_path / "b"), "--passphrase-file", str(file)),
    ):
        assert f"{file}: not UTF-8 text" in refused(house, *arguments)


def test_a_file_without_end_is_not_read_to_its_end(house: House) -> None:
    assert "/dev/zero: longer than" in refused(house, *PIER, "/dev/zero")


def test_a_file_of_no_records_is_not_an_import(house: House) -> None:
    assert "no records" in refused(house, "nodes", "import", os.devnull)


@pytest.mark.parametrize("damage", [b"", NOT_TEXT, None])
def test_a_damaged_quarantine_is_named(house: House, damage: bytes | None) -> None:
    file = house.folder / "data/quarantine.db"
    file.unlink()
    if damage is None:
        file.mkdir()
    else:
        file.write_bytes(damage)
    for arguments in (("quarantine", "list"), ("quarantine", "explain", "000000ff")):
        assert f"{file}: " in refused(house, *arguments)


@pytest.mark.parametrize("name", ["keys.json", "nodes.json"])
def test_no_backup_is_made_of_files_that_nobody_could_restore(
    house: House, tmp_path: Path, name: str
) -> None:
    (tmp_path / "passphrase").write_text("a long passphrase\n")
    (house.folder / "data" / name).write_bytes(b"")
    target = tmp_path / "new.backup"
    words = refused(house, "backup", str(target), "--passphrase-file", str(tmp_path / "passphrase"))
    assert name in words
    assert not target.exists()


def test_a_restore_of_something_else_says_so_in_one_line(house: House, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("a long passphrase\n")
    words = refused(
        house, "restore", str(house.config), "--passphrase-file", str(tmp_path / "passphrase")
    )
    assert words.count("\n") == 1
    assert "not a backup" in words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "line",
    ["export -", "means - --period day", "decode 00", "status", "ledger", "nodes list", "--help",
     "quarantine list", "sinks explain", "trace Plaza 2026-03-01T12:15:00Z", "export -h"],
)  # fmt: skip
def test_an_output_that_takes_nothing_is_said(house: House, line: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "collector", *line.split()],
            env={**os.environ, "OSN_COLLECTOR_CONFIG": str(house.config)},
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: No space left on device")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["export", "means"])
def test_a_choice_that_holds_nothing_is_an_error_and_writes_no_file(
    house: House, tmp_path: Path, command: str
) -> None:
    target = tmp_path / "new.csv"
    words = refused(house, command, str(target), "--quantity", "temperature")
    assert "battery_voltage, humidity" in words
    assert not target.exists()
    refused(house, command, "-", "--values", "corrected", "--node", "Bike")
    assert not target.exists()
    assert "no LAeq was measured; the archive holds" in house.run("levels", "-").stderr


def test_a_misspelt_quantity_is_answered_with_the_right_one(house: House) -> None:
    for command in ("export", "means"):
        assert "did you mean pm2_5?" in refused(house, command, "-", "--quantity", "PM2.5")


def test_not_a_number_is_no_number(house: House) -> None:
    for arguments in (
        ("means", "-", "--coverage", "nan"),
        ("command", "Plaza", "identify", "--wait", "nan"),
        ("configure", "Plaza", "sample_interval_s=60", "--wait", "nan"),
    ):
        done = house.run(*arguments)
        assert done.exit_code == 2, done.output
        assert "nan" in done.stderr


def test_a_restore_does_not_read_a_configuration_without_end(house: House, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("a long passphrase\n")
    sealed = ("--passphrase-file", str(tmp_path / "passphrase"))
    house.call("backup", str(tmp_path / "b"), *sealed)
    words = refused(house, "restore", str(tmp_path / "b"), *sealed, "--config", "/dev/zero")
    assert "another configuration" in words


AS_ANOTHER = """
import os
import collector.commands.backup, collector.commands.run, collector.commands.status
from collector import config, daemon
from collector.operate import backup, control
from collector.cli import main
if os.getuid() == 0:
    os.setgroups([])
    os.setuid(65534)
os.chdir("/")
main(prog_name="osn-collector")
"""
"""Everything is imported first: the other user may be unable to read Python's own library."""


@pytest.mark.parametrize(
    ("line", "code"), [("status", 1), ("check-config {config}", 1), ("run", 78)]
)
def test_what_one_may_not_read_says_who_may(house: House, line: str, code: int) -> None:
    """As root the test's folders, which are closed to others, do what the mode does otherwise."""
    house.config.chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, *line.format(config=house.config).split()],
        env={**os.environ, "OSN_COLLECTOR_CONFIG": str(house.config)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert f"{house.config}:1: Permission denied; run this as the collector's user" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_output_is_said(house: House) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m collector export - >&-"],
        env={**os.environ, "OSN_COLLECTOR_CONFIG": str(house.config)},
        stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: standard output is closed")
