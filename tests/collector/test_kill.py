"""kill -9 at random moments under load: what was acknowledged is there, nothing is there twice."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from collector.archive import archive
from collector.ledger.ledger_boot import Account
from protocol.decoder import decode
from tests.collector.core import BOOT, Bench, BenchClock, Board
from tests.collector.kill_target import serve

KILLS = 200
NODES = 5
WINDOW = 24
START_S = 240


class Sender:
    """A board that keeps a window of frames under way and frees them on ACK."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.acked: set[int] = set()
        self.lowest = 1
        self.frames: dict[int, bytes] = {}
        self.highest = 0

    def window(self) -> list[bytes]:
        found = []
        for seq in range(self.lowest, self.lowest + WINDOW):
            if seq not in self.acked:
                if seq not in self.frames:
                    self.frames[seq] = self.board.data(seq)
                    self.highest = max(self.highest, seq)
                found.append(self.frames[seq])
        return found

    def hear(self, upto: int, mask: int) -> None:
        self.acked.update(range(self.lowest, upto + 1))
        self.acked.update(upto + 2 + bit for bit in range(32) if mask >> bit & 1)
        while self.lowest in self.acked:
            self.frames.pop(self.lowest, None)
            self.lowest += 1


def hear(pipe: Connection, senders: dict[int, Sender], wait_s: float) -> None:
    while pipe.poll(wait_s):
        frame = decode(pipe.recv_bytes())
        if frame.ack is not None:
            for entry in frame.ack.entries:
                senders[frame.node].hear(entry.upto, entry.mask)
        wait_s = 0


def live_and_die(
    context: multiprocessing.context.ForkServerContext,
    folder: Path,
    senders: dict[int, Sender],
    randomness: random.Random,
) -> None:
    ours, theirs = context.Pipe()
    secrets = {node: sender.board.secret for node, sender in senders.items()}
    process = context.Process(target=serve, args=(folder, secrets, theirs), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(START_S), "the collector does not start by itself"
    assert ours.recv_bytes() == b"ready"
    end_s = time.monotonic() + randomness.uniform(0.002, 0.12)
    while time.monotonic() < end_s:
        for sender in senders.values():
            for raw in sender.window():
                ours.send_bytes(raw)
        hear(ours, senders, 0.004)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with suppress(EOFError, ConnectionResetError):
        hear(ours, senders, 0)
    ours.close()


async def test_200_kills_lose_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # so that a forked child does not import the test runner again, which takes half a second
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.collector.kill_target"])
    randomness = random.Random(20)
    boards = [Board(node=number) for number in range(1, NODES + 1)]
    senders = {board.node: Sender(board) for board in boards}
    for _ in range(KILLS):
        live_and_die(context, tmp_path, senders, randomness)
    bench = Bench(tmp_path, boards, BenchClock())
    rows = Counter(bench.stored())
    assert set(rows.values()) == {1}
    for node, sender in senders.items():
        assert {(node, BOOT, seq) for seq in sender.acked} <= set(rows)
        stored = sum(1 for row in rows if row[0] == node)
        assert bench.storage.ledger.account(node).stored == stored
    assert sum(len(sender.acked) for sender in senders.values()) > 10 * KILLS
    await bench.take(*(raw for sender in senders.values() for raw in sender.window()))
    total = sum((bench.storage.ledger.account(board.node) for board in boards), Account())
    assert total.produced == total.stored
    connection = archive.open_reader(tmp_path / "archive.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
