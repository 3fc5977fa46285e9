"""What an operator may ask of the running collector, by name; see `control`."""

from collections.abc import Mapping
from typing import Any

from collector import delivery, quarantine, status
from collector.app import Collector
from collector.control import Handler
from collector.leaving import erase_frames
from collector.nodes import NodeError, node_text, parse_node
from collector.status_books import book_counts
from collector.transports.base import Source


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
        }

    async def status(self, request: Mapping[str, Any]) -> Any:
        """The whole status."""
        counts = await self._collector.storage.writer.read(book_counts)
        return status.of_collector(self._collector, counts)

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
                await self._collector.storage.writer.write(
                    lambda connection: delivery.replay(connection, name, first, last), urgent=True
                )
                forwarder.reopen(first, last)
                return {"frames": last - first + 1}
        raise LookupError(f"no sink {name!r} runs here")

    async def reload(self, request: Mapping[str, Any]) -> Any:
        """Reads nodes and keys again at once."""
        await self._collector.reload()
        return {}


def _node(request: Mapping[str, Any]) -> int:
    return parse_node(str(request.get("node")))
