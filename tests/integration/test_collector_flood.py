"""The daemon beside a publisher that is faster than it: an honest board is still served."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.collector_load import publish
from protocol import compose, wire
from protocol.mac import derive
from tests.integration.street import BOOT, KEY, NODE, Board, Daemon, until

POUR = """
import socket, sys
sys.path.insert(0, {root!r})
from benchmarks.collector_flood import pour
pour({port}, bytes.fromhex({packet!r}))
"""
ROOT = Path(__file__).parents[2]
PUBLISHERS = 2
SERVED_WITHIN_S = 25.0


@contextmanager
def pouring(port: int, packet: bytes) -> Iterator[None]:
    code = POUR.format(root=str(ROOT), port=port, packet=packet.hex())
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(PUBLISHERS)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture
def daemon(tmp_path: Path, mosquitto: Callable[..., Any]) -> Iterator[tuple[Daemon, Any]]:
    broker = mosquitto()
    made = Daemon(tmp_path, broker.port)
    made.import_node()
    yield made, broker
    with suppress(AssertionError):
        made.kill()


def forged() -> bytes:
    """In the honest board's own name: only the tag tells them apart."""
    return compose.compose(wire.T_DATA, NODE, BOOT, 1, [], bytes(32))


def replayed() -> bytes:
    """An authentic frame of a boot that is long over, again and again."""
    return compose.compose(wire.T_LOG, NODE, BOOT - 1, 1, [], derive(KEY, b"up"))


@pytest.mark.parametrize("poured", [forged, replayed])
async def test_a_board_is_served_while_others_pour(
    daemon: tuple[Daemon, Any], poured: Callable[[], bytes]
) -> None:
    collector, broker = daemon
    collector.start()
    await until(lambda: "connected to" in collector.log)
    board = Board(broker.port, 30)
    with pouring(broker.port, publish(f"osn/1/{NODE:08x}/u", poured())):
        await asyncio.sleep(1.5)
        await asyncio.wait_for(board.run(), SERVED_WITHIN_S)
    assert len(board.acknowledged) == 30
    assert collector.terminate() == 0
    assert "Traceback" not in collector.log
