"""A board and a collector for tests with real processes and brokers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiomqtt

from protocol.compose import compose_data, compose_live
from protocol.decoder import decode, open_frame
from protocol.mac import derive
from protocol.registry import by_name
from protocol.samples import Channel

KEY = bytes(range(32))
NODE, BOOT = 0xA1B2C3D4, 1_764_000_000
ROWS, PERIOD_MS = 12, 1_000
CHANNELS = [Channel(by_name(name).id) for name in ("pm2_5", "pm10", "temperature")]
RECORD = {
    "node": f"{NODE:08x}",
    "uuid": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
    "key": KEY.hex(),
    "name": "Plaza",
    "board": "street",
    "boot": BOOT,
    "mobile": False,
}
WITHIN_S = 240.0


class Board:
    """A board in a few lines: it keeps every frame until an ACK covers it, and resends."""

    def __init__(self, port: int, frames: int) -> None:
        self.acknowledged: set[int] = set()
        self.live = 0
        self.resent = Counter[int]()
        self._undated = True
        self._port = port
        self._up = derive(KEY, b"up")
        self._down = derive(KEY, b"dn")
        self._frames = frames
        self._uptime_ms = frames * ROWS * PERIOD_MS
        self.spool = {seq: self._frame(seq) for seq in range(1, frames + 1)}

    @staticmethod
    def values(seq: int, row: int) -> tuple[int, int, int]:
        number = seq * ROWS + row
        return 100 + number % 700, 200 + number % 900, 1_500 + number % 500

    def _frame(self, seq: int) -> bytes:
        rows = [self.values(seq, row) for row in range(ROWS)]
        t0_ms = (seq - 1) * ROWS * PERIOD_MS
        return compose_data(self._up, NODE, BOOT, seq, CHANNELS, rows, t0_ms, PERIOD_MS)

    async def run(self, window: int = 64, resend_s: float = 0.5) -> None:
        """Sends until all is acknowledged and dated, whatever happens to broker and collector."""
        while self.spool or self._undated:
            with suppress(aiomqtt.MqttError, TimeoutError, ExceptionGroup):
                async with aiomqtt.Client("127.0.0.1", self._port, timeout=2) as client:
                    await client.subscribe(f"osn/1/{NODE:08x}/d")
                    async with asyncio.TaskGroup() as group:
                        listener = group.create_task(self._listen(client))
                        await self._send(client, window, resend_s)
                        listener.cancel()
            await asyncio.sleep(0.05)

    async def say_live(self, client: aiomqtt.Client) -> None:
        """The time beacon: without one, a collector holds frames whose date it cannot tell."""
        self.live += 1
        lowest = min(self.spool, default=self._frames + 1)
        live = compose_live(
            self._up, NODE, BOOT, self.live, self._uptime_ms, [(BOOT, lowest, self._frames)]
        )
        await client.publish(f"osn/1/{NODE:08x}/u", live)

    async def _send(self, client: aiomqtt.Client, window: int, resend_s: float) -> None:
        while self.spool or self._undated:
            await self.say_live(client)
            for seq in sorted(self.spool)[:window]:
                if seq in self.spool:
                    self.resent[seq] += 1
                    await client.publish(f"osn/1/{NODE:08x}/u", self.spool[seq])
            sent = len(self.spool)
            for _ in range(20):
                await asyncio.sleep(resend_s / 20)
                if len(self.spool) <= sent - window:
                    break

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            raw = bytes(message.payload)
            envelope = open_frame(raw, self._down)
            assert (envelope.node, envelope.boot) == (NODE, BOOT)
            frame = decode(raw)
            if frame.time is not None and not self.spool:
                self._undated = False
            for entry in frame.ack.entries if frame.ack else ():
                covered = {seq for seq in self.spool if seq <= entry.upto}
                covered |= {entry.upto + 2 + i for i in range(32) if entry.mask >> i & 1}
                for seq in covered & set(self.spool):
                    del self.spool[seq]
                    self.acknowledged.add(seq)


class Daemon:
    """`osn-collector run` as a process."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.config = folder / "collector.toml"
        self.delivered = folder / "delivered.jsonl"
        self.config.write_text(
            f"""
[collector]
data = "data"
clock = "always"
commit_interval_s = 0.1
[[mqtt]]
port = {port}
reconnect_s = 0.1
reconnect_longest_s = 0.5
[web]
enabled = false
[[sink]]
type = "jsonl"
file = "delivered.jsonl"
"""
        )
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "collector", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OSN_COLLECTOR_CONFIG": str(self.config)},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def import_node(self) -> None:
        records = self.folder / "records.jsonl"
        records.write_text(json.dumps(RECORD) + "\n")
        self.command("nodes", "import", str(records))

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "collector", "run", "--config", str(self.config)],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def readings(self) -> list[dict[str, Any]]:
        if not self.delivered.exists():
            return []
        lines = self.delivered.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]


async def until(holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    deadline_s = asyncio.get_running_loop().time() + within_s
    while not holds():
        if asyncio.get_running_loop().time() > deadline_s:
            raise TimeoutError("it never came true")
        await asyncio.sleep(0.05)


def check_delivery(board: Board, found: list[dict[str, Any]], frames: int) -> None:
    """Every reading exactly once, with its value, and evenly in time."""
    assert not board.spool
    assert len(board.acknowledged) == frames
    expected = Counter[tuple[str, float]]()
    for seq in range(1, frames + 1):
        for row in range(ROWS):
            for channel, raw in zip(CHANNELS, Board.values(seq, row), strict=True):
                quantity = next(
                    q for q in ("pm2_5", "pm10", "temperature") if by_name(q).id == channel.quantity
                )
                expected[quantity, by_name(quantity).value(raw)] += 1
    assert Counter((line["quantity"], line["value"]) for line in found) == expected
    keys = Counter(
        (line["node"], line["quantity"], line["instance"], line["time"]) for line in found
    )
    assert max(keys.values()) == 1, "a reading was delivered twice"
    assert len(keys) == frames * ROWS * len(CHANNELS)
