"""What every transport offers: frames come out of `run`, downlinks go into `send`.

A transport moves whole frames and knows nothing of keys, ledgers or acknowledgements. It
reconnects by itself for as long as it runs, and it never waits for the rest of the collector:
what does not fit a queue is dropped and counted, because the board sends it again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

FRAME_BYTES_MAX = 4096
"""Longest frame that a transport passes on; longer ones are counted as oversize."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a frame came from: the transport's name, and the node that the link itself names."""

    transport: str
    node: int | None = None
    retained: bool = False


Deliver = Callable[[bytes, Source], None]


@dataclass(slots=True)
class TransportCounters:
    """What passed a transport since it started; all monotonic."""

    received: int = 0
    received_bytes: int = 0
    sent: int = 0
    sent_bytes: int = 0
    dropped_down: int = 0
    oversize: int = 0
    retained: int = 0
    foreign: int = 0
    connects: int = 0
    disconnects: int = 0


@dataclass(slots=True)
class LinkState:
    """Whether the link is up, and the last reason why it was not."""

    connected: bool = False
    reason: str = "not started"
    counters: TransportCounters = field(default_factory=TransportCounters)


class Transport(Protocol):
    """A way for frames: an MQTT broker, a serial port, a simulated network."""

    @property
    def name(self) -> str:
        """Name of this transport in the configuration, in logs and in `Source.transport`."""

    @property
    def state(self) -> LinkState:
        """Connection state and counters, read by status and metrics."""

    async def run(self, deliver: Deliver) -> None:
        """Receives until it is cancelled; connection faults are logged and retried in here."""

    def send(self, node: int, raw: bytes) -> bool:
        """Queues one downlink frame; False when the node is not reached here or the queue is full.

        Never blocks.
        """
