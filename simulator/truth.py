"""What really happened on the simulated boards, written down beside the firmware.

The oracle compares everything else with this.
"""

from dataclasses import dataclass, field
from typing import Any

from simulator.hosted import HostedNode

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


@dataclass
class Truth:
    """All frames that boards built, all boots, and all losses that are allowed."""

    frames: dict[Position, bytes] = field(default_factory=dict)
    boots: dict[tuple[int, int], Boot] = field(default_factory=dict)
    power_cuts: int = 0
    rewritten: list[Position] = field(default_factory=list)

    def watch(self, hosted: HostedNode, boot: Boot) -> None:
        """Note every frame that this node puts into flash or RAM from now on."""
        node = hosted.node
        assert node is not None
        outbox = node.outbox
        address = node.identity.node
        number = node.identity.boot
        boot.safe_mode = node.safe_mode
        self.boots[address, number] = boot
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
            return
        boot = self.boots.get((hosted.address, hosted.node.identity.boot))
        if boot is not None:
            boot.issued = max(boot.issued, hosted.node.outbox.issued)
            boot.cut = boot.cut or cut
            if not boot.sampling_ms:
                boot.sampling_ms = hosted.node.clock.uptime_ms()
            if hosted.node.sampler is not None:
                boot.rows = hosted.node.sampler.rows

    def _note(self, address: int, raw: bytes) -> None:
        boot = int.from_bytes(raw[8:12], "little")
        seq = int.from_bytes(raw[12:16], "little")
        before = self.frames.setdefault((address, boot, seq), raw)
        if before != raw:
            self.rewritten.append((address, boot, seq))
