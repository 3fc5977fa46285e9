"""A node with a valid key sends what no board sends, and the daemon is killed and started again.

What must hold: an honest board is served meanwhile, memory stays small, and a start after it takes
no longer than what it has to read. Counted is processor time, for the machine may be busy.
"""

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.collector_load import Socket, publish
from protocol import compose, wire
from protocol.mac import derive
from protocol.registry import by_name
from protocol.sections import ClockSet
from tests.integration.street import BOOT, NODE, RECORD, Board, Daemon, until

OTHER = 0x0000_0BAD
KEY = bytes(range(2, 34))
UP = derive(KEY, b"up")
HOUR_MS = 3_600_000
CONSTANT = bytes([255, 1, by_name("pm2_5").id, 15, 2])
"""255 rows of one column, always the same: by hand, for no encoder of ours makes such frames."""

SERVED_WITHIN_S = 90.0
MEMORY_MB_MAX = 110.0
CPU_S_MAX = 20.0
"""An idle daemon takes 45 MB and starts with 1.5 s of processor; these are far from what the
attacks took when a frame was not bounded, and far from what a busy machine adds."""


class Process(NamedTuple):
    """A running daemon, from outside."""

    pid: int

    def peak_mb(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def hours(seq: int, span_hours: int, within_hours: int = 10**7) -> bytes:
    """255 rows that span so many hours; each frame has hours of its own."""
    period_ms = span_hours * HOUR_MS // 254
    t0_ms = seq * span_hours % within_hours * HOUR_MS
    samples = t0_ms.to_bytes(6, "little") + _uvarint(period_ms) + CONSTANT
    return compose.compose(wire.T_DATA, OTHER, BOOT, seq, [(wire.S_SAMPLES, samples)], UP)


def _uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def clocks(seq: int, count: int, error_ms: int) -> bytes:
    """CLOCK sections, each of an hour of its own, of which each second contradicts the others."""
    sections = []
    begin_ms = time.time_ns() // 1_000_000 - 5_000 * HOUR_MS
    for number in range(seq * count, (seq + 1) * count):
        unix_ms = begin_ms if number % 2 else begin_ms + number * HOUR_MS
        clock = ClockSet(number * HOUR_MS, unix_ms, error_ms, wire.CLOCK_GPS)
        sections.append(compose.clock_section(clock))
    return compose.compose(wire.T_DATA, OTHER, BOOT, seq, sections, UP)


ATTACKS: dict[str, Callable[[], list[bytes]]] = {
    "hours beyond a board's": lambda: [hours(seq, 331) for seq in range(1, 2_001)],
    "hours as many as may be": lambda: [hours(seq, 148, 260_000) for seq in range(1, 2_001)],
    "clocks beyond a board's": lambda: [clocks(seq, 63, 4_000_000_000) for seq in range(1, 61)],
    "clocks as many as may be": lambda: [clocks(seq, 4, 600_000_000) for seq in range(1, 1_001)],
}


@pytest.fixture
def daemon(tmp_path: Path, mosquitto: Callable[..., Any]) -> Iterator[tuple[Daemon, Any]]:
    broker = mosquitto()
    made = Daemon(tmp_path, broker.port)
    other = RECORD | {
        "node": f"{OTHER:08x}", "key": KEY.hex(), "name": "Other",
        "uuid": "6f9619ff-8b86-4d01-b42d-000000000bad",
    }  # fmt: skip
    (tmp_path / "other.jsonl").write_text(json.dumps(other) + "\n")
    made.import_node()
    made.command("nodes", "import", str(tmp_path / "other.jsonl"))
    yield made, broker
    with suppress(AssertionError):
        made.kill()


def is_through(collector: Daemon, frames: int) -> bool:
    """Whether all that was sent has been decided about and committed."""
    intake = json.loads(collector.command("status", "--json"))["intake"]
    heard = intake["received"] + intake["queue_dropped"]
    return heard >= frames and not intake["queued"] and not intake["waiting"]


async def started(collector: Daemon) -> Process:
    before = collector.log.count("connected to") if (collector.folder / "log").exists() else 0
    collector.start()
    await until(lambda: collector.log.count("connected to") > before, SERVED_WITHIN_S)
    process = collector._process
    assert process is not None
    return Process(process.pid)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_one_node_does_not_make_the_others_pay(
    daemon: tuple[Daemon, Any], attack: str
) -> None:
    collector, broker = daemon
    frames = ATTACKS[attack]()
    running = await started(collector)
    begin_s = running.cpu_s()
    sender = Socket(broker.port, "other")
    sender.send([publish(f"osn/1/{OTHER:08x}/u", raw) for raw in frames])
    await asyncio.sleep(1)
    board = Board(broker.port, 30)
    await asyncio.wait_for(board.run(), SERVED_WITHIN_S)
    assert len(board.acknowledged) == 30
    await until(lambda: len(collector.readings()) >= 30 * 12 * 3, SERVED_WITHIN_S)
    await until(lambda: is_through(collector, len(frames)), SERVED_WITHIN_S)
    assert running.cpu_s() - begin_s < CPU_S_MAX
    assert running.peak_mb() < MEMORY_MB_MAX
    collector.kill()
    sender.close()
    again = await started(collector)
    assert again.cpu_s() < CPU_S_MAX
    assert again.peak_mb() < MEMORY_MB_MAX
    status = json.loads(collector.command("status", "--json"))
    own = {node["node"]: node["frames"] for node in status["nodes"]}
    assert own[f"{NODE:08x}"]["stored"] == 30
    with closing(sqlite3.connect(collector.folder / "data" / "archive.db")) as archive:
        (stored,) = archive.execute(
            "SELECT count(*) FROM frame WHERE node = ?", (OTHER,)
        ).fetchone()
    assert own[f"{OTHER:08x}"]["stored"] == stored > 30
    assert collector.terminate() == 0
    assert "Traceback" not in collector.log
