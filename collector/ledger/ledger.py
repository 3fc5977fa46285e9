"""The ledger: for every frame that a board issued, where it is.

It lives in memory and is written as a snapshot every ten minutes; at start the frames stored since
are replayed into it. So the hot path writes nothing but frames.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from collector.archive.identity import Identity
from collector.clock import HOUR_MS
from collector.ledger.ledger_boot import Account, BootLedger
from protocol.sections import State
from protocol.wire import DROP_CORRUPT, DROP_UNWRITABLE, TAG_BYTES

BOOTS_IN_MEMORY = 16
NEW_BOOTS_PER_HOUR = 64
DOWN_STEP = 1_024
"""Downlink numbers that a start may use for a boot beyond what its row in the archive says."""

_UNSIGNED_32_MAX = 0xFFFFFFFF

CONFLICT = "conflict"
LOST_HERE = "lost_here"
LOST_ELSEWHERE = "lost_elsewhere"
LEDGER_HEALED = "ledger_healed"
"""Kinds of alarm."""

FindBoot = Callable[[int, int], BootLedger | None]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person has to look at."""

    kind: str
    node: int
    boot: int
    frames: int
    text: str
    ranges: tuple[tuple[int, int], ...] = ()
    """Numbers of the frames concerned, for LOST alarms."""

    def __str__(self) -> str:
        """The alarm in one line of the log."""
        about = f"node {self.node:08x} boot {self.boot}, {self.frames} frames"
        return f"alarm {self.kind}: {about}: {self.text}"


@dataclass(slots=True)
class NodeLedger:
    """What is known of a node beyond its boots."""

    node: int
    boot: int = 0
    collector: int = 0
    seen_ms: int = 0
    baseline: dict[int, int] | None = None
    """Drop counters at first contact; None before the first LIVE."""
    drops: dict[int, int] = field(default_factory=dict)
    carried: int = 0
    """Drops that nothing explains yet: of frames between those that the board still keeps, or of
    boots that it could not list."""
    boots: "OrderedDict[int, BootLedger]" = field(default_factory=OrderedDict)
    hour: int = -1
    new_boots: int = 0
    dirty: bool = False

    def dropped_by_reason(self) -> dict[int, int]:
        """Frames that the board says it dropped since first contact."""
        before = self.baseline or {}
        return {
            reason: frames - before.get(reason, 0)
            for reason, frames in self.drops.items()
            if frames > before.get(reason, 0)
        }


class TooManyBoots(Exception):
    """A node shows more new boots in an hour than a board can have."""


class Ledger:
    """All nodes. `find_boot` reads one boot from the archive; `identity` is its collector."""

    def __init__(self, identity: Identity, find_boot: FindBoot | None = None) -> None:
        self.identity = identity
        self.start = 0
        """The number of this run of the collector: it rises with each start of an archive."""
        self.newest_id = 0
        self.first_contacts: set[int] = set()
        """Nodes whose rows go with the next commit: of the first LIVE (what came before it is to be
        remembered), and where downlink numbers run short."""
        self.nodes: dict[int, NodeLedger] = {}
        self.find_boot: FindBoot = find_boot or (lambda node, boot: None)

    @property
    def collector(self) -> int:
        """The id under which it acknowledges."""
        return self.identity.collector

    def node(self, node: int) -> NodeLedger:
        """The node's ledger, begun when it is not there yet."""
        found = self.nodes.get(node)
        if found is None:
            found = self.nodes[node] = NodeLedger(node)
        return found

    def known_boot(self, node: int, boot: int) -> BootLedger | None:
        """A boot's ledger from memory or the archive; None for one never seen."""
        owner = self.nodes.get(node)
        if owner is not None:
            found = owner.boots.get(boot)
            if found is not None:
                return found
        stored = self.find_boot(node, boot)
        if stored is not None:
            self._remember(self.node(node), stored)
        return stored

    def boot(self, node: int, boot: int, now_ms: int) -> BootLedger:
        """A boot's ledger; a new boot is begun, unless the node has too many in this hour."""
        found = self.known_boot(node, boot)
        if found is not None:
            return found
        owner = self.node(node)
        hour = now_ms // HOUR_MS
        if owner.hour != hour:
            owner.hour, owner.new_boots = hour, 0
        if owner.new_boots >= NEW_BOOTS_PER_HOUR:
            raise TooManyBoots
        owner.new_boots += 1
        fresh = BootLedger(node, boot)
        fresh.seen_ms = now_ms
        self._remember(owner, fresh)
        return fresh

    def _remember(self, owner: NodeLedger, boot: BootLedger) -> None:
        owner.boots[boot.boot] = boot
        if len(owner.boots) <= BOOTS_IN_MEMORY:
            return
        for number in list(owner.boots):
            old = owner.boots[number]
            waits = old.dirty or old.writing or old.pending or old.waiting_conflicts
            in_use = old is boot or bool(waits)
            if number != owner.boot and not in_use:
                del owner.boots[number]
                if len(owner.boots) <= BOOTS_IN_MEMORY:
                    return

    def observe(self, node: int, boot: int, live: int, state: State, now_ms: int) -> list[Alarm]:
        """Takes in an accepted LIVE; returns what it makes alarming.

        Numbers below the lowest kept that never arrived are dropped as far as the board's own
        counters have grown since the LIVE before, or since it last kept nothing; the rest was
        acknowledged once and is lost.
        """
        owner = self.node(node)
        current = self.boot(node, boot, now_ms)
        current.live = live
        current.live_ms = state.uptime_ms
        current.down = max(current.down, state.downlink_seq - self._down_base)
        current.seen_ms = now_ms
        current.dirty = True
        owner.boot = boot
        owner.collector = state.collector
        owner.seen_ms = now_ms
        owner.dirty = True
        drops = dict(state.dropped)
        first_contact = owner.baseline is None and not self.identity.owns(state.collector)
        if owner.baseline is None:
            owner.baseline = drops
            owner.drops = dict(drops)
            self.first_contacts.add(node)
            leaves_gaps = DROP_UNWRITABLE in drops or DROP_CORRUPT in drops
            if leaves_gaps and not state.collector:  # nobody acknowledged: they were dropped
                span = sum(max(0, kept.highest + 1 - kept.lowest) for kept in state.boots)
                owner.carried = min(span, sum(drops.values()))
        grown = sum(drops.values()) - sum(owner.drops.values())
        owner.drops = {
            reason: max(frames, owner.drops.get(reason, 0))
            for reason, frames in (owner.drops | drops).items()
        }
        left = max(0, grown) + owner.carried
        alarms: list[Alarm] = []
        for kept in self._listed(owner, boot, state, now_ms):
            ledger, lowest, highest = kept
            if first_contact:
                ledger.begin_at(lowest)
            ledger.still_kept(lowest, highest)
            if highest > ledger.issued:
                ledger.issued = highest
                ledger.dirty = True
            left = self._give_up(ledger, lowest, left, state, alarms)
        keeps = any(kept.lowest <= kept.highest for kept in state.boots)
        owner.carried = left if keeps or state.unlisted else 0
        return alarms

    def _listed(
        self, owner: NodeLedger, boot: int, state: State, now_ms: int
    ) -> Iterator[tuple[BootLedger, int, int]]:
        """Boots that the board lists; then known ones that left its spool, as wholly gone.

        No frame has the number 0, nor does a board keep what it has not issued: an entry that says
        so says nothing.
        """
        listed = {kept.boot for kept in state.boots}
        for kept in sorted(state.boots, key=lambda kept: kept.boot):
            if not 1 <= kept.lowest <= kept.highest + 1:
                continue
            try:
                yield self.boot(owner.node, kept.boot, now_ms), kept.lowest, kept.highest
            except TooManyBoots:
                continue
        if state.unlisted:
            return
        for number in sorted(owner.boots):
            ledger = owner.boots[number]
            if number < boot and number not in listed and ledger.issued:
                yield ledger, ledger.issued + 1, ledger.issued

    def _give_up(
        self, ledger: BootLedger, lowest: int, left: int, state: State, alarms: list[Alarm]
    ) -> int:
        lost: list[tuple[int, int]] = []
        for first, last in ledger.outstanding_below(lowest):
            frames = min(last - first + 1, left)
            if frames:
                ledger.give_up(first, first + frames - 1, ledger.dropped)
                left -= frames
            if first + frames <= last:
                ledger.give_up(first + frames, last, ledger.lost)
                lost.append((first + frames, last))
        if lost:
            alarms.append(self._lost(ledger, tuple(lost), state))
        return left

    def _lost(self, ledger: BootLedger, lost: tuple[tuple[int, int], ...], state: State) -> Alarm:
        if self.identity.owns(state.collector):
            kind = LOST_HERE
            text = "acknowledged by this collector and not in its archive: was it restored?"
        else:
            kind = LOST_ELSEWHERE
            text = f"acknowledged by another collector ({state.collector:08x})"
        frames = sum(last - first + 1 for first, last in lost)
        return Alarm(kind, ledger.node, ledger.boot, frames, text, lost)

    @property
    def _down_base(self) -> int:
        return self.start * DOWN_STEP

    def next_down(self, node: int, boot: int) -> int | None:
        """The next number for a downlink frame to this boot; above all that it can have seen.

        It is DOWN_STEP for each start of the collector and one for each number used, of which a
        crash forgets DOWN_STEP at most: so no start uses a number that one before it may have used,
        however many of them crashed. None: the row has to be written before there is another, or
        there is none of 32 bits any more (in this boot).
        """
        ledger = self.known_boot(node, boot)
        if ledger is None:
            ledger = BootLedger(node, boot)
            self._remember(self.node(node), ledger)
        unwritten = ledger.down - ledger.down_written
        number = self._down_base + ledger.down + 1
        if number > _UNSIGNED_32_MAX:
            return None
        if unwritten >= DOWN_STEP // 2:
            self.first_contacts.add(node)
        if unwritten >= DOWN_STEP:
            return None
        ledger.down += 1
        ledger.dirty = True
        return number

    def down_is_due(self, node: int) -> bool:
        """Whether the next commit brings numbers for this node."""
        return node in self.first_contacts

    def current_boot(self, node: int) -> int | None:
        """The boot that a downlink frame has to name: of the last LIVE, else the highest seen."""
        owner = self.nodes.get(node)
        if owner is None:
            return None
        return owner.boot or max(owner.boots, default=None)

    def acks(self, node: int, boots: Iterable[int]) -> list[tuple[int, int, int]]:
        """(boot, upto, mask) for these boots of a node."""
        found = []
        for boot in sorted(set(boots)):
            ledger = self.known_boot(node, boot)
            if ledger is not None:
                found.append((boot, *ledger.ack()))
        return found

    def replay(
        self,
        frame_id: int,
        node: int,
        boot: int,
        seq: int,
        conflict: bool,
        last_ms: int,
        raw: bytes,
    ) -> BootLedger:
        """Takes in a frame that the archive holds and the snapshot does not know."""
        ledger = self.known_boot(node, boot)
        if ledger is None:
            ledger = BootLedger(node, boot)
            self._remember(self.node(node), ledger)
        tag = raw[-TAG_BYTES:]
        if conflict:
            ledger.commit_conflict(seq, tag)
        else:
            ledger.commit(seq, tag, last_ms)
        self.newest_id = max(self.newest_id, frame_id)
        return ledger

    def account(self, node: int) -> Account:
        """Frames of a node's boots in memory, by what became of them."""
        owner = self.nodes.get(node)
        boots: Sequence[BootLedger] = list(owner.boots.values()) if owner else []
        return sum((boot.account() for boot in boots), Account())
