"""The network between simulated nodes and a collector, in virtual time, frame by frame.

It stands where MQTT stands: at most once, no order promised, nothing kept while nobody listens.
Faults are rules of `simulator/faults/network.py`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from collector.transports.base import Deliver, LinkState, Source
from simulator.faults.network import DOWN, UP, NetworkFault, Passing
from simulator.virtual_loop import VirtualLoop

INBOX_MAX = 64
CONNECT_MS = 200
RETRY_MS = 5_000
KEEPALIVE_MS = 90_000

Tap = Callable[[str, int, bytes], None]
"""Sees every frame that somebody sends: direction, node, bytes."""


@dataclass(slots=True)
class NetworkCounters:
    """What passed the network; all monotonic."""

    up: int = 0
    down: int = 0
    arrived_up: int = 0
    arrived_down: int = 0
    lost: int = 0


class Network:
    """Carries frames between links of nodes and the transports of one or more collectors.

    patient promises that there will be no faults: a connection that stands stands for ever.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        faults: Sequence[NetworkFault] = (),
        latency_ms: int = 0,
        patient: bool = False,
    ) -> None:
        self.loop = loop
        self.faults = list(faults)
        self.latency_ms = latency_ms
        self.patient = patient
        self.counters = NetworkCounters()
        self.taps: list[Tap] = []
        self._random = random
        self._links: dict[int, Link] = {}
        self._receivers: list[SimulatedTransport] = []

    def link(self, node: int) -> "Link":
        """A new connection of a node; it takes the place of an older one."""
        link = Link(self, node)
        self._links[node] = link
        return link

    def attach(self, receiver: "SimulatedTransport") -> None:
        """A collector begins to listen."""
        self._receivers.append(receiver)

    def detach(self, receiver: "SimulatedTransport") -> None:
        """A collector listens no more."""
        if receiver in self._receivers:
            self._receivers.remove(receiver)

    def reachable(self, node: int) -> bool:
        """Whether the node can have a connection now."""
        now_ms = self.loop.now_ms
        return all(fault.reachable(node, now_ms) for fault in self.faults)

    def deaf(self, node: int) -> bool:
        """Whether the node's connection is a dead one that looks alive."""
        now_ms = self.loop.now_ms
        return any(fault.deaf(node, now_ms) for fault in self.faults)

    def connect_ms(self, node: int) -> int:
        """How long a connection takes now."""
        now_ms = self.loop.now_ms
        return CONNECT_MS + sum(fault.connect_ms(node, now_ms) for fault in self.faults)

    def send_up(self, node: int, raw: bytes) -> None:
        """A node sends a frame."""
        self.counters.up += 1
        self._send(UP, node, raw, self._arrive_up)

    def send_down(self, node: int, raw: bytes) -> None:
        """A collector sends a frame."""
        self.counters.down += 1
        self._send(DOWN, node, raw, self._arrive_down)

    def inject(self, node: int, raw: bytes, retained: bool = False) -> None:
        """A frame from nobody knows where arrives at the collectors at once."""
        for receiver in list(self._receivers):
            receiver.arrive(node, raw, retained)

    def _send(
        self, direction: str, node: int, raw: bytes, arrive: Callable[[int, bytes], None]
    ) -> None:
        for tap in self.taps:
            tap(direction, node, raw)
        if self.deaf(node):
            self.counters.lost += 1
            return
        on_the_way: list[Passing] = [(self.latency_ms, raw)]
        now_ms = self.loop.now_ms
        for fault in self.faults:
            on_the_way = [
                result
                for passing in on_the_way
                for result in fault.carry(direction, node, passing, now_ms, self._random)
            ]
        if not on_the_way:
            self.counters.lost += 1
        for delay_ms, carried in on_the_way:
            if delay_ms:
                self.loop.call_at_ms(now_ms + delay_ms, arrive, node, carried)
            else:
                self.loop.call_soon(arrive, node, carried)

    def _arrive_up(self, node: int, raw: bytes) -> None:
        self.counters.arrived_up += 1
        for receiver in list(self._receivers):
            receiver.arrive(node, raw, False)

    def _arrive_down(self, node: int, raw: bytes) -> None:
        link = self._links.get(node)
        if link is not None and link.arrive(raw):
            self.counters.arrived_down += 1
        else:
            self.counters.lost += 1


class Link:
    """A node's connection, as the firmware's uplink sees one (see firmware/types.pyi).

    A refused connection is tried again every five seconds; a dead one is noticed after the
    keepalive, as the MQTT transport does it.
    """

    POLL_MS = 1_000  # arrivals wake the node by themselves
    secure = True

    def __init__(self, network: Network, node: int) -> None:
        self.connected = False
        self.reason = "not started"
        self.on_frame: Callable[[], None] | None = None
        self.patient = network.patient
        self._network = network
        self._node = node
        self._inbox: deque[bytes] = deque(maxlen=INBOX_MAX)
        self._next_try_ms: int | None = None
        self._connected_at_ms: int | None = None
        self._deaf_since_ms: int | None = None

    def start(self, now_ms: int) -> None:
        """Begin to connect."""
        self._next_try_ms = self._network.loop.now_ms

    def poll(self, now_ms: int) -> None:
        """Notice what has become of the connection."""
        here_ms = self._network.loop.now_ms
        if self._next_try_ms is None:
            return
        if not self._network.reachable(self._node):
            self._lose("network unreachable", here_ms)
        elif self.connected:
            self._notice_silence(here_ms)
        elif self._connected_at_ms is not None:
            if here_ms >= self._connected_at_ms:
                self.connected = True
                self.reason = ""
                self._connected_at_ms = None
        elif here_ms >= self._next_try_ms:
            self._connected_at_ms = here_ms + self._network.connect_ms(self._node)

    def send(self, frame: "memoryview | bytes | bytearray") -> bool:
        """Send one frame; False when there is no connection."""
        if not self.connected:
            return False
        self._network.send_up(self._node, bytes(frame))
        return True

    def receive(self) -> memoryview | None:
        """The oldest frame that has arrived, or None."""
        return memoryview(self._inbox.popleft()) if self._inbox else None

    @property
    def waiting(self) -> int:
        """How many frames have arrived and were not taken yet."""
        return len(self._inbox)

    def close(self) -> None:
        """End the connection."""
        self.connected = False
        self._next_try_ms = None
        self._inbox.clear()

    def arrive(self, raw: bytes) -> bool:
        """The network hands over a downlink frame."""
        if not self.connected:
            return False
        self._inbox.append(raw)
        if self.on_frame is not None:
            self.on_frame()
        return True

    def _lose(self, reason: str, now_ms: int) -> None:
        self.connected = False
        self.reason = reason
        self._connected_at_ms = None
        self._deaf_since_ms = None
        self._next_try_ms = now_ms + RETRY_MS
        self._inbox.clear()

    def _notice_silence(self, now_ms: int) -> None:
        if not self._network.deaf(self._node):
            self._deaf_since_ms = None
        elif self._deaf_since_ms is None:
            self._deaf_since_ms = now_ms
        elif now_ms - self._deaf_since_ms >= KEEPALIVE_MS:
            self._lose("no answer to ping", now_ms)


class SimulatedTransport:
    """The collector's end of the network; a collectors.transports.base.Transport."""

    def __init__(self, network: Network, name: str = "simulated") -> None:
        self.name = name
        self.state = LinkState()
        self._network = network
        self._deliver: Deliver | None = None

    async def run(self, deliver: Deliver) -> None:
        """Listens until it is cancelled."""
        self._deliver = deliver
        self._network.attach(self)
        self.state.connected = True
        self.state.reason = ""
        self.state.counters.connects += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._network.detach(self)
            self.state.connected = False
            self.state.reason = "ended"

    def vanish(self) -> None:
        """The collector's process is gone, at once."""
        self._network.detach(self)
        self._deliver = None
        self.state.connected = False

    def send(self, node: int, raw: bytes) -> bool:
        """Sends a downlink frame."""
        if not self.state.connected:
            return False
        self.state.counters.sent += 1
        self.state.counters.sent_bytes += len(raw)
        self._network.send_down(node, raw)
        return True

    def arrive(self, node: int, raw: bytes, retained: bool) -> None:
        """A frame comes in from the network."""
        if self._deliver is None:
            return
        self.state.counters.received += 1
        self.state.counters.received_bytes += len(raw)
        self._deliver(raw, Source(self.name, node, retained))
