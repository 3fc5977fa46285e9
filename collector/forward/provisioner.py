"""Prepares the network, and makes it know each channel before its first reading; once in a run.

A channel that the network does not take, or that the sink's own code fails on, waits alone; so does
a node of which nothing is taken.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from operator import attrgetter

from collector.forward.limits import Gate
from collector.forward.sending import Blamed, Sender
from collector.readings.observation import Channel, Observation, PublicNode
from collector.sinks.base import Sink

REFUSALS_IN_A_ROW = 6
SILENT_NODES = 3

_channel_of = attrgetter("channel")


class Provisioner:
    """Remembers what is provisioned, and which channels could not be."""

    def __init__(
        self, sink: Sink, sender: Sender, chance: random.Random, nodes: Sequence[PublicNode]
    ) -> None:
        self._sink = sink
        self._nodes = nodes
        self._prepared = False
        self._sender = sender
        self._chance = chance
        self._provisioned: set[Channel] = set()
        self._waiting: dict[Channel, Gate] = {}

    def forget(self) -> None:
        """Prepares the sink and provisions all channels again."""
        self._prepared = False
        self._provisioned.clear()
        self._waiting.clear()

    def reasons(self) -> dict[str, str]:
        """What waits, with the network's words, for the operator's status: nodes, or channels."""
        taken = {channel.node for channel in self._provisioned} if self._waiting else set()
        return {
            f"{channel.node.name} {channel.key}" if channel.node in taken else channel.node.name: (
                gate.reason
            )
            for channel, gate in self._waiting.items()
        }

    async def prepare(self) -> None:
        """Has the sink connect, once in a run. Raises NetworkWaits."""
        if not self._prepared:
            await self._sender.call(lambda: self._sink.prepare(self._nodes))
            self._prepared = True

    async def provision(self, readings: Sequence[Observation]) -> Mapping[Channel, float]:
        """Provisions channels that are new; returns for how many seconds which channels must wait.

        Raises NetworkWaits when the network takes nothing.
        """
        now_s = asyncio.get_running_loop().time()
        waits_s: dict[Channel, float] = {}
        fresh: list[Channel] = []
        for channel in dict.fromkeys(map(_channel_of, readings)):
            if channel in self._provisioned:
                continue
            gate = self._waiting.get(channel)
            if gate is not None and (wait_s := gate.wait_s(now_s)) > 0:
                waits_s[channel] = wait_s
            else:
                fresh.append(channel)
        if not fresh:
            return waits_s
        try:
            await self._ask(fresh, divisible=len(fresh) > 1 or bool(self._provisioned))
        except Blamed:
            waits_s.update(await self._apart(fresh))
        return waits_s

    async def _apart(self, fresh: Sequence[Channel]) -> dict[Channel, float]:
        """Node by node, then by halves; when nothing was ever taken, it is the network."""
        refused: dict[Channel, str] = {}
        by_node: dict[PublicNode, list[Channel]] = {}
        for channel in fresh:
            by_node.setdefault(channel.node, []).append(channel)
        silent = 0
        for channels in by_node.values():
            found = await self._refused_of(channels, whole=silent >= SILENT_NODES)
            silent = silent + 1 if len(found) == len(channels) else 0
            refused |= found
        if not self._provisioned:
            await self._ask(fresh, divisible=False)
            return {}
        now_s = asyncio.get_running_loop().time()
        return {
            channel: self._waiting.setdefault(channel, Gate(self._chance)).denied(now_s, reason)
            for channel, reason in refused.items()
        }

    async def _refused_of(self, channels: list[Channel], *, whole: bool) -> dict[Channel, str]:
        """Which of a node's channels are refused, with the reason; `whole`: all or none of them."""
        refused: dict[Channel, str] = {}
        pending = [channels]
        row = 0
        while pending:
            part = pending.pop()
            try:
                await self._ask(part, divisible=True)
                row = 0
            except Blamed as blame:
                middle = len(part) // 2
                if middle and not whole and row < REFUSALS_IN_A_ROW:
                    pending += [part[middle:], part[:middle]]
                    continue
                row += 1
                refused |= dict.fromkeys(part, str(blame))
        return refused

    async def _ask(self, channels: Sequence[Channel], *, divisible: bool) -> None:
        await self._sender.call(lambda: self._sink.provision(channels), divisible=divisible)
        self._provisioned.update(channels)
        for channel in channels:
            self._waiting.pop(channel, None)
