"""The systemd unit: its score, and its command under its restrictions."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.exit_codes import EXIT_BUSY
from tests.integration.street import ROWS, WITHIN_S, Board, Daemon, check_delivery, until

ROOT = Path(__file__).resolve().parent.parent.parent
UNIT = ROOT / "packaging" / "systemd" / "osn-collector.service"
RESTRICTIONS = Path(__file__).with_name("restrictions.py")
SCORE_MAX = 2.0
WATCHDOG_US = 1_500_000


@pytest.fixture
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return program


def test_the_unit_is_hardened(analyze: str) -> None:
    shown = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    score = float(shown.rsplit("exposure level for osn-collector.service:", 1)[1].split()[0])
    assert score <= SCORE_MAX


def test_the_unit_is_valid(analyze: str, tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/usr/bin/osn-collector", "/bin/true")
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", str(tmp_path / UNIT.name)], capture_output=True, text=True, check=False
    )
    assert "osn-collector.service" not in done.stderr, done.stderr


class Manager:
    """The service manager's end of sd_notify."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)
        self._said: list[str] = []

    @property
    def said(self) -> list[str]:
        while True:
            try:
                self._said += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._said

    def close(self) -> None:
        self._socket.close()


@contextmanager
def restricted(daemon: Daemon, manager: Manager) -> Iterator["subprocess.Popen[bytes]"]:
    """`osn-collector run` under the unit's restrictions, watched as the unit says."""
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": manager.path,
        "WATCHDOG_USEC": str(WATCHDOG_US),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(ROOT),
    }
    with (daemon.folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable, str(RESTRICTIONS), str(UNIT), str(daemon.folder), "0",
                sys.executable, "-m", "collector", "run", "--config", str(daemon.config),
            ],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="namespaces and seccomp need root"
)
async def test_the_units_command_works_under_its_restrictions(
    tmp_path: Path, mosquitto: Callable[..., Any], analyze: str
) -> None:
    broker = mosquitto()
    daemon = Daemon(tmp_path, broker.port)
    daemon.import_node()
    manager = Manager(tmp_path)
    with restricted(daemon, manager) as process:
        await until(lambda: "READY=1" in manager.said or process.poll() is not None)
        assert process.poll() is None, daemon.log
        board = Board(broker.port, 20)
        await asyncio.wait_for(board.run(), WITHIN_S)
        await until(lambda: len(daemon.readings()) >= 20 * ROWS * 3)
        await until(lambda: manager.said.count("WATCHDOG=1") >= 3)
        daemon.command("status", "--json")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0, daemon.log
    assert "STOPPING=1" in manager.said
    check_delivery(board, daemon.readings(), 20)
    assert "Traceback" not in daemon.log
    assert "Operation not permitted" not in daemon.log
    manager.close()


async def test_the_watchdog_starves_when_commits_stop(
    tmp_path: Path, mosquitto: Callable[..., Any]
) -> None:
    """A stopped writer thread is simulated by a lock that another process holds for ever."""
    import sqlite3

    broker = mosquitto()
    daemon = Daemon(tmp_path, broker.port)
    daemon.import_node()
    manager = Manager(tmp_path)
    os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"] = manager.path, str(WATCHDOG_US)
    try:
        daemon.start()
    finally:
        del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
    await until(lambda: "WATCHDOG=1" in manager.said)
    blocker = sqlite3.connect(tmp_path / "data" / "archive.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    await asyncio.sleep(0.6)
    fed = manager.said.count("WATCHDOG=1")
    await asyncio.sleep(3 * WATCHDOG_US / 1e6)
    assert manager.said.count("WATCHDOG=1") == fed, "fed although nothing could be committed"
    blocker.execute("ROLLBACK")
    blocker.close()
    await until(lambda: manager.said.count("WATCHDOG=1") > fed)
    daemon.kill()
    manager.close()


async def test_a_second_collector_on_the_same_folder_is_refused(
    tmp_path: Path, mosquitto: Callable[..., Any]
) -> None:
    daemon = Daemon(tmp_path, mosquitto().port)
    daemon.start()
    await until(lambda: (tmp_path / "data" / "control.sock").exists())
    shown = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "collector", "run", "--config", str(daemon.config)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert shown.returncode == EXIT_BUSY
    assert "another collector" in shown.stderr
    daemon.kill()
    daemon.start()
    await until(lambda: daemon.log.count("collector collector") == 2)
    daemon.kill()
