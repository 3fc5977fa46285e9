"""What passes the broker, counted and decoded for the live table."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiomqtt

from collector.transports.mqtt_client import BrokerClient
from protocol import wire
from protocol.decoder import Frame, decode
from protocol.reading import readings
from protocol.registry import REGISTRY
from protocol.wire import FrameError

RECONNECT_S = 0.5
EVENTS_MAX = 8


@dataclass
class Traffic:
    """One board's frames, and the newest value of each channel."""

    frames: int = 0
    size_bytes: int = 0
    resent: int = 0
    lives: int = 0
    settled: dict[int, int] = field(default_factory=dict)
    highest: dict[int, int] = field(default_factory=dict)
    dropped: dict[int, int] = field(default_factory=dict)
    values: dict[tuple[int, int], tuple[float | None, int]] = field(default_factory=dict)
    seen: set[tuple[int, int]] = field(default_factory=set)
    last: bytes = b""

    @property
    def acknowledged(self) -> int:
        """Frames that the collector has acknowledged."""
        return sum(self.settled.values())

    @property
    def issued(self) -> int:
        """Frames that the board has said it made, or that were seen."""
        known = dict(self.highest)
        for boot, seq in self.seen:
            known[boot] = max(known.get(boot, 0), seq)
        return sum(known.values())

    def note_made(self, positions: Iterable[tuple[int, int]]) -> None:
        """Frames that were found on the board."""
        for boot, seq in positions:
            self.highest[boot] = max(self.highest.get(boot, 0), seq)


class Watch:
    """Listens to all topics of a broker for as long as it runs, over its restarts."""

    def __init__(self, port: int) -> None:
        self.boards: dict[int, Traffic] = {}
        self.events: deque[str] = deque(maxlen=EVENTS_MAX)
        self._port = port

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                async with BrokerClient("127.0.0.1", self._port) as client:
                    await client.subscribe("osn/1/#")
                    async for message in client.messages:
                        if not message.retain:
                            self.take(str(message.topic), bytes(message.payload))
            await asyncio.sleep(RECONNECT_S)

    def take(self, topic: str, raw: bytes) -> None:
        """Count one message."""
        parts = topic.split("/")
        if len(parts) != 4 or parts[3] not in ("u", "d"):
            return
        try:
            frame = decode(raw)
        except FrameError:
            return
        board = self.boards.setdefault(frame.node, Traffic())
        if frame.type == wire.T_LIVE:
            board.lives += 1
            self._state(board, frame)
        elif frame.type == wire.T_ACK:
            self._acknowledged(board, frame)
        elif frame.type < wire.T_ACK:
            self._sequenced(board, frame, len(raw))
            board.last = raw

    def _sequenced(self, board: Traffic, frame: Frame, length: int) -> None:
        boot, seq = frame.boot, frame.seq
        board.frames += 1
        board.size_bytes += length
        if (boot, seq) in board.seen:
            board.resent += 1
            return
        board.seen.add((boot, seq))
        if frame.type == wire.T_DATA:
            for reading in readings(frame):
                if reading.band is None:
                    key = reading.quantity, reading.instance
                    board.values[key] = reading.value, reading.quality

    def _state(self, board: Traffic, frame: Frame) -> None:
        state = frame.state
        if state is None:
            return
        for kept in state.boots:
            board.highest[kept.boot] = max(board.highest.get(kept.boot, 0), kept.highest)
        board.dropped = dict(state.dropped)

    def _acknowledged(self, board: Traffic, frame: Frame) -> None:
        for entry in frame.ack.entries if frame.ack else ():
            board.settled[entry.boot] = entry.upto + entry.mask.bit_count()


def name_of(quantity: int, instance: int) -> str:
    """A channel's short name."""
    row = REGISTRY.get(quantity)
    name = row.name if row else f"quantity {quantity}"
    return f"{name}.{instance}" if instance else name
