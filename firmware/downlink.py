"""What comes down: checked, counted, and handed to the part of the node that it is for."""

from firmware import health
from firmware.unload import unload
from protocol import downlink as bodies
from protocol import mac as keys
from protocol import wire
from protocol.frame import open_frame, parse_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.node import Node


class Downlink:
    """Opens downlink frames: own node and boot, K_down, seq above the last accepted one.

    CONFIG, COMMAND and UPDATE are rare: their modules are loaded when one comes.
    """

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._mac = keys.Mac(keys.derive(node.identity.key, keys.DOWN))
        self.seq = 0
        self.collector = 0  # of the last ACK
        self.ack_ms = -1  # uptime of the last ACK
        self.refused = 0
        self.trial: "Any" = None  # network settings that wait for an ACK
        self.update: "Any" = None  # an update that is being received
        self.last_command = (-1, 0)  # id, status

    def resume(self, seq: int, collector: int, ack_ms: int) -> None:
        """Go on in the boot before, after a deep sleep."""
        self.seq = seq
        self.collector = collector
        self.ack_ms = ack_ms

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

    def step(self, now: int) -> None:
        """What waits for a time: the trial of network settings, the next chunk of an update."""
        if self.trial is not None:
            self.trial.step(now)
        if self.update is not None:
            self.update.step(now)

    def _act(self, type: int, body: memoryview, now: int) -> None:
        node = self._node
        if type == wire.T_ACK:
            self._ack(bodies.section(body, wire.S_ACK), now)
        elif type == wire.T_TIME:
            node.clock.apply_time(*bodies.time_answer(bodies.section(body, wire.S_TIME)))
        elif type == wire.T_CONFIG:
            from firmware import configure

            configure.take(node, bodies.section(body, wire.S_CONFIG), now)
            unload("firmware.configure", "firmware.setting_rules")
        elif type == wire.T_COMMAND:
            from firmware import commands

            commands.take(node, bodies.section(body, wire.S_COMMAND), now)
            unload("firmware.commands", "firmware.slots", "firmware.slices")
        elif type == wire.T_UPDATE:
            from firmware import update

            update.take(node, bodies.section(body, wire.S_UPDATE), now)
            if self.update is None:
                unload("firmware.update", "firmware.ed25519", "firmware.slots", "firmware.slices")

    def _ack(self, data: memoryview, now: int) -> None:
        self.collector = bodies.ack_collector(data)
        if self.ack_ms < 0:
            health.heard(self._node.hal.nvs)
        self.ack_ms = now
        outbox = self._node.outbox
        for boot, upto, mask in bodies.ack_entries(data):
            outbox.uplink.acknowledge(boot, upto, mask, now)
            outbox.drops.settled(boot, upto)
        if self.trial is not None:
            self.trial.heard(now)
