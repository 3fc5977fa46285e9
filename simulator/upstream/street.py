"""A made-up street in an archive: what sinks are tested and measured with."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from collector.archive import archive
from collector.archive.archive import StoredFrame
from collector.forward.selection import Policy, policy_of
from collector.readings.observation import Place, PublicNode
from collector.readings.rendering import DecodedFrames, Renderer, Undecodable
from collector.sinks.base import Sink, SinkConfig
from collector.timeline.frozen_time import FrozenTimes
from protocol import wire
from protocol.columns import Samples
from protocol.compose import compose_data
from protocol.decoder import decode
from protocol.registry import by_name
from protocol.samples import Channel
from protocol.wire import FrameError

START_MS = 1_770_000_000_000
BOOT = 1_764_000_000
FIRST_NODE = 0xA1B2C300
QUANTITIES = ("pm10", "pm2_5", "pm1", "temperature", "humidity", "pressure", "laeq", "lafmax")


class Stamp(NamedTuple):
    """A time without error."""

    unix_ms: int
    error_ms: int = 0
    source: str = "time"


class FixedTimeline:
    """Uptime 0 of every boot is START_MS, but for boots named undated."""

    def __init__(self, undated: Sequence[int] = ()) -> None:
        self.undated = set(undated)

    def time_of(self, node: int, boot: int, uptime_ms: int) -> Stamp | None:
        return None if boot in self.undated else Stamp(START_MS + uptime_ms)


class OpenAudience:
    """Every node is published at its place."""

    def __init__(self, nodes: Sequence[PublicNode]) -> None:
        self._nodes = {node.link: node for node in nodes}

    def node(self, link: int) -> PublicNode | None:
        return self._nodes.get(link)

    def place(self, link: int, place: Place) -> Place | None:
        return place


def decode_samples(raw: bytes) -> Sequence[Samples]:
    """SAMPLES sections of a trusted frame."""
    try:
        return decode(raw).samples
    except FrameError as error:
        raise Undecodable(str(error)) from None


def street_nodes(count: int, mobile: Sequence[int] = ()) -> list[PublicNode]:
    """Nodes along a street, the same for the same count."""
    return [
        PublicNode(
            FIRST_NODE + number,
            UUID(int=(FIRST_NODE + number) << 64 | 0x4000_8000_0000_0000_0000),
            f"street {number}",
            "street",
            None if number in mobile else Place(41.38 + number / 1000, 2.17, 12.0),
            number in mobile,
        )
        for number in range(count)
    ]


@dataclass(slots=True)
class Street:
    """Makes frames of nodes whose values wander as a street's do."""

    nodes: list[PublicNode]
    rows: int = 12
    period_ms: int = 60_000
    quantities: Sequence[str] = QUANTITIES
    seed: int = 1
    seq: int = 0

    def frames(self, count: int, received_ms: int | None = None) -> list[StoredFrame]:
        """`count` more frames, node after node; each has `rows` times `quantities` readings."""
        return [self._frame(received_ms) for _ in range(count)]

    def fill(self, connection: sqlite3.Connection, count: int) -> None:
        """Appends frames to an archive in its own transactions."""
        for start in range(0, count, 1000):
            connection.execute("BEGIN")
            archive.append_many(connection, self.frames(min(1000, count - start)))
            connection.execute("COMMIT")

    def _frame(self, received_ms: int | None) -> StoredFrame:
        node = self.nodes[self.seq % len(self.nodes)]
        round_, self.seq = self.seq // len(self.nodes), self.seq + 1
        chance = random.Random(f"{self.seed}/{node.link}/{round_}")
        t0_ms = round_ * self.rows * self.period_ms
        channels = [Channel(by_name(name).id) for name in self.quantities]
        values = [_start(name) for name in self.quantities]
        rows = []
        for _ in range(self.rows):
            values = [max(1, value + chance.randint(-3, 3)) for value in values]
            rows.append(list(values))
        raw = compose_data(None, node.link, BOOT, round_ + 1, channels, rows, t0_ms, self.period_ms)
        last_ms = t0_ms + (self.rows - 1) * self.period_ms
        stamp_ms = START_MS + last_ms + 1000 if received_ms is None else received_ms
        return StoredFrame(
            0, node.link, BOOT, round_ + 1, wire.T_DATA, 0, stamp_ms, t0_ms, last_ms, raw
        )


def _start(name: str) -> int:
    row = by_name(name)
    middle = {"pressure": 101_325.0, "temperature": 21.0, "humidity": 55.0, "laeq": 55.0}
    return round(middle.get(name, 20.0) * row.divisor / 10.0**row.exponent)


def renderer_for(sink: Sink, nodes: Sequence[PublicNode], policy: Policy | None = None) -> Renderer:
    """What the collector builds for a sink, without privacy or corrections."""
    policy = policy or policy_of(SinkConfig().delivery, sink.capabilities)
    return Renderer(
        DecodedFrames(decode_samples), OpenAudience(nodes), sink.upstream_name, policy.qualities
    )


def frozen_times(timeline: FixedTimeline | None = None) -> FrozenTimes:
    """Frozen times over the fixed timeline."""
    return FrozenTimes(timeline or FixedTimeline())
