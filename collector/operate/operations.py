"""What an operator may ask of the running collector, by name; see `control`."""

import asyncio
import base64
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from collector.app import Collector
from collector.archive import quarantine
from collector.archive.writer import WriteFailed
from collector.boards.bundles import read_bundle
from collector.boards.orders import Order, OrderError
from collector.nodes import NodeError, node_text, parse_node
from collector.operate import status
from collector.operate.control import Handler
from collector.operate.leaving import erase_frames
from collector.operate.status_books import book_counts
from collector.transports.base import Source

WAIT_MAX_S = 50.0


class Operations:
    """Handlers of control requests."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def handlers(self) -> dict[str, Handler]:
        """All of them by name."""
        return {
            "status": self.status,
            "erase": self.erase,
            "resubmit": self.resubmit,
            "resolve": self.resolve,
            "replay": self.replay,
            "reload": self.reload,
            "command": self.command,
            "configure": self.configure,
            "rollout": self.rollout,
        }

    async def status(self, request: Mapping[str, Any]) -> Any:
        """The whole status."""
        counts = await self._collector.storage.writer.read(book_counts)
        return status.of_collector(self._collector, counts, await self._refused())

    async def _refused(self) -> list[quarantine.Claimed]:
        try:
            return await self._collector.storage.quarantine_writer.read(quarantine.claimed)
        except (WriteFailed, sqlite3.Error):
            return []  # it holds no readings, and a status without it is better than none

    async def erase(self, request: Mapping[str, Any]) -> Any:
        """Removes a node's frames, overwriting them; its ranges stay as erased.

        Returns the numbers of frames removed and on the ledger as erased.
        """
        node = _node(request)
        collector = self._collector
        await collector.reload()
        if node in collector.keys:
            raise NodeError(f"node {node_text(node)} still has its key")
        await collector.intake.flush()
        removed, erased = await erase_frames(collector.storage, node)
        collector.intake.latest.pop(node, None)
        return {"removed": removed, "erased": erased}

    async def resubmit(self, request: Mapping[str, Any]) -> Any:
        """Gives a node's quarantined frames to intake again; returns how many."""
        node = _node(request)
        await self._collector.reload()
        held = await self._collector.storage.quarantine_writer.write(
            lambda connection: quarantine.release(connection, node), urgent=True
        )
        for frame in held:
            self._collector.deliver(frame.raw, Source(frame.source))
        return {"frames": len(held)}

    async def resolve(self, request: Mapping[str, Any]) -> Any:
        """Lets acknowledgements pass a node's conflicts again; returns how many there were."""
        owner = self._collector.storage.ledger.nodes.get(_node(request))
        resolved = 0
        for boot in list(owner.boots.values()) if owner else []:
            if boot.conflicts:
                resolved += len(boot.conflicts)
                boot.resolve_conflicts()
        await self._collector.storage.snapshot()
        return {"conflicts": resolved}

    async def replay(self, request: Mapping[str, Any]) -> Any:
        """Makes a sink send frames of an id range again."""
        name, first, last = str(request["sink"]), int(request["first"]), int(request["last"])
        for forwarder in self._collector.forwarders:
            if forwarder.sink.name == name:
                await forwarder.replay(first, last)
                return {"frames": last - first + 1}
        raise LookupError(f"no sink {name!r} runs here")

    async def reload(self, request: Mapping[str, Any]) -> Any:
        """Reads nodes and keys again at once."""
        await self._collector.reload()
        return {}

    async def command(self, request: Mapping[str, Any]) -> Any:
        """Orders a command and waits a while for the board's answer."""
        order = self._collector.orders.command(
            _node(request), str(request["name"]), [int(n) for n in request.get("numbers", ())]
        )
        return await _answer(order, float(request.get("wait_s", 0)))

    async def configure(self, request: Mapping[str, Any]) -> Any:
        """Orders settings and waits a while for the board's answer."""
        entries = [(int(key), value) for key, value in request["entries"]]
        if not all(isinstance(value, int | str) for _, value in entries):
            raise OrderError("a setting is a number or a text")
        order = self._collector.orders.configure(_node(request), entries)
        return await _answer(order, float(request.get("wait_s", 0)))

    async def rollout(self, request: Mapping[str, Any]) -> Any:
        """Begins, stops or goes on with a roll-out; returns its state and who runs what."""
        rollouts = self._collector.rollouts
        action = request.get("action")
        if action == "begin":
            bundle = read_bundle(base64.b64decode(str(request["file"])))
            rollouts.begin(bundle, [parse_node(str(text)) for text in request["nodes"]])
        elif action == "stop":
            rollouts.stop()
        elif action == "go-on":
            rollouts.go_on()
        rollouts.check()
        versions = await self._collector.storage.writer.read(status.firmware_versions)
        versions |= rollouts.versions
        return {
            "rollout": rollouts.status(),
            "versions": {node_text(node): version for node, version in versions.items()},
        }


async def _answer(order: Order, wait_s: float) -> dict[str, Any]:
    with suppress(TimeoutError):
        async with asyncio.timeout(min(wait_s, WAIT_MAX_S)):
            await order.answered.wait()
    return {"state": order.state, "answer": order.answer, "id": order.id}


def _node(request: Mapping[str, Any]) -> int:
    return parse_node(str(request.get("node")))
