"""Flash that refuses: a kind of call for a while, all that takes room, or the next few calls."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from simulator.faults.filesystem import CHANGES, Call, MemoryFiles
from simulator.faults.plan import PlanError
from simulator.hosted import HostedNode
from simulator.virtual_loop import VirtualLoop

KINDS = (*(call.value for call in Call), "changes", "full", "next")
NEXT_MAX = 12
COUNT_MAX = 4


class FlashRefusals:
    """Lets the flash of some of these nodes refuse now and then."""

    def __init__(self, loop: VirtualLoop, random: Random, nodes: Sequence[HostedNode]) -> None:
        self._loop = loop
        self._random = random
        self._nodes = nodes

    def plan(self, tables: Sequence[Mapping[str, Any]], end_ms: int) -> None:
        """Schedule all refusals of a scenario. Raises PlanError."""
        for table in tables:
            kind = table.get("kind")
            if kind not in KINDS:
                raise PlanError(f"no flash fault {kind!r}; there are: {', '.join(KINDS)}")
            for _ in range(int(table.get("times", 1))):
                node = self._random.choice(self._nodes)
                at_ms = self._random.randrange(120_000, max(120_001, end_ms))
                self._loop.call_at_ms(at_ms, self._refuse, node, kind)
                if "seconds" in table:
                    lift_ms = at_ms + int(table["seconds"] * 1000)
                    self._loop.call_at_ms(lift_ms, self._lift, node)

    def mend(self) -> None:
        """Nothing refuses any more."""
        for node in self._nodes:
            self._lift(node)

    def _refuse(self, node: HostedNode, kind: str) -> None:
        files: MemoryFiles = node.board.files
        faults = files.faults
        if kind == "full":
            faults.full = True
        elif kind == "next":
            faults.refuse_at = files.calls + self._random.randint(1, NEXT_MAX)
            faults.refuse_count = self._random.randint(1, COUNT_MAX)
        else:
            faults.refused |= CHANGES if kind == "changes" else {Call(kind)}

    @staticmethod
    def _lift(node: HostedNode) -> None:
        faults = node.board.files.faults
        faults.full = False
        faults.refused = frozenset()
        faults.refuse_at = None
