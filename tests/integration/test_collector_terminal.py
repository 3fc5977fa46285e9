"""The operator at a real terminal: questions asked, answers typed, tables drawn."""

import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.collector.house import House, an_hour, make_house

ROOT = Path(__file__).resolve().parent.parent.parent
WITHIN_S = 240.0


class Terminal:
    """A tmux session of its own server, 120 columns wide."""

    def __init__(self, program: str, folder: Path) -> None:
        self._tmux = [program, "-L", f"osn-{uuid.uuid4().hex[:8]}", "-f", "/dev/null"]
        self._run(
            "new-session", "-d", "-x", "120", "-y", "40", "-c", str(folder),
            "-e", f"OSN_COLLECTOR_CONFIG={folder}/collector.toml", "-e", f"PYTHONPATH={ROOT}",
            "-e", "PS1=$ ", "sh",
        )  # fmt: skip

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def type(self, text: str) -> None:
        self._run("send-keys", "-l", text)
        self._run("send-keys", "Enter")

    def collector(self, arguments: str) -> None:
        self.type(f"{shlex.quote(sys.executable)} -m collector {arguments}; echo done $?")

    @property
    def screen(self) -> str:
        return self._run("capture-pane", "-p", "-J", "-S", "-")

    def wait_for(self, holds: Callable[[str], bool]) -> str:
        deadline = time.monotonic() + WITHIN_S
        while not holds(self.screen):
            assert time.monotonic() < deadline, self.screen
            time.sleep(0.05)
        return self.screen

    def end(self) -> None:
        self._run("kill-server")


@pytest.fixture
def bare_house(tmp_path: Path) -> House:
    return make_house(tmp_path)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    program = shutil.which("tmux")
    if program is None:
        pytest.skip("tmux is not installed")
    made = Terminal(program, tmp_path)
    yield made
    made.end()


def test_init_asks_and_what_it_writes_is_good(terminal: Terminal, tmp_path: Path) -> None:
    terminal.collector("init")
    for question, answer in [
        ("Name of this collector", "pi"),
        ("Folder for its data", str(tmp_path / "data")),
        ("MQTT broker", "none"),
        ("Boards on USB", ""),
        ("Time zone", "Europe/Madrid"),
    ]:
        terminal.wait_for(lambda screen, question=question: question in screen)
        terminal.type(answer)
    terminal.wait_for(lambda screen: "done 0" in screen)
    terminal.type("clear")
    terminal.collector("check-config collector.toml")
    assert "good (0 mqtt" in terminal.wait_for(lambda screen: "done 0" in screen)


def test_a_key_is_typed_unseen(terminal: Terminal, bare_house: House) -> None:
    assert bare_house.folder.exists()
    terminal.collector(
        "nodes adopt 000000ff --name Pier --uuid 6f9619ff-8b86-4d01-b42d-0000000000ff"
    )
    terminal.wait_for(lambda screen: "Key (64 hex digits)" in screen)
    terminal.type("ab" * 32)
    assert "abab" not in terminal.wait_for(lambda screen: "done 0" in screen)


def test_tables_fit_the_terminal(terminal: Terminal, bare_house: House) -> None:
    bare_house.live(an_hour)
    terminal.collector("ledger")
    screen = terminal.wait_for(lambda screen: "done 0" in screen)
    row = next(line for line in screen.splitlines() if "Plaza" in line)
    assert row.split() == ["a1b2c3d4", "Plaza", "6", "6", "0", "0", "0", "0"]
