"""Power cuts: between two steps of a board, or in the middle of an operation on its flash."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from simulator.faults.filesystem import Outcome, PowerCut
from simulator.hosted import HostedNode
from simulator.truth import Truth
from simulator.virtual_loop import VirtualLoop


class PowerCuts:
    """Cuts the power of some of these nodes, and gives it again after a while."""

    def __init__(
        self, loop: VirtualLoop, random: Random, nodes: Sequence[HostedNode], truth: Truth
    ) -> None:
        self.truth = truth
        self._loop = loop
        self._random = random
        self._nodes = nodes

    def plan(self, tables: Sequence[Mapping[str, Any]], end_ms: int) -> None:
        """Schedule all cuts of a scenario."""
        for table in tables:
            for _ in range(int(table.get("times", 1))):
                node = self._random.choice(self._nodes)
                at_ms = self._random.randrange(120_000, max(120_001, end_ms))
                action: Callable[[HostedNode], None] = self.cut
                if table["kind"] == "operation":
                    action = self._cut_at_operation
                self._loop.call_at_ms(at_ms, action, node)

    def cut(self, node: HostedNode) -> None:
        """The power fails now."""
        if node.powered or node.asleep:
            node.power_off()
            self.follow(node)

    def follow(self, node: HostedNode) -> None:
        """What a cut leaves of the flash; power comes again later."""
        self.truth.power_cuts += 1
        node.board.nvs.on_commit = None
        node.board.files = node.board.files.survivors()
        wait_ms = self._random.randint(1_000, 120_000)
        self._loop.call_at_ms(self._loop.now_ms + wait_ms, node.power_on)

    def mend(self) -> None:
        """No cut that is planned happens any more."""
        for node in self._nodes:
            node.board.files.faults.cut_at = None
            node.board.nvs.on_commit = None

    def _cut_at_operation(self, node: HostedNode) -> None:
        """The power fails in the middle of one of the next operations on flash."""
        if node.powered or node.asleep:
            files = node.board.files
            files.faults.cut_at = files.operations + self._random.randint(1, 6)
            files.faults.outcome = self._random.choice(list(Outcome))
            if self._random.random() < 0.3:
                node.board.nvs.on_commit = _fail


def _fail() -> None:
    raise PowerCut
