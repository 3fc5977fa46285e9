"""Real servers for tests, each on a free port of 127.0.0.1 and ended by the test."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

STARTED_WITHIN_S = 240.0


def find_free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Waits until the process listens; fails with its exit code when it ends first."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nobody listens on port {port} after {STARTED_WITHIN_S} s")


class Mosquitto:
    """A real mosquitto that can be killed and started again on the same port."""

    def __init__(
        self, program: str, folder: Path, configuration: str | None = None, port: int | None = None
    ) -> None:
        self.port = port or find_free_port()
        self._program = program
        self._file = folder / f"mosquitto-{self.port}.conf"
        text = configuration or f"listener {self.port} 127.0.0.1\nallow_anonymous true\n"
        stay = "user root\n" if os.geteuid() == 0 else ""
        self._file.write_text(stay + text.replace("@PORT@", str(self.port)))
        self._log = self._file.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the broker has printed."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        """Starts it and waits until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._file)], stdout=log, stderr=log
            )
        wait_for_port(self.port, self._process)

    def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Finds a free port at each call."""
    return find_free_port


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Starts mosquittos with a configuration in which @PORT@ is a free port."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    started: list[Mosquitto] = []

    def start(configuration: str | None = None, port: int | None = None) -> Mosquitto:
        broker = Mosquitto(program, tmp_path, configuration, port)
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.kill()
