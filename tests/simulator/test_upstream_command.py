"""`osn-simulator upstream`: a fake network by itself, as faulty as asked for."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulator.cli import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope",), "no fake network 'nope'"),
        (("ckan", "--fault", "busy"), "'busy' is not NAME=SHARE"),
        (("ckan", "--fault", "busy=2"), "a share is from 0 to 1"),
        (("ckan", "--fault", "bussy=0.1"), "unknown fault bussy; known are: busy"),
    ],
)
def test_a_mistake_is_named(arguments: tuple[str, ...], words: str) -> None:
    done = CliRunner().invoke(main, ["upstream", *arguments])
    assert done.exit_code == 2
    assert words in done.output


def test_it_serves_until_it_is_interrupted() -> None:
    program = Path(sys.executable).with_name("osn-simulator")
    command = [str(program), "upstream", "ckan", "--fault", "busy=0.5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ckan at http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=240)
    assert rest == "0 readings were stored\n"
    assert process.returncode == 0
