"""Wrong things typed into every command: exit code, and what a technician reads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hardware import session as sessions
from hardware.cli import COMMANDS, LazyGroup, main
from hardware.faults import BenchError, Exit
from hardware.images import read_image
from hardware.records import append
from tests.hardware.conftest import MakeBoard
from tests.hardware.test_loader import write_image

GONE = "/dev/ttyUSB77"
ON_PORT = (
    "list",
    "flash --board classic --firmware-only",
    "provision --board classic --name x",
    "selftest --board classic",
    "monitor",
    "identify",
    "repl",
    "update --board classic",
    "wipe --yes",
    "calibrate noise",
    "prove {folder}/proof.json",
    "rekey {folder}/record.jsonl",
)
RECORD = {
    "node": "a1b2c3d4", "uuid": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "key": "ab" * 32,
    "name": "x", "boot": 1,
}  # fmt: skip


NOISE = b"\x30\x82\xff\x00" * 50
"""Neither text nor a certificate, though it begins like one."""


@pytest.fixture(autouse=True)
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(text: str, folder: Path) -> tuple[int, str]:
    (folder / "text.toml").write_text("[settings]\n")
    (folder / "noise").write_bytes(NOISE)
    (folder / "noise.toml").write_text('ca = "noise"\n')
    (folder / "deep").write_text("[" * 3000)
    record = folder / "record.jsonl"
    if not record.exists():
        append(record, RECORD)
    words = [word.replace("{folder}", str(folder)) for word in text.split()]
    result = CliRunner().invoke(main, words)
    assert not isinstance(result.exception, Exception) or isinstance(
        result.exception, SystemExit
    ), result.exception
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("command", ON_PORT)
@pytest.mark.parametrize(
    ("port", "words"),
    [(GONE, "carries data"), ("/dev/null", "is no serial port"), ("/tmp", "is no serial port")],
)
def test_a_wrong_port(command: str, port: str, words: str, tmp_path: Path) -> None:
    code, shown = run(f"{command} --port {port}", tmp_path)
    assert (code, words in shown) == (Exit.NO_PORT, True), shown


@pytest.mark.parametrize("command", ON_PORT)
def test_a_port_that_one_may_not_open(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith("/dev"))
    code, shown = run(f"{command} --port /dev/null", tmp_path)
    assert (code, "usermod -a -G dialout" in shown) == (Exit.NO_PORT, True), shown


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("frobnicate", 2, "No such command"),
        ("flash --board nope --image x", 2, "there are: classic"),
        ("flash --board classic", 2, "Give --image"),
        ("flash --board classic --image none.bin", 6, "the cache has: none"),
        ("flash --board classic --image {folder}/text.toml", 6, "0xE9"),
        ("provision --board classic --name x --latitude 4", 2, "Give both"),
        ("provision --board classic --name x --bench none.toml", 2, "No such file"),
        ("tray --board classic --once --name {x}", 2, "nothing else in braces"),
        ("tray --board classic --once --port /dev/ttyUSB77", 3, "No board is plugged in"),
        ("sheet nope", 2, "osn-board boards"),
        ("sheet classic --output /nonexistent/x.html", 1, "/nonexistent/x.html"),
        ("rekey none.jsonl", 2, "holds 0 records"),
        ("rekey {folder}/text.toml", 1, "line 1 is damaged"),
        ("rekey {folder}/noise", 1, "is not text"),
        ("rekey {folder}/deep", 1, "line 1 is damaged"),
        ("bundle x --board classic --sign {folder}/text.toml", 2, "no signing key"),
        ("bundle x --board classic --sign {folder}/k --version " + "9" * 256, 2, "too long"),
        ("provision --board classic --name x --latitude nan --longitude 2", 2, "is no latitude"),
        ("provision --board classic --name x --latitude 4 --longitude nan", 2, "is no longitude"),
        ("provision --board classic --name x --latitude 4 --longitude 2 --elevation nan", 2,
         "is no elevation"),
        ("provision --board classic --name x --latitude 4 --longitude 2 --elevation 1e9", 2,
         "is no elevation"),
        ("provision --board classic --name x --bench {folder}/noise.toml", 2, "cannot be used"),
        ("calibrate colocation {folder}/text.toml {folder}/text.toml --node 1 --quantity pm10",
         9, "has no column time"),
    ],
)  # fmt: skip
def test_wrong_use(command: str, code: int, words: str, tmp_path: Path) -> None:
    found, shown = run(command, tmp_path)
    assert (found, words in shown) == (code, True), shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("command", ["list", "selftest --board classic", "wipe --yes", "identify"])
def test_for_scripts_an_error_is_one_object(command: str, tmp_path: Path) -> None:
    code, shown = run(f"{command} --json --port {GONE}", tmp_path)
    told = json.loads(shown)
    assert (told["code"], code) == (Exit.NO_PORT, Exit.NO_PORT)
    assert told["to_do"]


def test_every_command_has_an_example_and_most_have_json() -> None:
    group = main
    assert isinstance(group, LazyGroup)
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        leaves = (
            [command.get_command(context, each) for each in command.list_commands(context)]
            if isinstance(command, click.Group)
            else [command]
        )
        for leaf in leaves:
            assert leaf is not None
            assert "osn-board" in (leaf.help or "").partition("Example")[2], name
            options = {option for parameter in leaf.params for option in parameter.opts}
            assert name == "repl" or "--json" in options, name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("line", ["boards", "list", "--help"])
def test_an_output_that_takes_nothing_is_said(line: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hardware.cli", line],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == Exit.FAILED, done.stderr
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_of_the_computer_loses_nothing(tmp_path: Path) -> None:
    from hardware.faults import unforeseen

    advice = unforeseen(OSError(28, "No space left on device", "boards.jsonl")).advice
    assert advice.happened == "boards.jsonl: This computer's disk is full"
    assert "same command" in advice.to_do


def test_an_image_that_is_too_old_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path, "esp32")
    path.write_bytes(path.read_bytes().replace(b"v1.28.0", b"v1.24.1"))
    with pytest.raises(BenchError, match=r"1\.24\.1, which is too old") as failure:
        read_image(path)
    assert failure.value.advice.code is Exit.WRONG_IMAGE


@pytest.mark.parametrize(("ours", "word"), [(5, "too new"), (7, "too old")])
def test_a_micropython_of_another_age_is_refused(
    plug_in: MakeBoard, ours: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MPY_VERSION", ours)
    with plug_in() as board, sessions.session(board.path) as opened:
        with pytest.raises(BenchError, match=word) as failure:
            sessions.check_version(opened, None)
        assert failure.value.advice.code is Exit.WRONG_IMAGE
