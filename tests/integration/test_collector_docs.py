"""docs/operate.md: every command is run, and what it prints has the shape that the page shows."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.boards.bundles import signed_file
from collector.cli import _COMMANDS, main
from hardware.bundle import compose
from tests.collector.house import KEYS, RECORDS, STRANGER, House, an_hour

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "operate.md"
OUTSIDE = ("sudo apt ", "sudo systemctl ")
"""Commands in `sh` blocks, which need a whole machine: the package has a test of its own."""
BLOCK = re.compile(
    r"<!-- test: (?P<step>[^>]+?) -->|^(?P<indent> *)```(?P<kind>\w+)\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
STARTED_WITHIN_S = 240.0


class Reader:
    """Somebody who follows the page, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._etc = folder / "etc"
        self._data = folder / "data"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._new_machine(folder)
        (folder / "tray-7.jsonl").write_text("".join(json.dumps(r) + "\n" for r in RECORDS))
        more = {**RECORDS[0], "node": "0000000b", "uuid": "0" * 31 + "b", "key": "ab" * 32}
        (folder / "more.jsonl").write_text(json.dumps({**more, "name": "Quay"}) + "\n")
        (folder / "pier.key").write_text(KEYS[STRANGER].hex())
        content = compose("", "1.4.0", {"firmware/application.py": bytes(5_000)})
        (folder / "street-1.4.0.bundle").write_bytes(signed_file(content, bytes(64)))
        (folder / "passphrase").write_text("correct horse battery\n")

    def _new_machine(self, folder: Path) -> None:
        shutil.rmtree(self._etc, ignore_errors=True)
        shutil.rmtree(self._data, ignore_errors=True)
        self._etc.mkdir()

    def step(self, name: str) -> None:
        """What happens between two commands."""
        if name == "an hour passes":
            House(self._etc).live(an_hour)
        elif name == "the collector starts":
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "collector", "run"],
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            deadline = time.monotonic() + STARTED_WITHIN_S
            while not (self._data / "control.sock").exists():
                assert time.monotonic() < deadline, "the collector did not start"
                time.sleep(0.05)
        elif name == "the collector stops":
            self.stop()
        elif name == "a new machine":
            self._new_machine(self._folder)
        else:
            pytest.fail(f"the page asks for an unknown step: {name}")

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            assert self._daemon.wait(30) == 0
            self._daemon = None

    def write(self, body: str) -> None:
        """A file that the page shows: its first line says which."""
        name = body.splitlines()[0].removeprefix("# ")
        text = self._here(body)
        if name.startswith("append to "):
            with (self._etc / name.removeprefix("append to ")).open("a") as file:
                file.write(text)
            return
        (self._folder / name).write_text(text)

    def run(self, command: str) -> str:
        words = [self._here(word) for word in shlex.split(command)]
        if words[0] == "osn-collector":
            words[:1] = [sys.executable, "-m", "collector"]
        done = subprocess.run(
            words,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode in (0, 3, 4), f"{command}\n{done.stdout}{done.stderr}"
        return self._there(done.stdout + done.stderr)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "OSN_COLLECTOR_CONFIG": str(self._etc / "collector.toml"),
            "COLUMNS": "160",
            "PYTHONPATH": str(ROOT),
        }

    def _here(self, text: str) -> str:
        text = text.replace("/etc/osn-collector", str(self._etc))
        return text.replace("/var/lib/osn-collector", str(self._data))

    def _there(self, text: str) -> str:
        text = text.replace(str(self._etc), "/etc/osn-collector")
        return text.replace(str(self._data), "/var/lib/osn-collector")


def blocks() -> Iterator[tuple[str, str]]:
    for found in BLOCK.finditer(PAGE.read_text()):
        if found["step"]:
            yield "step", found["step"]
        else:
            yield found["kind"], textwrap.dedent(found["body"])


def commands(body: str) -> Iterator[tuple[str, list[str]]]:
    """(command, lines it should print) of a console block."""
    command, lines = "", []
    for line in body.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, lines
            command, lines = line[2:], []
        else:
            lines.append(line)
    yield command, lines


def shape(line: str) -> str:
    """A line without its numbers, addresses and spacing."""
    line = re.sub(r"\b[0-9a-f]{8,}\b", "#", line)
    line = re.sub(r"[0-9][0-9.:,TZ-]*", "#", line)
    return " ".join(line.split())


def matches(shown: list[str], expected: list[str]) -> bool:
    """Whether lines follow the expected ones; `...` stands for any lines, or a line's rest."""
    pattern = ""
    for line in expected:
        if line.strip() == "...":
            pattern += r"(?:.*\n)*"
            continue
        parts = [re.escape(shape(part)) for part in line.split("...")]
        pattern += r".*?".join(parts) + (r".*\n" if line.rstrip().endswith("...") else r"\n")
    text = "".join(shape(line) + "\n" for line in shown if line.strip())
    return re.fullmatch(pattern, text) is not None


def test_every_command_of_the_page_does_what_it_shows(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    ran = 0
    try:
        for kind, body in blocks():
            if kind == "step":
                reader.step(body)
            elif kind == "toml":
                reader.write(body)
            elif kind == "console":
                for command, expected in commands(body):
                    shown = reader.run(command).splitlines()
                    wanted = [line for line in expected if line.strip()]
                    assert matches(shown, wanted), "\n".join(["$ " + command, *shown])
                    ran += 1
            else:
                assert kind == "sh"
                for line in body.splitlines():
                    assert line.startswith(OUTSIDE), f"{line!r} is run by no test"
    finally:
        reader.stop()
    assert ran >= 20


def test_every_command_and_option_that_the_page_names_exists() -> None:
    context = main.make_context("osn-collector", ["status"], resilient_parsing=True)
    for words in re.findall(r"osn-collector ([a-z-]+(?: [a-z]+)?)", PAGE.read_text()):
        name, *rest = words.split()
        if name not in _COMMANDS:
            continue
        command = main.get_command(context, name)
        children = getattr(command, "commands", None)
        if children is not None and rest:
            assert rest[0] in children, f"osn-collector {words}"


def test_every_command_is_on_the_page() -> None:
    text = PAGE.read_text()
    missing = [name for name in _COMMANDS if name not in text]
    assert not missing


def test_shapes_tell_lines_apart() -> None:
    assert matches(["a 12 b", "c"], ["a 7 b", "..."])
    assert matches(["node 00ff00ff x"], ["node a1b2c3d4 x"])
    assert matches(["reading x (ok; 5)"], ["reading ..."])
    assert not matches(["a 12 c"], ["a 7 b"])
    assert not matches(["a", "b"], ["a"])
