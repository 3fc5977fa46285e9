"""The collector's core on a bench: a clock under the test's hand, keys, boards that make frames."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from collector.archive.inline_writer import InlineWriter
from collector.boards.downlink import Downlink
from collector.intake.decision import Decision
from collector.intake.intake import Intake, IntakeLimits
from collector.keys import KeyRing
from collector.ledger.ledger import Alarm
from collector.storage.storage import Storage, open_storage
from collector.transports.base import Source
from protocol import compose
from protocol.decoder import Frame, decode
from protocol.registry import by_name
from protocol.samples import Channel
from protocol.sections import Ack, TimeAnswer

NODE = 0xA1B2C3D4
BOOT = 1_764_000_000
START_MS = 1_796_000_000_000
CHANNELS = (Channel(by_name("pm2_5").id), Channel(by_name("temperature").id))


class BenchClock:
    """Wall and monotonic time that the test moves."""

    def __init__(self, unix_ms: int = START_MS, synchronised: bool = True) -> None:
        self.now_ms = 1_000_000
        self.offset_ms = unix_ms - self.now_ms
        self.right = synchronised

    def unix_ms(self) -> int:
        return self.now_ms + self.offset_ms

    def monotonic_ms(self) -> int:
        return self.now_ms

    def synchronised(self) -> bool:
        return self.right

    def pass_ms(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    def step_ms(self, milliseconds: int) -> None:
        self.offset_ms += milliseconds


class Board:
    """Makes the frames of one node; remembers none of them."""

    def __init__(self, node: int = NODE, boot: int = BOOT, secret: bytes | None = None) -> None:
        self.node = node
        self.boot = boot
        self.secret = secret or node.to_bytes(4, "little") * 8
        self.lives = 0
        self.keys = KeyRing(secrets={node: self.secret})
        self.up = self.keys.up(node, boot, 1)[0]

    def data(
        self,
        seq: int,
        rows: Sequence[Sequence[int | None]] = ((120, 2150), (121, 2151)),
        t0_ms: int | None = None,
        period_ms: int = 30_000,
        boot: int | None = None,
        extra: Sequence[tuple[int, bytes]] = (),
    ) -> bytes:
        first_ms = seq * 60_000 if t0_ms is None else t0_ms
        return compose.compose_data(
            self.up, self.node, boot or self.boot, seq, CHANNELS, rows, first_ms, period_ms, extra
        )

    def live(
        self,
        uptime_ms: int,
        boots: Sequence[tuple[int, int, int]] = (),
        dropped: Sequence[tuple[int, int]] = (),
        collector: int = 0,
        downlink_seq: int = 0,
        counter: int | None = None,
        unlisted: int = 0,
    ) -> bytes:
        self.lives += 1
        return compose.compose_live(
            self.up,
            self.node,
            self.boot,
            self.lives if counter is None else counter,
            uptime_ms,
            boots,
            dropped,
            downlink_seq,
            collector=collector,
            unlisted=unlisted,
        )


class Bench:
    """Storage and intake around a clock; `down` holds what went to boards, decoded."""

    def __init__(
        self,
        folder: Path,
        boards: Sequence[Board] = (),
        clock: BenchClock | None = None,
        limits: IntakeLimits | None = None,
        durable: bool = False,
        open_: Callable[..., Storage] = open_storage,
    ) -> None:
        self.folder = folder
        self.clock = clock or BenchClock()
        self.keys = KeyRing(secrets={board.node: board.secret for board in boards})
        self.down: list[Frame] = []
        self.raw_down: list[Downlink] = []
        self.alarms: list[Alarm] = []
        self.commits: list[int] = []
        self.source = Source("mqtt")
        self.storage = open_(
            folder / "archive.db",
            folder / "quarantine.db",
            self.clock,
            threaded=False,
            durable=durable,
        )
        self.intake = Intake(
            self.keys,
            self.storage,
            self.clock,
            send=self._send,
            limits=limits,
            on_commit=self.commits.append,
            on_alarm=self.alarms.append,
        )

    def _send(self, downlink: Downlink) -> None:
        self.raw_down.append(downlink)
        self.down.append(decode(downlink.raw))

    def receive(self, *frames: bytes, source: Source | None = None) -> list[Decision]:
        return [self.intake.receive(raw, source or self.source) for raw in frames]

    def words(self, *frames: bytes) -> list[str]:
        """Decisions as words: the reason where there is one, else the kind."""
        return [d.reason or d.kind.value for d in self.receive(*frames)]

    async def take(self, *frames: bytes) -> list[str]:
        """Receives and commits."""
        words = self.words(*frames)
        await self.intake.flush()
        return words

    def acks(self) -> list[Ack]:
        return [frame.ack for frame in self.down if frame.ack is not None]

    def times(self) -> list[TimeAnswer]:
        return [frame.time for frame in self.down if frame.time is not None]

    def acked(self, boot: int = BOOT) -> tuple[int, int]:
        """(upto, mask) of the newest ACK for a boot."""
        for ack in reversed(self.acks()):
            for entry in ack.entries:
                if entry.boot == boot:
                    return entry.upto, entry.mask
        return (0, 0)

    @property
    def inline(self) -> InlineWriter:
        writer = self.storage.writer
        assert isinstance(writer, InlineWriter)
        return writer

    def stored(self) -> list[tuple[int, int, int]]:
        """(node, boot, seq) of every row, in order."""
        rows = self.inline.connection.execute("SELECT node, boot, seq FROM frame ORDER BY id")
        return [tuple(row) for row in rows]

    async def again(self, boards: Sequence[Board], *, clean: bool = True) -> "Bench":
        """Starts anew on the same files; `clean` False is a crash: no last snapshot."""
        if clean:
            await self.storage.close()
        else:
            await self.storage.writer.close()
            await self.storage.quarantine_writer.close()
        return Bench(self.folder, boards, self.clock)


class InATurn:
    """Stands for a function; `most` is how often it was called while the event loop waited."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.most = self.calls = 0
        self._function = function
        self._running = 0

    def __call__(self, *arguments: Any) -> Any:
        if not self._running:
            asyncio.get_running_loop().call_soon(self._turn)
        self._running += 1
        self.calls += 1
        self.most = max(self.most, self._running)
        return self._function(*arguments)

    def _turn(self) -> None:
        self._running = 0
