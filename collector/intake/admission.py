"""Who is let in: frames of known nodes whose tag holds; what is not goes to quarantine."""

from typing import Protocol

from collector.archive.quarantine import UNKNOWN_NODE, Quarantine
from collector.intake.decision import Decision, Kind
from collector.transports.base import Source
from protocol import wire
from protocol.decoder import decode
from protocol.envelope import Head, TagChecker, head_of
from protocol.wire import FrameError


class KeyRing(Protocol):
    """Where keys come from."""

    def up(self, node: int, boot: int, seq: int) -> list[bytes]:
        """Keys that may have signed this frame; empty for an unknown or revoked node."""

    def down(self, node: int) -> bytes | None:
        """The key for frames to the node."""

    def accepted(
        self,
        node: int,
        boot: int,
        seq: int,
        key_up: bytes,
        named: tuple[int, int] | None = None,
    ) -> None:
        """Says under which key a frame held; named: where a HELLO says that the former ended."""

    def settled(self, node: int, oldest_kept: tuple[int, int] | None) -> None:
        """Says what the oldest (boot, seq) is that the board still keeps."""


class Admission:
    """Opens envelopes and checks them."""

    def __init__(self, keys: KeyRing, quarantine: Quarantine) -> None:
        self._keys = keys
        self._quarantine = quarantine
        self._checker = TagChecker()

    def admit(self, raw: bytes, source: Source) -> Head | Decision:
        """The header of an authentic frame that a board may send; else why it is not let in."""
        if source.retained:
            return Decision(Kind.IGNORED, "retained")
        try:
            head = head_of(raw)
        except FrameError as error:
            return self._quarantined(raw, source.node, error.reason, source)
        if source.node is not None and source.node != head.node:
            return Decision(Kind.IGNORED, "topic")
        keys = self._keys.up(head.node, head.boot, head.seq)
        if not keys:
            return self._quarantined(raw, head.node, UNKNOWN_NODE, source)
        if not head.authenticated:
            return self._quarantined(raw, head.node, "downgrade", source)
        for key in keys:
            if self._checker.holds(raw, head.end, key):
                break
        else:
            return self._quarantined(raw, head.node, "tag", source)
        if len(keys) > 1 or head.type == wire.T_HELLO:
            self._keys.accepted(head.node, head.boot, head.seq, key, _named_switch(raw, head))
        if head.type == wire.T_LIVE:
            return head
        if not 0 < head.type < wire.T_ACK:
            return Decision(Kind.REFUSED, "type")
        if head.seq == 0:
            return Decision(Kind.REFUSED, "seq")
        return head

    def _quarantined(self, raw: bytes, node: int | None, reason: str, source: Source) -> Decision:
        self._quarantine.offer(raw, node, reason, source.transport)
        return Decision(Kind.REFUSED, reason)


def _named_switch(raw: bytes, head: Head) -> tuple[int, int] | None:
    """The last (boot, seq) under a former key, if this is a HELLO that names one."""
    if head.type != wire.T_HELLO:
        return None
    try:
        info = decode(raw).info
    except FrameError:
        return None
    return None if info is None else info.key_switch
