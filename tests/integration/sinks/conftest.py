"""Real networks: each test starts its own server on free ports, and needs it to be installed."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from collector.archive import archive
from collector.archive.inline_writer import InlineWriter
from collector.forward.forwarder import Forwarder
from collector.forward.selection import policy_of
from collector.readings.observation import Channel
from collector.sinks.base import DeliverySettings, Sink
from simulator.upstream import _servers
from simulator.upstream.street import START_MS, Street, frozen_times, renderer_for, street_nodes

FRAMES = 60
READINGS_A_FRAME = 96
READINGS = FRAMES * READINGS_A_FRAME
NODES = street_nodes(3)

Require = Callable[[], AbstractContextManager[None]]
Forward = Callable[..., int]


class Late:
    """A clock on which all readings are past."""

    def unix_ms(self) -> int:
        return START_MS + FRAMES * 720_000

    def monotonic_ms(self) -> int:
        return 0

    def synchronised(self) -> bool:
        return True


@pytest.fixture(scope="session")
def required() -> Require:
    """Skips with the reason what is not installed, unless OSN_REQUIRE_INTEGRATION=1."""

    @contextmanager
    def guard() -> Iterator[None]:
        try:
            yield
        except _servers.NotInstalled as reason:
            if os.environ.get("OSN_REQUIRE_INTEGRATION") == "1":
                raise
            pytest.skip(str(reason))

    return guard


@pytest.fixture
def forward(tmp_path: Path) -> Forward:
    """Forwards a street through a sink, from an archive of its own; gives how many readings."""

    async def run(sink: Sink, folder: Path, frames: int) -> None:
        path = folder / "archive.db"
        connection = archive.open_archive(path, durable=False)
        Street(NODES).fill(connection, frames)
        connection.close()
        writer = InlineWriter(lambda: archive.open_archive(path, durable=False))
        policy = policy_of(DeliverySettings(fresh_s=1e9), sink.capabilities)
        forwarder = Forwarder(
            sink,
            writer,
            renderer_for(sink, NODES, policy),
            frozen_times(),
            Late(),
            policy,
            nodes=NODES,
        )
        running = asyncio.create_task(forwarder.run())
        async with asyncio.timeout(120):
            await forwarder.idle()
            while forwarder.status().open_frames:
                assert not running.done(), running.exception()
                await asyncio.sleep(0.1)
            await forwarder.idle()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await writer.close()

    def forward_street(sink: Sink, name: str, frames: int = FRAMES) -> int:
        folder = tmp_path / name
        folder.mkdir()
        asyncio.run(run(sink, folder, frames))
        return frames * READINGS_A_FRAME

    return forward_street


@pytest.fixture
def renamed() -> Callable[[Sink], Sink]:
    """Makes a sink see nodes under other names, as after `nodes set --name`."""

    def rename(sink: Sink) -> Sink:
        send, provision = sink.send, sink.provision
        names: dict[Channel, Channel] = {}

        def other(channel: Channel) -> Channel:
            node = replace(channel.node, name=f"once {channel.node.name}", board="other")
            return names.setdefault(channel, replace(channel, node=node))

        async def sent(batch):
            return await send([o._replace(channel=other(o.channel)) for o in batch])

        async def provisioned(channels):
            await provision([other(channel) for channel in channels])

        sink.send, sink.provision = sent, provisioned
        return sink

    return rename


@pytest.fixture
def readings() -> int:
    """How many readings the street has."""
    return READINGS
