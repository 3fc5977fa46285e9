"""The node's end of its link: LIVE first, then DATA by the uplink's choice, and what comes down."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node import Node
    from firmware.types import Transport

SENDS_A_STEP = 4
POLL_MS = 100
AWAITED_MS = 3_000  # after something was sent an answer is awaited


class Link:
    """Serves one transport at a time; open() takes the one of the present settings."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.transport: "Transport | None" = None
        self.connected = False
        self.live_due = 0
        self.live_ms = 60_000
        self._poll_ms = self._idle_ms = POLL_MS
        self._sent_ms = 0

    def open(self, now: int) -> None:
        """Close the transport, if there is one, and start that of the settings."""
        if self.transport is not None:
            self.transport.close()
        self.connected = False
        self.transport = self._node.hal.link(self._node.settings)
        # A transport whose arrivals wake the node (in a simulation) need not be asked so often.
        self._poll_ms = getattr(self.transport, "POLL_MS", POLL_MS)
        self._idle_ms = getattr(self.transport, "IDLE_MS", self._poll_ms)
        self.transport.start(now)

    def close(self) -> None:
        """Leave the network, as before a deep sleep."""
        if self.transport is not None:
            self.transport.close()
        self.connected = False

    @property
    def secure(self) -> bool:
        """Whether nobody but the collector's side can read along (TLS or a cable)."""
        return bool(getattr(self.transport, "secure", False))

    def step(self, now: int) -> int:
        """Carry frames both ways; ms until the link wants to be served again."""
        transport = self.transport
        if transport is None:
            return POLL_MS
        transport.poll(now)
        if transport.connected != self.connected:
            self.connected = transport.connected
            if self.connected:
                self._node.outbox.uplink.connected(now)
                self.live_due = now
        if not self.connected:
            untimely = getattr(transport, "untimely", None)
            side = untimely() if untimely else 0
            if side:
                self._node.system_time.refused(side < 0)
            return self._poll_ms
        self._receive(transport, now)
        outbox = self._node.outbox
        if now >= self.live_due or outbox.drops.fresh:
            self._send_live(transport, now)
        for _ in range(SENDS_A_STEP):
            frame = outbox.uplink.next(now)
            if frame is None:
                quiet = now - self._sent_ms > AWAITED_MS
                wait = self._idle_ms if quiet else self._poll_ms
                return max(1, min(wait, self.live_due - now, outbox.uplink.wait_ms(now)))
            if not transport.send(frame):
                return POLL_MS // 5
            outbox.uplink.mark_sent(now)
            self._sent_ms = now
        return 0

    def _receive(self, transport: "Transport", now: int) -> None:
        heard = False
        for _ in range(SENDS_A_STEP):
            frame = transport.receive()
            if frame is None:
                break
            heard = self._node.downlink.take(frame, now) or heard
        if heard:
            self._node.outbox.uplink.settle()

    def _send_live(self, transport: "Transport", now: int) -> None:
        node = self._node
        self.live_due = now + self.live_ms
        node.outbox.drops.fresh = False
        uptime = node.clock.uptime_ms()
        self._sent_ms = now
        if transport.send(node.live.build(node, uptime)):
            node.clock.sent_beacon(node.live.counter, uptime)
