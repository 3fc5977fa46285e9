"""What comes down: checked, counted, and handed to the part of the node that it is for."""

from struct import unpack_from

from protocol import wire
from protocol.frame import open_frame, parse_header, sections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node import Node
    from protocol.mac import Mac


class Downlink:
    """Opens downlink frames: own node and boot, K_down, seq above the last accepted one."""

    def __init__(self, node: "Node", mac: "Mac") -> None:
        self._node = node
        self._mac = mac
        self.seq = 0
        self.collector = 0  # of the last ACK
        self.ack_ms = -1  # uptime of the last ACK
        self.refused = 0

    def take(self, frame: memoryview, now: int) -> bool:
        """Act on a frame; False when it is not for us, not authentic, or was heard before."""
        try:
            type, _, _, node, boot, seq = parse_header(frame)
            identity = self._node.identity
            if node != identity.node or boot != identity.boot or seq <= self.seq:
                self.refused += 1
                return False
            body = open_frame(frame, self._mac)
            self.seq = seq
            for tag, data in sections(body):
                self._section(type, tag, data, now)
        except wire.FrameError:
            self.refused += 1
            return False
        return True

    def _section(self, type: int, tag: int, data: memoryview, now: int) -> None:
        if type == wire.T_ACK and tag == wire.S_ACK:
            self._ack(data, now)
        elif type == wire.T_TIME and tag == wire.S_TIME:
            self._time(data)

    def _ack(self, data: memoryview, now: int) -> None:
        self.collector = unpack_from("<I", data, 0)[0]
        self.ack_ms = now
        for at in range(4, len(data) - 11, 12):
            boot, upto, mask = unpack_from("<III", data, at)
            self._node.uplink.acknowledge(boot, upto, mask, now)
            self._node.drops.settled(boot, upto)

    def _time(self, data: memoryview) -> None:
        low, high, counter, got, got_high, sent, sent_high = unpack_from("<IHIIHIH", data, 0)
        uptime_ms = low | high << 32
        received_ms = got | got_high << 32
        sent_ms = sent | sent_high << 32
        self._node.clock.apply_time(uptime_ms, counter, received_ms, sent_ms)
