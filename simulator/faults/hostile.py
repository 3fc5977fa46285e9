"""A hostile sender on the broker: forged frames, replayed LIVE, strangers, plain rubbish."""

from collections import deque
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from protocol import wire
from simulator.faults.network import UP, corrupted
from simulator.network import Network

HEARD_MAX = 200


class Hostile:
    """Sees all traffic, and puts frames of its own on the topics; it has no key."""

    def __init__(
        self, network: Network, random: Random, members: Sequence[tuple[int, bytes]]
    ) -> None:
        self.sent = 0
        self._network = network
        self._random = random
        self._members = members
        self._heard: deque[tuple[int, bytes]] = deque(maxlen=HEARD_MAX)
        network.taps.append(self._hear)

    def plan(self, tables: Sequence[Mapping[str, Any]], end_ms: int) -> None:
        """Schedule all attacks of a scenario: `times` frames each, spread over the run."""
        for table in tables:
            for _ in range(int(table.get("times", 10))):
                at_ms = self._random.randrange(60_000, max(60_001, end_ms))
                self._network.loop.call_at_ms(at_ms, self._attack, table["kind"])

    def _hear(self, direction: str, node: int, raw: bytes) -> None:
        if direction == UP:
            self._heard.append((node, raw))

    def _attack(self, kind: str) -> None:
        self.sent += 1
        node, _ = self._random.choice(self._members)
        if kind == "garbage":
            self._network.inject(node, self._random.randbytes(self._random.randint(0, 200)))
            return
        if not self._heard:
            return
        node, raw = self._random.choice(self._heard)
        if kind == "forged":
            self._network.inject(node, self._forged(raw))
        elif kind == "corrupted":
            self._network.inject(node, corrupted(raw, self._random))
        elif kind == "replayed":
            self._network.inject(node, raw)
        elif kind == "retained":
            self._network.inject(node, raw, retained=True)
        elif kind == "wrong_topic":
            self._network.inject(self._random.getrandbits(32), raw)
        elif kind == "stranger":
            stranger = self._random.getrandbits(32).to_bytes(4, "little")
            address = int.from_bytes(stranger, "little")
            self._network.inject(address, raw[:4] + stranger + raw[8:])

    def _forged(self, raw: bytes) -> bytes:
        """The same frame with another number, and a tag that is a guess."""
        frame = bytearray(raw)
        frame[12:16] = self._random.getrandbits(32).to_bytes(4, "little")
        frame[-wire.TAG_BYTES :] = self._random.randbytes(wire.TAG_BYTES)
        return bytes(frame)
