"""The demonstration's ledger: what every board made, and where each reading is now."""

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from struct import unpack_from

from protocol import wire
from protocol.decoder import decode
from protocol.reading import readings
from protocol.wire import FrameError

SEGMENTS = (".s1", ".a1")
Position = tuple[int, int]
"""(boot, seq)"""


@dataclass
class BoardAccount:
    """One board. Frames by position; readings counted by what became of them."""

    name: str
    produced: set[Position] = field(default_factory=set)
    stored: set[Position] = field(default_factory=set)
    dropped: dict[int, int] = field(default_factory=dict)
    readings_produced: int = 0
    readings_stored: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    """(delivered, rejected, left out ...) of the network's sink."""
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def on_board(self) -> int:
        """Frames that are only on the board."""
        return len(self.produced - self.stored) - sum(self.dropped.values())

    @property
    def closed(self) -> bool:
        """Whether everything that was made has arrived and is settled."""
        return (
            self.produced <= self.stored
            and self.readings_stored == sum(self.settled.values())
            and self.readings_produced == self.readings_stored
        )


@dataclass
class Account:
    """All boards, and what the network itself says that it holds."""

    boards: dict[int, BoardAccount]
    held: int = 0
    doubled: int = 0

    @property
    def delivered(self) -> int:
        """Readings that the collector says were accepted."""
        return sum(board.settled["delivered"] for board in self.boards.values())

    @property
    def adds_up(self) -> bool:
        """produced = stored = delivered + left out for a reason, none twice, none missing."""
        return (
            bool(self.boards)
            and all(board.closed and board.produced for board in self.boards.values())
            and self.held == self.delivered
            and self.doubled == 0
        )


def flash_frames(flash: Path) -> dict[Position, bytes]:
    """All whole frames in the segments of a board's spool, acknowledged or not."""
    found: dict[Position, bytes] = {}
    spool = flash / "spool"
    for path in sorted(spool.iterdir()) if spool.exists() else ():
        if path.suffix in SEGMENTS:
            found.update(_segment(path.read_bytes()))
    return found


def _segment(data: bytes) -> dict[Position, bytes]:
    found = {}
    at = 0
    while at + 2 <= len(data):
        length = unpack_from("<H", data, at)[0]
        raw = data[at + 2 : at + 2 + length]
        if length < wire.HEADER or len(raw) < length:
            break
        _, boot, seq = unpack_from("<III", raw, 4)
        found[boot, seq] = raw
        at += 2 + length
    return found


def count_readings(raw: bytes) -> int:
    """Readings in a frame."""
    try:
        return sum(1 for _ in readings(decode(raw))) if raw[1] & 31 == wire.T_DATA else 0
    except FrameError:
        return 0


def read_archive(archive: Path, sink: str, boards: dict[int, BoardAccount]) -> dict[int, int]:
    """Fill in what the collector holds and has settled; readings by (node, position) for later.

    Returns how many readings are stored for each node.
    """
    connection = sqlite3.connect(f"file:{archive}?mode=ro", uri=True, timeout=5)
    try:
        sizes: dict[int, int] = Counter()
        for node, boot, seq, raw in connection.execute("SELECT node, boot, seq, raw FROM frame"):
            board = boards.get(node)
            if board is None or (boot, seq) in board.stored:
                continue
            board.stored.add((boot, seq))
            sizes[node] += count_readings(raw)
        for node, outcome, reason, count in connection.execute(
            "SELECT node, outcome, reason, sum(readings) FROM delivery_count"
            " WHERE sink = ? AND outcome != 'possible_duplicate' GROUP BY node, outcome, reason",
            (sink,),
        ):
            if node in boards:
                boards[node].settled[outcome] += count
                if outcome != "delivered":
                    boards[node].reasons[f"{outcome}: {reason}" if reason else outcome] += count
    finally:
        connection.close()
    for node, count in sizes.items():
        boards[node].readings_stored = count
    return sizes


def take_account(
    archive: Path, sink: str, flashes: dict[int, tuple[str, Path]], issued: dict[int, set[Position]]
) -> Account:
    """Count now. flashes: node -> (name, flash folder); issued: what boards said they made."""
    boards = {node: BoardAccount(name) for node, (name, _) in flashes.items()}
    on_flash = {node: flash_frames(flash) for node, (_, flash) in flashes.items()}
    if archive.exists():
        read_archive(archive, sink, boards)
    for node, board in boards.items():
        board.produced = set(on_flash[node]) | issued.get(node, set())
        unsent = board.produced - board.stored
        board.readings_produced = board.readings_stored + sum(
            count_readings(on_flash[node][position]) for position in unsent & set(on_flash[node])
        )
    return Account(boards)
