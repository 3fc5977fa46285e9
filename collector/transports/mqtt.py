"""Frames over one MQTT broker: QoS 0 both ways, clean session, retained messages ignored.

Topics are `PREFIX/1/NODE/u` up and `PREFIX/1/NODE/d` down, NODE as eight hex digits; the last will
on `/w` is for display only and is not subscribed. Delivery is proved by ACK frames, so nothing here
is kept across a reconnect.
"""

import asyncio
import logging
from collections import OrderedDict
from functools import partial
from typing import Any

import aiomqtt

from collector.backoff import delays_s
from collector.settings import MqttSettings
from collector.transports.base import FRAME_BYTES_MAX, Deliver, LinkState, Source
from collector.transports.mqtt_client import BrokerClient, broker_options, probe

log = logging.getLogger(__name__)

SETTLED_S = 30.0
"""A connection that held this long was a good one: the next wait starts short again."""
REACHED_NODES_MAX = 20_000
TRY_S = 5.0
UNREACHED = (aiomqtt.MqttError, OSError, ValueError)
"""What a broker that cannot be used raises; errors of TLS and time-outs are an OSError too."""


class MqttTransport:
    """One broker; runs until cancelled and reconnects with growing waits."""

    def __init__(self, settings: MqttSettings) -> None:
        self.name = settings.name
        self.state = LinkState()
        self._settings = settings
        self._prefix = f"{settings.topic}/1/"
        self._outbox: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(settings.queue_down)
        self._reached: OrderedDict[int, None] = OrderedDict()
        self._nodes: dict[bytes, int] = {}

    async def run(self, deliver: Deliver) -> None:
        """Connects, receives and sends for ever; see Transport."""
        waits = delays_s(self._settings.reconnect_s, self._settings.reconnect_longest_s)
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            try:
                await self._session(deliver)
            except UNREACHED as error:
                self._lost(error)
            if loop.time() - started_s >= SETTLED_S:
                waits = delays_s(self._settings.reconnect_s, self._settings.reconnect_longest_s)
            await asyncio.sleep(next(waits))

    def send(self, node: int, raw: bytes) -> bool:
        """Queues a downlink for a node that was heard here; see Transport."""
        if not self.state.connected or node not in self._reached:
            return False
        try:
            self._outbox.put_nowait((node, raw))
        except asyncio.QueueFull:
            self.state.counters.dropped_down += 1
            return False
        return True

    async def _session(self, deliver: Deliver) -> None:
        counters = self.state.counters
        before = _cancellations()
        try:
            async with self._client(deliver) as client:
                _obey_cancellation(before)
                await client.listen(_uplinks(self._settings))
                _obey_cancellation(before)
                self.state.connected = True
                self.state.reason = ""
                counters.connects += 1
                log.info(
                    "mqtt %s: connected to %s:%d",
                    self.name,
                    self._settings.host,
                    self._settings.port_used,
                )
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._publish(client))
                        group.create_task(self._until_lost(client))
                except* (aiomqtt.MqttError, OSError) as errors:
                    raise errors.exceptions[0] from None
                finally:
                    self.state.connected = False
                    counters.disconnects += 1
                    before = _cancellations()
        finally:
            _obey_cancellation(before)

    def _client(self, deliver: Deliver) -> BrokerClient:
        return BrokerClient(**_options(self._settings), message=partial(self.receive, deliver))

    async def _publish(self, client: aiomqtt.Client) -> None:
        counters = self.state.counters
        before = _cancellations()
        while True:
            node, raw = await self._outbox.get()
            await client.publish(f"{self._prefix}{node:08x}/d", raw, qos=0, retain=False)
            counters.sent += 1
            counters.sent_bytes += len(raw)
            _obey_cancellation(before)

    @staticmethod
    async def _until_lost(client: aiomqtt.Client) -> None:
        async for _ in client.messages:
            pass  # `receive` has got all of them already

    def receive(self, deliver: Deliver, topic: bytes, payload: bytes, retained: bool) -> None:
        """Passes one message on, or counts why not."""
        counters = self.state.counters
        node = self._nodes.get(topic)
        if node is None:
            node = self._node_of(topic)
        if node is None:
            counters.foreign += 1
            return
        if retained:
            counters.retained += 1
            return
        if len(payload) > FRAME_BYTES_MAX:
            counters.oversize += 1
            return
        counters.received += 1
        counters.received_bytes += len(payload)
        self._remember(node)
        deliver(payload, Source(self.name, node))

    def _node_of(self, topic: bytes) -> int | None:
        """The node whose topic it is; None for another's."""
        prefix = self._prefix.encode()
        digits = topic[len(prefix) : -2]
        if len(digits) != 8 or topic != prefix + digits + b"/u":
            return None
        try:
            node = int(digits, 16)
        except ValueError:
            return None
        if b"%08x" % node != digits:
            return None
        if len(self._nodes) >= REACHED_NODES_MAX:
            self._nodes.clear()
        self._nodes[topic] = node
        return node

    def _remember(self, node: int) -> None:
        """Downlinks for a node go where it was heard; the list is bounded by use."""
        if node in self._reached:
            self._reached.move_to_end(node)
            return
        self._reached[node] = None
        if len(self._reached) > REACHED_NODES_MAX:
            self._reached.popitem(last=False)

    def _lost(self, error: BaseException) -> None:
        reason = str(error) or type(error).__name__
        if reason != self.state.reason:
            log.warning(
                "mqtt %s: %s:%d: %s; trying again",
                self.name,
                self._settings.host,
                self._settings.port_used,
                reason,
            )
        self.state.reason = reason
        while not self._outbox.empty():
            self._outbox.get_nowait()


def _cancellations() -> int:
    """How often this task was cancelled; of Python 3.11 a group of tasks that failed counts too."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _obey_cancellation(before: int) -> None:
    """Ends a task that was cancelled inside aiomqtt since it had `before` cancellations.

    aiomqtt waits with `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that
    comes in the same turn as the answer, be that a result or an error.
    """
    if _cancellations() > before:
        raise asyncio.CancelledError


async def reach(settings: MqttSettings) -> None:
    """Enters a broker, listens and leaves; raises one of UNREACHED when it does not let us."""
    await probe()
    async with BrokerClient(**_options(settings), timeout=TRY_S) as client:
        await client.listen(_uplinks(settings))


def _uplinks(settings: MqttSettings) -> str:
    """Topic filter of what boards send."""
    return f"{settings.topic}/1/+/u"


def _options(settings: MqttSettings) -> dict[str, Any]:
    """What BrokerClient takes for a transport."""
    return {
        **broker_options(settings),
        "clean_session": True,
        "keepalive": settings.keepalive_s,
        "logger": logging.getLogger(f"{__name__}.client"),
    }
