"""The collector's words to a node under test, and the node's answers decoded."""

from collections.abc import Iterable

from firmware.node import Node
from protocol import compose, wire
from protocol.decoder import Frame, decode
from tests.firmware.boards import DOWN, NODE, Link, run


class Collector:
    """Composes downlink with rising seq, and reads what came up."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.seq = 0

    @property
    def link(self) -> Link:
        """The node's link in memory."""
        link = self.node.hal.transport  # type: ignore[attr-defined]
        assert isinstance(link, Link)
        return link

    def next_seq(self) -> int:
        """A downlink seq above all before."""
        self.seq += 1
        return self.seq

    def say(self, frame: bytes) -> None:
        """Put a frame on the way down, and let the node hear it."""
        self.link.down.append(frame)
        run(self.node, 1_100)

    def ack(self, upto: int | None = None, mask: int = 0, boot: int | None = None) -> None:
        """Acknowledge; everything that was issued unless told otherwise."""
        boot = self.node.identity.boot if boot is None else boot
        upto = self.node.outbox.issued if upto is None else upto
        seq = self.next_seq()
        here = self.node.identity.boot
        self.say(compose.compose_ack(DOWN, NODE, here, seq, 7, [(boot, upto, mask)]))

    def command(self, id: int, code: int, *numbers: int) -> None:
        """Ask for something."""
        arguments = compose.arguments(*numbers)
        here = self.node.identity.boot
        self.say(compose.compose_command(DOWN, NODE, here, self.next_seq(), id, code, arguments))

    def config(self, id: int, entries: Iterable[tuple[int, int | str | bytes]]) -> None:
        """Set settings."""
        here = self.node.identity.boot
        self.say(compose.compose_config(DOWN, NODE, here, self.next_seq(), id, entries))

    def heard(self, kind: int) -> list[Frame]:
        """All frames of a type that came up, decoded."""
        frames = [frame for frame in self.link.up if frame[1] & 31 == kind]
        for frame in frames:
            assert decode(frame).node == NODE
        return [decode(frame) for frame in frames]

    def outcomes(self) -> list[tuple[int, int, int, int]]:
        """(type, id, code, status) of each RESULT, each seq once."""
        found = {}
        for frame in self.heard(wire.T_RESULT):
            outcome = frame.outcome
            assert outcome is not None
            found[frame.boot, frame.seq] = (
                outcome.type,
                outcome.id,
                outcome.code,
                outcome.status,
            )
        return list(found.values())
