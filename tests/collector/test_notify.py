"""What the service manager is told; one that does not listen holds nothing up."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.notify import notify, watchdog_interval_s

QUEUED_MAX = 100_000


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        yield channel


def test_lines_come_in_one_datagram(manager: socket.socket) -> None:
    assert notify("READY=1", "STATUS=receiving")
    assert manager.recv(4096) == b"READY=1\nSTATUS=receiving"


def test_nothing_is_sent_without_a_manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify("READY=1", within_s=240)


def fill() -> None:
    for _ in range(QUEUED_MAX):
        if not notify("WATCHDOG=1"):
            return
    pytest.fail("the queue of datagrams has no end")


def test_a_manager_that_does_not_read_holds_nobody_up(manager: socket.socket) -> None:
    fill()
    assert not notify("WATCHDOG=1")
    manager.recv(4096)
    assert notify("WATCHDOG=1")


async def test_what_must_be_heard_waits_for_room(manager: socket.socket) -> None:
    fill()
    saying = asyncio.create_task(asyncio.to_thread(notify, "READY=1", within_s=240))
    said = [manager.recv(4096)]
    assert await saying
    manager.setblocking(False)
    while said[-1] != b"READY=1":
        said.append(manager.recv(4096))


def test_the_watchdog_is_for_the_process_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1500000")
    assert watchdog_interval_s() == 1.5
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_interval_s() is None
