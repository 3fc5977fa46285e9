"""A load generator: many boards over real MQTT against any broker and collector."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from firmware.node import Node
from firmware.settings import Settings
from simulator import provision
from simulator.buses import Bare
from simulator.faults.filesystem import MemoryFiles
from simulator.fleet_node import Feed, PatientNode
from simulator.hosted import HostedNode
from simulator.hosted_board import HostedBoard
from simulator.hosted_hal import HostedHal
from simulator.mqtt_link import MqttLink
from simulator.timers import RealTime

REPORT_EVERY_S = 5.0
SPREAD_S = 5.0
NODES_MAX = 20_000
FEED_CHANNEL_COUNT = 8


@dataclass(frozen=True)
class FleetOptions:
    """nodes boards, each sampling every interval_s and sending a frame every report_s."""

    nodes: int
    interval_s: int = 10
    report_s: int = 60
    seconds: float = 60.0
    drain_s: float = 30.0
    host: str = "127.0.0.1"
    port: int = 1883
    seed: int = 1


@dataclass
class FleetCount:
    """What the fleet has done so far."""

    nodes: int = 0
    connected: int = 0
    readings: int = 0
    frames_made: int = 0
    frames_sent: int = 0
    frames_resent: int = 0
    frames_acknowledged: int = 0
    seconds: float = 0.0

    @property
    def open_frames(self) -> int:
        """Frames that no collector has acknowledged yet."""
        return self.frames_made - self.frames_acknowledged

    def line(self) -> str:
        """For people."""
        return (
            f"{self.seconds:6.1f} s  {self.connected}/{self.nodes} connected  "
            f"{self.readings} readings in {self.frames_made} frames  "
            f"{self.frames_acknowledged} acknowledged  {self.frames_resent} resent"
        )


@dataclass(frozen=True)
class Member:
    """Who one board of a fleet is: the same for the same seed."""

    number: int
    address: int
    uuid: str
    key: bytes

    @classmethod
    def of(cls, seed: int, number: int) -> "Member":
        secret = sha256(f"fleet {seed} {number}".encode()).digest()
        address = int.from_bytes(secret[:4], "big") or 1
        return cls(
            number,
            address,
            str(UUID(bytes=secret[8:24], version=4)),
            sha256(b"key" + secret).digest(),
        )


def members(options: FleetOptions) -> list[Member]:
    """All boards; addresses are unique."""
    found: dict[int, Member] = {}
    number = 0
    while len(found) < options.nodes:
        member = Member.of(options.seed, number)
        found.setdefault(member.address, member)
        number += 1
    return list(found.values())


def records(options: FleetOptions, boot: int) -> Iterator[str]:
    """JSON lines for `osn-collector nodes import`."""
    for member in members(options):
        yield json.dumps(
            {
                "node": f"{member.address:08x}",
                "uuid": member.uuid,
                "key": member.key.hex(),
                "name": f"fleet {member.number}",
                "board": "fleet",
                "boot": boot,
                "site": {
                    "latitude": round(52 + member.number % 100 / 1000, 3),
                    "longitude": round(5 + member.number // 100 / 1000, 3),
                },
            }
        )


class Fleet:
    """Boards under CPython in real time, over one connection each."""

    def __init__(self, options: FleetOptions, boot: int | None = None) -> None:
        if not 1 <= options.nodes <= NODES_MAX:
            raise ValueError(f"nodes must be from 1 to {NODES_MAX}")
        self.options = options
        self.boot = int(time.time()) if boot is None else boot
        self.boards: list[HostedNode] = []
        self.links: dict[int, MqttLink] = {}
        self._time = RealTime()
        self._quiet = False
        for member in members(options):
            self.boards.append(self._board(member))

    def link(self, node: int) -> MqttLink:
        """A connection of a board; see simulator.hosted.Links."""
        link = self.links[node] = MqttLink(self.options.host, self.options.port, node)
        return link

    def next_ms(self, after_uptime_ms: int) -> int:
        """Sampling instants, none once the fleet is told to be quiet."""
        interval_ms = self.options.interval_s * 1000
        return 1 << 46 if self._quiet else (after_uptime_ms // interval_ms + 1) * interval_ms

    def count(self) -> FleetCount:
        """Counters over all boards."""
        total = FleetCount(nodes=len(self.boards), seconds=self._time.now_ms / 1000)
        for link in self.links.values():
            total.connected += link.connected
        for board in self.boards:
            if board.node is None:
                continue
            outbox = board.node.outbox
            if board.node.sampler is not None:
                total.readings += board.node.sampler.rows * FEED_CHANNEL_COUNT
            total.frames_made += outbox.seq
            total.frames_sent += outbox.uplink.sent
            total.frames_resent += outbox.uplink.resent
            total.frames_acknowledged += outbox.settled.upto(board.node.identity.boot)
        return total

    async def run(self, tell: Callable[[str], None]) -> FleetCount:
        """Power all boards over a few seconds, measure, then wait for the last acknowledgement."""
        options = self.options
        spread_s = min(SPREAD_S, options.seconds / 4)
        for number, board in enumerate(self.boards):
            asyncio.get_running_loop().call_later(
                spread_s * number / len(self.boards), board.power_on
            )
        await self._pass(options.seconds, tell, lambda: False)
        self.quiet()
        await self._pass(options.drain_s + options.report_s, tell, self._all_acknowledged)
        total = self.count()
        self.close()
        return total

    def quiet(self) -> None:
        """Measure no more; report and send what there is."""
        self._quiet = True
        for board in self.boards:
            if board.node is not None and board.node.sampler is not None:
                board.node.sampler._instant = 1 << 46
                board.node._report_due = 0
            board.wake()

    def close(self) -> None:
        """Cut everybody's power."""
        for board in self.boards:
            board.power_off()
        for link in self.links.values():
            link.close()

    def _all_acknowledged(self) -> bool:
        idle = all(
            b.node is None or b.node.sampler is None or not b.node.sampler.batch.rows
            for b in self.boards
        )
        return idle and self.count().open_frames == 0

    async def _pass(
        self, seconds: float, tell: Callable[[str], None], done: Callable[[], bool]
    ) -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + seconds
        told_s = loop.time()
        while loop.time() < end_s and not done():
            await asyncio.sleep(min(1.0, max(0.01, end_s - loop.time())))
            if loop.time() - told_s >= REPORT_EVERY_S:
                told_s = loop.time()
                tell(self.count().line())

    def _board(self, member: Member) -> HostedNode:
        options = self.options
        board = {"board": "fleet", "chip": "esp32", "sensors": []}
        who = provision.identity_of(member.address, member.uuid, member.key, self.boot)

        def make(hal: HostedHal) -> Node:
            settings = Settings()
            settings.set("sample_interval_s", options.interval_s)
            settings.set("report_interval_s", options.report_s)
            settings.set("batch_rows", min(255, max(1, options.report_s // options.interval_s)))
            settings.set("spool_sync_s", min(60, options.report_s))
            settings.set("live_interval_s", min(60, max(10, options.report_s)))
            feed = Feed(member.number, options.interval_s * 1000)
            return PatientNode(hal, board, settings, self, sensors=[(feed, 0)])

        hosted = HostedBoard(board, MemoryFiles(), provision.into_memory(who), member.key[:6])
        return HostedNode(self._time, self, member.address, hosted, Bare, make, member.number)
