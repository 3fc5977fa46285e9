"""How the daemon ends: what a restart mends is tried again, what needs a person is not."""

import errno
import re
import sqlite3
from pathlib import Path

import pytest

from collector import exit_codes
from collector.archive.schema import SchemaError
from collector.archive.writer import WriteFailed
from collector.config import load
from collector.daemon import exit_code_of, run_daemon
from collector.exit_codes import EXIT_BUSY, EXIT_CONFIG, EXIT_FAILED
from collector.private_file import PrivateFileError
from collector.single import AlreadyRunning, FolderLock
from tests.collector.house import House

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    "text", ["[collector]\nx = 1\n", "=", "[[mqtt]]\nhost = '127.0.0.1:1883'\n", "\xff"]
)
def test_a_wrong_configuration_ends_it_for_good(bare_house: House, text: str) -> None:
    bare_house.config.write_bytes(text.encode("latin-1"))
    assert str(bare_house.config) in bare_house.call("run", code=EXIT_CONFIG)


def test_no_configuration_yet_ends_it_for_good(tmp_path: Path) -> None:
    assert "No such file" in House(tmp_path).call("run", code=EXIT_CONFIG)


def test_files_that_cannot_be_used_end_it_for_good(bare_house: House) -> None:
    keys = bare_house.folder / "data" / "keys.json"
    for content, mode in ((b"{", 0o600), (b"{}", 0o644), (b'{"version": 9}', 0o600)):
        keys.write_bytes(content)
        keys.chmod(mode)
        bare_house.call("run", code=EXIT_CONFIG)


def test_a_data_folder_that_is_none_ends_it_for_good(bare_house: House, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = bare_house.config.read_text()
    for data in (tmp_path / "file", tmp_path / "file" / "below"):
        bare_house.config.write_text(text.replace('"data"', f'"{data}"'))
        bare_house.call("run", code=EXIT_CONFIG)


def test_a_folder_in_use_is_tried_again(bare_house: House) -> None:
    lock = FolderLock(bare_house.folder / "data")
    bare_house.call("run", code=EXIT_BUSY)
    lock.release()


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AlreadyRunning(), EXIT_BUSY),
        (SchemaError("of a newer version"), EXIT_CONFIG),
        (PrivateFileError("mode"), EXIT_CONFIG),
        (caused(PrivateFileError("x"), PermissionError(errno.EACCES, "")), EXIT_CONFIG),
        (caused(PrivateFileError("x"), OSError(errno.EIO, "")), EXIT_FAILED),
        (PermissionError(errno.EACCES, ""), EXIT_CONFIG),
        (OSError(errno.EROFS, ""), EXIT_FAILED),
        (OSError(errno.ENOSPC, ""), EXIT_FAILED),
        (sqlite3.OperationalError("disk I/O error"), EXIT_FAILED),
        (WriteFailed("disk I/O error"), EXIT_FAILED),
    ],
)
def test_what_may_pass_by_itself_is_tried_again(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code


def test_a_disk_that_refuses_the_first_commit_ends_it_with_a_word(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused(*_: object) -> None:
        raise WriteFailed("disk I/O error")

    monkeypatch.setattr("collector.daemon._receive", refused)
    assert run_daemon(load(house.config)) == EXIT_FAILED
    assert "disk I/O error" in caplog.text


def test_systemd_knows_which_end_is_for_good() -> None:
    unit = (ROOT / "packaging" / "systemd" / "osn-collector.service").read_text()
    assert "Restart=always" in unit
    assert f"RestartPreventExitStatus={EXIT_CONFIG}\n" in unit
    assert "ExecStartPre" not in unit, "its exit code would not prevent a restart"


def test_the_page_has_every_exit_code() -> None:
    page = (ROOT / "docs" / "operate.md").read_text().partition("## Files, exit codes")[2]
    shown = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    codes = {value for name, value in vars(exit_codes).items() if name.startswith("EXIT_")}
    assert codes <= shown
