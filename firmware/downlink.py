"""What comes down: checked, counted, and handed to the part of the node that it is for."""

from protocol import downlink as bodies
from protocol import wire
from protocol.frame import open_frame, parse_header

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
            self._act(type, body, now)
        except wire.FrameError:
            self.refused += 1
            return False
        return True

    def _act(self, type: int, body: memoryview, now: int) -> None:
        if type == wire.T_ACK:
            self._ack(bodies.section(body, wire.S_ACK), now)
        elif type == wire.T_TIME:
            self._node.clock.apply_time(*bodies.time_answer(bodies.section(body, wire.S_TIME)))

    def _ack(self, data: memoryview, now: int) -> None:
        self.collector = bodies.ack_collector(data)
        self.ack_ms = now
        for boot, upto, mask in bodies.ack_entries(data):
            self._node.uplink.acknowledge(boot, upto, mask, now)
            self._node.drops.settled(boot, upto)
