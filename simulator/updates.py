"""Roll-outs in a scenario: what the boards boot, builds good and bad, and what must come of them.

A build is a bundle whose entry is a few lines of Python. A board runs the firmware of this process
under the version that its folder holds, with what a bad build does added to it. Everything else is
real: boot.py's choice, offers, chunks, flash, trial and the collector's roll-out.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from collector.boards.bundles import Bundle, read_bundle, signed_file
from firmware import boot
from firmware.node import Node
from firmware.settings import Settings
from hardware import bundle as technician
from simulator.fleet_node import PatientNode
from simulator.hosted import DEEPSLEEP_RESET
from simulator.hosted_hal import HostedHal
from simulator.oracle import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.collector_host import CollectorHost
    from simulator.faults.filesystem import MemoryFiles
    from simulator.hosted import HostedNode
    from simulator.virtual_loop import VirtualLoop

OLD, NEW = "1.3.0", "1.4.0"
ENTRY = technician.ENTRY + ".py"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
MARK = "this build is bad"
MARKED_SETTING, MARKED_VALUE = "silent_reboot_h", 77
LOOK_MS = 5_000

FAULTS = {
    "good": "",
    "does_not_boot": f"raise ImportError({MARK!r})\n",
    "never_heard": "def change(node):\n    node.downlink.take = lambda frame, now: False\n",
    "resets": (
        "def change(node):\n"
        "    step = node.step\n"
        "    def stumble():\n"
        "        if node.clock.uptime_ms() >= 40000:\n"
        "            node.hal.reset()\n"
        "        return step()\n"
        "    node.step = stumble\n"
    ),
}
"""What is added to a build's entry, by kind."""


class UpdateError(ValueError):
    """A table of a scenario that cannot be used; the message says why."""


def build(kind: str, size_bytes: int = 8_000, version: str = NEW) -> Bundle:
    """A signed bundle, as `osn-collector update` reads it. Raises UpdateError."""
    if kind not in FAULTS:
        raise UpdateError(f"no build {kind!r}; there are {', '.join(FAULTS)}")
    files = {
        ENTRY: f'VERSION = "{version}"\n{FAULTS[kind]}'.encode(),
        "firmware/weight.py": b"#" * size_bytes,
    }
    content = technician.compose("", version, files)
    made = technician.sign(content, version, KEY)
    return read_bundle(signed_file(made.content, made.signature))


def install(files: "MemoryFiles") -> None:
    """What the technician has put on a board: the old build, the update key, a setting."""
    files.folders |= {"a", "a/firmware"}
    files.content["a/" + ENTRY] = f'VERSION = "{OLD}"\n'.encode()
    files.content["update.pub"] = PUBLIC
    settings = Settings(files)
    settings.set(MARKED_SETTING, MARKED_VALUE)
    settings.save()


class UpdatableNode(PatientNode):
    """A node that steps in time for the pieces of an update too."""

    def step(self) -> int:
        wait_ms = super().step()
        fetch = self.downlink.update
        if fetch is None:
            return wait_ms
        if getattr(self.link.transport, "waiting", 0):
            return 1
        due_ms: int = fetch._due
        return min(wait_ms, max(1, due_ms - self.clock.uptime_ms()))


def start(hal: HostedHal, *arguments: Any, **options: Any) -> Node:
    """Boot: pick the folder, load its entry, make the node that it says. Raises what it raises."""
    slot, _ = boot.pick(hal.nvs, hal.reset_cause() == DEEPSLEEP_RESET)
    with hal.files.open(f"{slot}/{ENTRY}", "rb") as entry:
        said: dict[str, Any] = {}
        exec(entry.read(), said)  # noqa: S102 - what a board does
    node = UpdatableNode(hal, *arguments, **options)
    node.version = said["VERSION"]
    if "change" in said:
        said["change"](node)
    return node


@dataclass
class Outcome:
    """What came of one roll-out."""

    kind: str
    stage: int = 0
    stopped: str = ""
    took_s: int = 0
    sent_bytes: int = 0
    restarts: int = 0
    states: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)


class Updates:
    """Begins the roll-outs of a scenario, watches them, and judges what they led to."""

    def __init__(
        self,
        tables: "Sequence[dict[str, Any]]",
        loop: "VirtualLoop",
        host: "CollectorHost",
        nodes: "list[HostedNode]",
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._tables = tables
        self._loop = loop
        self._host = host
        self._nodes = nodes
        self._restarted = False

    def plan(self) -> None:
        """Schedule them."""
        for table in self._tables:
            made = build(table["kind"], table.get("size_bytes", 8_000))
            self._loop.call_at_ms(int(table.get("at_s", 300) * 1000), self._begin, table, made)

    def _begin(self, table: dict[str, Any], made: Bundle) -> None:
        if self._host.collector is None:  # it is being restarted: a moment later
            self._loop.call_at_ms(self._loop.now_ms + LOOK_MS, self._begin, table, made)
            return
        self._host.collector.rollouts.begin(made, [node.address for node in self._nodes])
        outcome = Outcome(table["kind"])
        self.outcomes.append(outcome)
        self._look(outcome, table, self._loop.now_ms)

    def _look(self, outcome: Outcome, table: dict[str, Any], since_ms: int) -> None:
        """Note how far it is; restart the collector in the middle, once, where that is wanted."""
        if self._host.collector is not None:
            rollout = self._host.collector.rollouts.current
            assert rollout is not None
            states = Counter(target.state for target in rollout.targets.values())
            outcome.states = dict(sorted(states.items()))
            outcome.stage, outcome.stopped = rollout.stage, rollout.stopped
            outcome.sent_bytes += rollout.sent_bytes
            rollout.sent_bytes = 0
            if rollout.over:
                outcome.took_s = (self._loop.now_ms - since_ms) // 1000
                return
            middle = rollout.stage == 2 and states["fetching"]
            if middle and table.get("restart_s") and not outcome.restarts:
                outcome.restarts += 1
                self._host.crash()
                down_ms = int(table["restart_s"] * 1000)
                self._loop.call_at_ms(self._loop.now_ms + down_ms, self._host.start)
        self._loop.call_at_ms(self._loop.now_ms + LOOK_MS, self._look, outcome, table, since_ms)

    def judge(self, verdict: Verdict) -> None:
        """A good build is everywhere, a bad one nowhere, and no setting was lost."""
        versions: Counter[str] = Counter()
        for node in self._nodes:
            version = node.node.version if node.node is not None else "nothing"
            versions[version] += 1
            settings = Settings(node.board.files)
            settings.load()
            if settings[MARKED_SETTING] != MARKED_VALUE:
                verdict.find(f"node {node.address:08x} has lost its settings")
        if len(self.outcomes) < len(self._tables):
            verdict.find("a roll-out did not begin")
        for outcome in self.outcomes:
            outcome.runs = dict(sorted(versions.items()))
            if not outcome.took_s:
                verdict.find(f"the roll-out of a build that is {outcome.kind} has not ended")
            elif outcome.kind == "good":
                self._judge_good(outcome, verdict)
            else:
                self._judge_bad(outcome, verdict)

    def _judge_good(self, outcome: Outcome, verdict: Verdict) -> None:
        if outcome.stopped or outcome.states != {"good": len(self._nodes)}:
            verdict.find(f"a good build was stopped: {outcome.stopped or outcome.states}")
        if outcome.runs != {NEW: len(self._nodes)}:
            verdict.find(f"after a good build boards run {outcome.runs}")

    def _judge_bad(self, outcome: Outcome, verdict: Verdict) -> None:
        untouched = len(self._nodes) - 1
        if outcome.stage != 0 or outcome.states != {"failed": 1, "waiting": untouched}:
            verdict.find(f"a bad build came to stage {outcome.stage}: {outcome.states}")
        if f"tried it and went back to {OLD}" not in outcome.stopped:
            verdict.find(f"a bad build was stopped with the words {outcome.stopped!r}")
        if NEW in outcome.runs:
            verdict.find(f"after a bad build boards run {outcome.runs}")
