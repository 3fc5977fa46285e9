"""A node that publishes as fast as its socket takes, and what an honest one beside it gets.

The flood is PUBLISH packets of QoS 0 with an authentic frame that is stored already, or with bytes
that no key has signed, from processes of their own. The honest node sends again what is not
acknowledged, for a broker drops what its queue does not hold.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.collector_load import (
    Acks,
    Fleet,
    Socket,
    Watched,
    collector,
    mosquitto,
    publish,
    start,
)

FLOOD_S = 13.0
HONEST_EVERY_S = 0.25
RESEND_S = 2.0
LATE_S = 30.0
PACKETS = 400
QUEUED_BY_BROKER = 1_000
"""As `osn-collector broker-config` sets it."""


def pour(port: int, packet: bytes) -> None:
    """Sends one packet again and again until the process is ended."""
    sender = Socket(port, f"flood-{os.getpid()}")
    packets = [packet] * PACKETS
    with contextlib.suppress(OSError):
        while True:
            sender.send(packets)


@contextlib.contextmanager
def flood(port: int, packet: bytes, publishers: int, folder: Path) -> Iterator[list[Watched]]:
    """Publishers that pour, each a process."""
    code = (
        f"from benchmarks.collector_flood import pour;pour({port}, bytes.fromhex({packet.hex()!r}))"
    )
    running = [
        start([sys.executable, "-c", code], folder / f"flood-{number}.log", Path.cwd())
        for number in range(publishers)
    ]
    try:
        yield running
    finally:
        for watched in running:
            watched.process.send_signal(signal.SIGKILL)
            watched.process.wait()


class Honest:
    """A board that sends a frame now and then, and again until it is acknowledged."""

    def __init__(self, port: int, fleet: Fleet, node: int) -> None:
        self.waits_s: list[float] = []
        self._fleet = fleet
        self._node = node
        self._acks, self._sender = Acks(port), Socket(port, "honest")
        self._first_s: dict[int, float] = {}
        self._last_s: dict[int, float] = {}

    @property
    def sent(self) -> int:
        """Frames that it has made."""
        return len(self._first_s)

    def make(self) -> None:
        """Sends a new frame."""
        seq = len(self._first_s) + 1
        self._first_s[seq] = time.monotonic()
        self._send(seq)

    def _send(self, seq: int) -> None:
        self._last_s[seq] = time.monotonic()
        topic = f"osn/1/{self._node:08x}/u"
        self._sender.send([publish(topic, self._fleet.frame(self._node, seq))])

    def wait(self, wait_s: float) -> None:
        """Listens for ACKs so long, and sends again what has waited."""
        end_s = time.monotonic() + wait_s
        while (left_s := end_s - time.monotonic()) > 0:
            before = self._acks.settled.get(self._node, 0)
            for node, upto, now_s in self._acks.hear(left_s):
                if node == self._node:
                    for seq in range(before + 1, upto + 1):
                        self.waits_s.append(now_s - self._first_s[seq])
                        del self._last_s[seq]
                    before = upto
        for seq, last_s in list(self._last_s.items()):
            if time.monotonic() - last_s > RESEND_S:
                self._send(seq)

    def close(self) -> None:
        """Ends its connections."""
        self._sender.close()
        self._acks.close()


def measure(folder: Path, *, authentic: bool, publishers: int = 2) -> dict[str, float | None]:
    """How long an honest node's frames wait for their ACK during the flood, and how many do."""
    broker, port = mosquitto(folder, QUEUED_BY_BROKER)
    fleet = Fleet(2)
    running = collector(folder, port, fleet)
    honest = Honest(port, fleet, fleet.nodes[0])
    other = fleet.nodes[1]
    frame = fleet.frame(other, 1)
    packet = publish(f"osn/1/{other:08x}/u", frame if authentic else bytes(len(frame)))
    with flood(port, packet, publishers, folder):
        end_s = time.monotonic() + FLOOD_S
        while time.monotonic() < end_s:
            honest.make()
            honest.wait(HONEST_EVERY_S)
        in_time = len(honest.waits_s)
        rss_mb = running.watched.rss_mb()
    end_s = time.monotonic() + LATE_S
    while len(honest.waits_s) < honest.sent and time.monotonic() < end_s:
        honest.wait(0.1)
    honest.close()
    with contextlib.suppress(RuntimeError):
        running.watched.stop()
    broker.stop()
    waits = honest.waits_s
    return {
        "sent": honest.sent,
        "acked_during": in_time,
        "acked_after": len(waits) - in_time,
        "ack_p50_ms": median(waits) * 1000 if waits else None,
        "ack_max_ms": max(waits) * 1000 if waits else None,
        "rss_mb": rss_mb,
    }
