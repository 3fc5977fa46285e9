"""A network that never answers costs nobody anything: not the boards, not the other networks."""

import asyncio
import json
from pathlib import Path

from collector.app import Collector
from protocol import wire
from protocol.compose import compose_live
from protocol.decoder import decode
from protocol.mac import derive
from tests.collector.house import (
    BOOT,
    CONFIG,
    FRAMES,
    KEYS,
    PERIOD_MS,
    ROWS,
    STREET,
    House,
    Script,
    make_house,
    street_frame,
)

DEAD = """
[[sink]]
type = "sensorthings"
name = "dead"
url = "http://127.0.0.1:9/v1.1"
"""
"""Nothing listens on port 9 (discard): each attempt is refused, for ever."""
STORED = FRAMES * ROWS * 3


def highest_acknowledged(transport: Script) -> int:
    frames = [decode(raw) for node, raw in transport.sent if node == STREET]
    entries = [e for f in frames if f.type == wire.T_ACK and f.ack for e in f.ack.entries]
    return max(entry.upto for entry in entries)


def with_a_dead_sink(folder: Path) -> House:
    house = make_house(folder)
    house.config.write_text(CONFIG + DEAD)
    return house


def test_one_sink_is_dead_for_ever(tmp_path: Path) -> None:
    house = with_a_dead_sink(tmp_path)
    acknowledged: list[int] = []

    async def play(transport: Script, collector: Collector) -> None:
        up = derive(KEYS[STREET], b"up")
        transport.receive(STREET, compose_live(up, STREET, BOOT, 1, 0, [(BOOT, 1, FRAMES)]))
        for seq in range(1, FRAMES + 1):
            await asyncio.sleep(ROWS * PERIOD_MS / 1000)
            transport.receive(STREET, street_frame(seq))
        await asyncio.sleep(24 * 3600)
        acknowledged.append(highest_acknowledged(transport))

    house.live(play)
    assert acknowledged == [FRAMES], "boards are answered all the same"
    sinks = json.loads(house.call("ledger", "Plaza", "--json"))["sinks"]
    assert sinks["file"]["delivered"] == STORED - 1
    assert sinks["file"]["to_send"] == 0
    assert (sinks["dead"]["delivered"], sinks["dead"]["to_send"]) == (0, STORED)
    assert sinks["dead"]["unaccounted"] == 0
