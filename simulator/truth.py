"""What really happened on the simulated boards, written down beside the firmware.

The oracle compares everything else with this.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from simulator.city import Heard
from simulator.hosted import DEEPSLEEP_RESET, HostedNode

Position = tuple[int, int, int]
"""(node, boot, seq)"""


@dataclass
class Boot:
    """One stretch of uptime: when it began in true time, and what is known of its frames."""

    began_unix_ms: int
    interval_ms: int
    seed: int
    batch_rows: int = 255
    issued: int = 0
    rows: int = 0
    sampling_ms: int = 0
    cut: bool = False
    safe_mode: bool = False
    """Too many starts in a row: the board talks, and measures nothing."""
    framed_rows: int = 0
    """Samples in frames that are judged already."""
    rows_slept: int = 0
    """Of these rows, those that were taken before the last deep sleep."""
    kept_rows: int = 0
    """Rows that wait in RTC memory through the present deep sleep."""
    settled: bool = False
    """Whether nothing waited for an acknowledgement when the board fell asleep."""
    synchronised: bool = False
    """Whether the board knew the time when it was last looked at."""
    heard: Heard | None = None
    """What its drivers said, where values do not enter above them."""
    digests: "array[int]" = field(default_factory=lambda: array("Q"))
    """Of each frame that is judged already, by seq; 0 for the others."""


@dataclass
class Truth:
    """All frames that boards built, all boots, and all losses that are allowed.

    Of a frame that is judged already only a digest is kept, so that a city's week fits in memory.
    """

    frames: dict[Position, bytes] = field(default_factory=dict)
    """Frames not judged yet."""
    boots: dict[tuple[int, int], Boot] = field(default_factory=dict)
    latest: dict[int, Boot] = field(default_factory=dict)
    """The boot of each node that is under power, or was before the present deep sleep."""
    power_cuts: int = 0
    rewritten: list[Position] = field(default_factory=list)

    def watch(self, hosted: HostedNode, boot: Boot) -> None:
        """Note every frame that this node puts into flash or RAM from now on."""
        node = hosted.node
        assert node is not None
        outbox = node.outbox
        address = node.identity.node
        number = node.identity.boot
        assert hosted.hal is not None
        woken = hosted.hal.reset_cause() == DEEPSLEEP_RESET
        if woken and (address, number) in self.boots:  # it goes on in the boot before
            boot = self.boots[address, number]
            boot.kept_rows = 0
        if boot.heard is not None:
            boot.heard.listen(node)
        boot.safe_mode = node.safe_mode
        self.boots[address, number] = self.latest[address] = boot
        append, hold = outbox.spool.append, outbox.uplink.hold

        def noting_append(frame: memoryview | bytes, *rest: Any) -> bool:
            self._note(address, bytes(frame))
            kept: bool = append(frame, *rest)
            return kept

        def noting_hold(frame: bytes, boot: int, seq: int) -> Any:
            self._note(address, bytes(frame))
            return hold(frame, boot, seq)

        outbox.spool.append = noting_append  # type: ignore[method-assign,assignment]
        outbox.uplink.hold = noting_hold  # type: ignore[method-assign]

    def stopped(self, hosted: HostedNode) -> None:
        """Note how long this boot was sampling, when it is told to stop."""
        if hosted.node is not None:
            boot = self.boots[hosted.address, hosted.node.identity.boot]
            boot.sampling_ms = hosted.node.clock.uptime_ms()

    def powered_off(self, hosted: HostedNode, cut: bool = True) -> None:
        """Note up to where frames were durable when power went."""
        if hosted.node is None:
            if cut and hosted.asleep:
                self.latest[hosted.address].cut = True
            return
        boot = self.boots.get((hosted.address, hosted.node.identity.boot))
        if boot is not None:
            boot.issued = max(boot.issued, hosted.node.outbox.issued)
            boot.cut = boot.cut or cut
            boot.synchronised = boot.synchronised or hosted.node.clock.synchronised
            if not boot.sampling_ms or boot.rows_slept:
                boot.sampling_ms = hosted.node.clock.uptime_ms()
            if hosted.node.sampler is not None:
                boot.rows = boot.rows_slept + hosted.node.sampler.rows

    def fell_asleep(self, hosted: HostedNode) -> None:
        """Note how far a board is that goes to deep sleep."""
        node = hosted.node
        assert node is not None
        assert node.sampler is not None
        assert node.sleeper is not None
        outbox = node.outbox
        boot = self.latest[hosted.address]
        boot.issued = max(boot.issued, outbox.issued)
        boot.sampling_ms = node.clock.uptime_ms()
        boot.rows += node.sampler.rows
        boot.rows_slept = boot.rows
        boot.kept_rows = node.sleeper.memory.count
        boot.synchronised = boot.synchronised or node.clock.synchronised
        if outbox._started:
            boot.settled = not any(
                first <= last and not outbox.settled.covers(number, last)
                for number, first, last in outbox.spool.boots
            )

    def condense(self, position: Position, rows: int) -> None:
        """Keep the digest alone of a frame that is judged; it holds so many rows."""
        node, number, seq = position
        boot = self.boots[node, number]
        missing = seq - len(boot.digests)
        if missing > 0:
            boot.digests.extend([0] * missing)
        boot.digests[seq - 1] = _digest(self.frames.pop(position))
        boot.framed_rows += rows

    def is_judged(self, position: Position) -> bool:
        """Whether of this frame only the digest is kept."""
        boot = self.boots.get(position[:2])
        seq = position[2]
        return boot is not None and 0 < seq <= len(boot.digests) and boot.digests[seq - 1] != 0

    def is_built(self, position: Position, raw: bytes) -> bool | None:
        """Whether a board built this frame with these bytes; None if it built no such frame."""
        if position in self.frames:
            return self.frames[position] == raw
        if self.is_judged(position):
            return self.boots[position[:2]].digests[position[2] - 1] == _digest(raw)
        return None

    def positions(self) -> Iterator[Position]:
        """All frames that boards built."""
        for (node, number), boot in self.boots.items():
            for seq, digest in enumerate(boot.digests, 1):
                if digest:
                    yield node, number, seq
        yield from self.frames

    def _note(self, address: int, raw: bytes) -> None:
        boot = int.from_bytes(raw[8:12], "little")
        seq = int.from_bytes(raw[12:16], "little")
        position = (address, boot, seq)
        built = self.is_built(position, raw)
        if built is None:
            self.frames[position] = raw
        elif not built:
            self.rewritten.append(position)


def _digest(raw: bytes) -> int:
    """64 bits of a frame, never 0."""
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "little") or 1
