"""The real daemon behind a real broker, and a node whose owner signs whatever he likes."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from protocol.compose import compose_live
from tests.collector import core
from tests.collector.hostile import Hostile
from tests.integration.street import BOOT, NODE, RECORD, WITHIN_S, Board, Daemon, check_delivery

FRAMES = 20
HOSTILE_FRAMES = 150
ATTACKER = core.Board(0x0000B0B1)


@pytest.fixture
def daemon(tmp_path: Path, mosquitto: Callable[..., Any]) -> Iterator[tuple[Daemon, int]]:
    broker = mosquitto()
    made = Daemon(tmp_path, broker.port)
    made.import_node()
    record = {
        **RECORD,
        "node": f"{ATTACKER.node:08x}",
        "uuid": "6f9619ff-8b86-4d01-b42d-00000000b0b1",
        "key": ATTACKER.secret.hex(),
        "name": "Attacker",
    }
    records = tmp_path / "attacker.jsonl"
    records.write_text(json.dumps(record) + "\n")
    made.command("nodes", "import", str(records))
    yield made, broker.port
    with suppress(AssertionError):
        made.kill()


async def attack(port: int) -> None:
    """The LIVE that once ended the collector for ever, and what else a key makes possible."""
    up, node = ATTACKER.up, ATTACKER.node
    impossible = [
        compose_live(up, node, BOOT, counter, 60_000, [(BOOT, lowest, highest)])
        for counter, (lowest, highest) in enumerate(
            [(0, 0), (0, 9), (9, 2), (0xFFFFFFFF, 0), (1, 0xFFFFFFFF)], 1
        )
    ]
    hostile = Hostile(7, ATTACKER)
    hostile.lives = 10
    async with aiomqtt.Client("127.0.0.1", port, timeout=5) as client:
        for raw in (*impossible, *islice(hostile.frames(), HOSTILE_FRAMES), *impossible):
            await client.publish(f"osn/1/{node:08x}/u", raw)


async def honest(port: int, first_live: int) -> Board:
    """A board that ends only when all its frames are acknowledged and it was told the time."""
    board = Board(port, FRAMES)
    board.live = first_live
    await asyncio.wait_for(board.run(), WITHIN_S)
    return board


async def test_the_daemon_lives_starts_again_and_heals_what_was_left_behind(
    daemon: tuple[Daemon, int],
) -> None:
    collector, port = daemon
    collector.start()
    await honest(port, 0)
    await attack(port)
    board = await honest(port, 1_000)
    status = json.loads(collector.command("status", "--json", code=3))
    assert status["intake"]["refused"]["live_state"] >= 8, "the attack has arrived"
    assert "failed" not in status["intake"]["refused"]
    assert collector.terminate() == 0

    collector.start()
    await honest(port, 2_000)
    assert collector.terminate() == 0

    # what such a LIVE left behind where it was once believed
    with closing(sqlite3.connect(collector.folder / "data" / "archive.db")) as archive, archive:
        archive.execute("UPDATE ledger SET before = -1 WHERE node = ?", (NODE,))
    assert "before is -1" in collector.command("doctor", code=3)
    collector.start()
    board = await honest(port, 3_000)
    assert collector.terminate() == 0
    own = [line for line in collector.readings() if line["node"] == f"{NODE:08x}"]
    check_delivery(board, own, FRAMES)
    assert f"node {NODE:08x} boot {BOOT}: before is -1" in collector.log
    assert "Traceback" not in collector.log
