"""The daemon as a process: frames over a real broker into archive and file, through SIGKILLs."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from tests.integration.street import KEY, ROWS, WITHIN_S, Board, Daemon, check_delivery, until


@pytest.fixture
def daemon(tmp_path: Path, mosquitto: Callable[..., Any]) -> Iterator[tuple[Daemon, Any]]:
    broker = mosquitto()
    made = Daemon(tmp_path, broker.port)
    made.import_node()
    yield made, broker
    with suppress(AssertionError):
        made.kill()


async def test_frames_reach_the_file_and_are_acknowledged(daemon: tuple[Daemon, Any]) -> None:
    collector, broker = daemon
    collector.start()
    board = Board(broker.port, 30)
    await asyncio.wait_for(board.run(), WITHIN_S)
    await until(lambda: len(collector.readings()) >= 30 * ROWS * 3)
    assert collector.terminate() == 0
    check_delivery(board, collector.readings(), 30)
    assert "Traceback" not in collector.log
    assert KEY.hex() not in collector.log
    check_trace(collector)


def check_trace(collector: Daemon) -> None:
    line = collector.readings()[40]
    shown = collector.command("trace", "Plaza", line["time"])
    assert f"reading   {line['quantity']} = {line['value']:g} {line['unit']} (ok;" in shown
    assert "ACK       covered" in shown
    assert "sink      jsonl: done: first sample as 20" in shown
    (plain,) = map(
        json.loads, collector.command("trace", "Plaza", line["time"], "--json").splitlines()
    )
    assert plain["time"] == line["time"]
    values = {reading["quantity"]: reading["value"] for reading in plain["readings"]}
    assert values[line["quantity"]] == line["value"]
    collector.command("trace", "Plaza", "1999-01-01", code=1)
    collector.command("trace", "Nobody", line["time"], code=1)


class LateHeard(Board):
    """Its first beacon is lost, as when the collector subscribes a moment after it."""

    async def say_live(self, client: aiomqtt.Client) -> None:
        if self.live:
            await super().say_live(client)
        self.live += 1


async def test_frames_that_come_before_a_beacon_are_dated_by_the_next(
    daemon: tuple[Daemon, Any],
) -> None:
    collector, broker = daemon
    collector.start()
    await until(lambda: (collector.folder / "data" / "control.sock").exists())
    board = LateHeard(broker.port, 20)
    await asyncio.wait_for(board.run(), WITHIN_S)
    await until(lambda: len(collector.readings()) >= 20 * ROWS * 3)
    assert collector.terminate() == 0
    check_delivery(board, collector.readings(), 20)


@pytest.mark.parametrize("seed", [1])
async def test_kills_of_collector_and_broker_lose_and_double_nothing(
    daemon: tuple[Daemon, Any], seed: int
) -> None:
    collector, broker = daemon
    chance = random.Random(seed)
    frames = 900
    collector.start()
    board = Board(broker.port, frames)
    sending = asyncio.create_task(board.run(window=32))
    for _ in range(6):
        progress = len(board.acknowledged)
        with suppress(TimeoutError):
            await until(
                lambda progress=progress: len(board.acknowledged) > progress or not board.spool, 15
            )
        await asyncio.sleep(chance.uniform(0, 0.4))
        if chance.random() < 0.67:
            collector.kill()
            await asyncio.sleep(chance.uniform(0, 0.2))
            collector.start()
        else:
            broker.kill()
            await asyncio.sleep(chance.uniform(0, 0.3))
            broker.start()
    await asyncio.wait_for(sending, WITHIN_S)
    await until(lambda: len(collector.readings()) >= frames * ROWS * 3)
    await asyncio.sleep(0.5)
    assert collector.terminate() == 0
    check_delivery(board, collector.readings(), frames)
    assert "Traceback" not in collector.log
