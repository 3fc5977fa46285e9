"""Prepares the network, and makes it know each channel before its first reading; once in a run.

A node that the network does not take, or that the sink's own code fails on, waits alone.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from operator import attrgetter

from collector.forward.limits import Gate
from collector.forward.sending import Blamed, Sender
from collector.readings.observation import Channel, Observation, PublicNode
from collector.sinks.base import Sink

_channel_of = attrgetter("channel")


class Provisioner:
    """Remembers what is provisioned, and which nodes could not be."""

    def __init__(
        self, sink: Sink, sender: Sender, chance: random.Random, nodes: Sequence[PublicNode]
    ) -> None:
        self._sink = sink
        self._nodes = nodes
        self._prepared = False
        self._sender = sender
        self._chance = chance
        self._provisioned: set[Channel] = set()
        self._waiting: dict[PublicNode, Gate] = {}

    def forget(self) -> None:
        """Prepares the sink and provisions all channels again."""
        self._prepared = False
        self._provisioned.clear()
        self._waiting.clear()

    def reasons(self) -> dict[str, str]:
        """Nodes that wait, with the network's words; for the operator's status."""
        return {node.name: gate.reason for node, gate in self._waiting.items()}

    async def prepare(self) -> None:
        """Has the sink connect, once in a run. Raises NetworkWaits."""
        if not self._prepared:
            await self._sender.call(lambda: self._sink.prepare(self._nodes))
            self._prepared = True

    async def provision(self, readings: Sequence[Observation]) -> Mapping[PublicNode, float]:
        """Provisions channels that are new; returns for how many seconds which nodes have to wait.

        Raises NetworkWaits when the network takes nothing.
        """
        by_node: dict[PublicNode, list[Channel]] = {}
        for channel in dict.fromkeys(map(_channel_of, readings)):
            if channel not in self._provisioned:
                by_node.setdefault(channel.node, []).append(channel)
        if not by_node:
            return {}
        now_s = asyncio.get_running_loop().time()
        waits_s: dict[PublicNode, float] = {}
        for node in list(by_node):
            gate = self._waiting.get(node)
            if gate is not None and (wait_s := gate.wait_s(now_s)) > 0:
                waits_s[node] = wait_s
                del by_node[node]
        fresh = [channel for channels in by_node.values() for channel in channels]
        if not fresh:
            return waits_s
        try:
            await self._ask(fresh, divisible=len(by_node) > 1 or bool(self._provisioned))
        except Blamed:
            waits_s.update(await self._apart(by_node))
        return waits_s

    async def _apart(self, by_node: Mapping[PublicNode, list[Channel]]) -> dict[PublicNode, float]:
        """Node by node; when it can be none of them, it is the network."""
        waits_s: dict[PublicNode, float] = {}
        for node, channels in by_node.items():
            only = len(waits_s) == len(by_node) - 1 and not self._provisioned
            try:
                await self._ask(channels, divisible=not only)
                self._waiting.pop(node, None)
            except Blamed as blame:
                gate = self._waiting.setdefault(node, Gate(self._chance))
                now_s = asyncio.get_running_loop().time()
                waits_s[node] = gate.denied(now_s, str(blame))
        return waits_s

    async def _ask(self, channels: Sequence[Channel], *, divisible: bool) -> None:
        await self._sender.call(lambda: self._sink.provision(channels), divisible=divisible)
        self._provisioned.update(channels)
        for node in {channel.node for channel in channels}:
            self._waiting.pop(node, None)
