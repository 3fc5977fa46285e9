"""What an ACK may cover: the rules as a state machine without I/O.

This is the reading of the rules that others are held against; it favours clearness over speed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

AHEAD_MAX = 65_536
RANGES_MAX = 1_024
CONFLICTS_MAX = 64
VERSIONS_MAX = 4
MASK_BITS = 32

Range = tuple[int, int]


class Verdict(Enum):
    """What happens to an authentic frame."""

    STORE = "store"
    AGAIN = "again"
    PENDING = "pending"
    CONFLICT = "conflict"
    ERASED = "erased"
    TOO_FAR = "too far"
    TOO_SCATTERED = "too scattered"
    TOO_MANY_CONFLICTS = "too many conflicts"


class Numbers:
    """A set of numbers as ranges in rising order that neither touch nor overlap."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self.ranges: list[Range] = []
        for first, last in ranges:
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.ranges)

    def add(self, first: int, last: int) -> None:
        """Put first..last in."""
        kept = []
        for low, high in self.ranges:
            if high < first - 1 or low > last + 1:
                kept.append((low, high))
            else:
                first, last = min(first, low), max(last, high)
        self.ranges = sorted([*kept, (first, last)]) if first <= last else sorted(kept)

    def remove(self, first: int, last: int) -> None:
        """Take first..last out."""
        kept = []
        for low, high in self.ranges:
            if high < first or low > last:
                kept.append((low, high))
                continue
            if low < first:
                kept.append((low, first - 1))
            if high > last:
                kept.append((last + 1, high))
        self.ranges = kept

    def missing(self, first: int, last: int) -> list[Range]:
        """What of first..last is not in."""
        gaps = []
        for low, high in self.ranges:
            if high < first:
                continue
            if low > last:
                break
            if low > first:
                gaps.append((first, low - 1))
            first = high + 1
        if first <= last:
            gaps.append((first, last))
        return gaps

    @property
    def top(self) -> int:
        """The largest number, 0 for none."""
        return self.ranges[-1][1] if self.ranges else 0


@dataclass
class Boot:
    """One boot of a node: what is durable, what is on its way there, and what will never come."""

    stored: dict[int, bytes] = field(default_factory=dict)
    pending: dict[int, bytes] = field(default_factory=dict)
    conflicts: dict[int, list[bytes]] = field(default_factory=dict)
    pending_conflicts: list[tuple[int, bytes]] = field(default_factory=list)
    received: Numbers = field(default_factory=Numbers)
    dropped: Numbers = field(default_factory=Numbers)
    lost: Numbers = field(default_factory=Numbers)
    erased: Numbers = field(default_factory=Numbers)
    before: int = 0

    def settled(self) -> Numbers:
        """Numbers that are durable or known to be gone."""
        kinds = (self.received, self.dropped, self.lost, self.erased)
        ranges = [each for kind in kinds for each in kind.ranges]
        return Numbers([(0, self.before), *ranges])


class Settlement:
    """One node's frames. receive() and commit() frames, take in live(), answer with ack()."""

    def __init__(self) -> None:
        self.boots: dict[int, Boot] = {}
        self._drops: int | None = None
        self._carried = 0

    def _boot(self, boot: int) -> Boot:
        return self.boots.setdefault(boot, Boot())

    def receive(self, boot: int, seq: int, trailer: bytes) -> Verdict:
        """Decide on an authentic frame; STORE and CONFLICT wait for commit()."""
        state = self._boot(boot)
        if seq in state.pending:
            same = state.pending[seq] == trailer
            return Verdict.PENDING if same else self._conflict(state, seq, trailer)
        if seq in state.stored:
            same = state.stored[seq] == trailer
            return Verdict.AGAIN if same else self._conflict(state, seq, trailer)
        if seq in state.erased:
            return Verdict.ERASED
        settled = state.settled()
        if seq > settled.top + AHEAD_MAX:
            return Verdict.TOO_FAR
        scattered = len(settled.ranges) + len(state.pending) >= RANGES_MAX
        if scattered and seq not in settled and seq - 1 not in settled:
            return Verdict.TOO_SCATTERED
        state.pending[seq] = trailer
        return Verdict.STORE

    @staticmethod
    def _conflict(state: Boot, seq: int, trailer: bytes) -> Verdict:
        known = state.conflicts.get(seq, [])
        if trailer in known:
            return Verdict.AGAIN
        if (seq, trailer) in state.pending_conflicts:
            return Verdict.PENDING
        if len(known) >= VERSIONS_MAX or (not known and len(state.conflicts) >= CONFLICTS_MAX):
            return Verdict.TOO_MANY_CONFLICTS
        state.pending_conflicts.append((seq, trailer))
        return Verdict.CONFLICT

    def commit(self) -> None:
        """All pending frames are durable now; one that was given up moves back."""
        for state in self.boots.values():
            for seq in state.pending:
                state.received.add(seq, seq)
                for gone in (state.dropped, state.lost):
                    gone.remove(seq, seq)
            state.stored.update(state.pending)
            state.pending.clear()
            for seq, trailer in state.pending_conflicts:
                state.conflicts.setdefault(seq, []).append(trailer)
            state.pending_conflicts.clear()

    def fail(self) -> None:
        """The commit failed: nothing pending was ever there."""
        for state in self.boots.values():
            state.pending.clear()
            state.pending_conflicts.clear()

    def live(
        self,
        boots: Sequence[tuple[int, int, int]],
        dropped: int,
        unlisted: int = 0,
        ours: bool = True,
        amid: int = 0,
    ) -> list[tuple[int, int, int]]:
        """Take in a LIVE: (boot, lowest kept, highest issued) and the sum of its drop counters.

        ours: it names this collector as the one whose ACK it had last; amid: the
        drops of a board that names no collector, if reasons 2 or 3, which leave gaps, are among
        them.

        Numbers below the lowest kept that never came are dropped as far as the counters have
        grown since the LIVE before, or since the board last kept nothing, the oldest first; the
        rest was acknowledged once and is lost: (boot, first, last).
        """
        first_contact = self._drops is None and not ours
        if self._drops is None:
            span = sum(max(0, highest + 1 - lowest) for _, lowest, highest in boots)
            self._carried = min(span, amid)
        known = dropped if self._drops is None else self._drops
        left = self._carried + max(0, dropped - known)
        self._drops = max(dropped, known)
        kept = {boot: (lowest, highest) for boot, lowest, highest in boots}
        newest = max(kept, default=0)
        if not unlisted:
            for boot, state in self.boots.items():
                if boot not in kept and boot < newest:
                    kept[boot] = (state.settled().top + 1, 0)
        lost = []
        for boot in sorted(kept):
            lowest, highest = kept[boot]
            state = self._boot(boot)
            if first_contact:
                state.before = max(state.before, lowest - 1)
            self._still_kept(state, lowest, highest)
            for first, last in self._unexplained(state, lowest):
                frames = min(last - first + 1, left)
                left -= frames
                if frames:
                    state.dropped.add(first, first + frames - 1)
                if first + frames <= last:
                    state.lost.add(first + frames, last)
                    lost.append((boot, first + frames, last))
        keeps = any(lowest <= highest for _, lowest, highest in boots)
        self._carried = left if keeps or unlisted else 0
        return lost

    @staticmethod
    def _unexplained(state: Boot, lowest: int) -> list[Range]:
        known = state.settled()
        for seq in state.pending:
            known.add(seq, seq)
        return known.missing(1, lowest - 1)

    @staticmethod
    def _still_kept(state: Boot, lowest: int, highest: int) -> None:
        """What the board keeps is not gone, whatever was thought before."""
        if highest < lowest:
            return
        for gone in (state.dropped, state.lost):
            gone.remove(lowest, highest)
        state.before = min(state.before, lowest - 1)

    def erase(self, boot: int, first: int, last: int) -> None:
        """The owner left: frames are gone, their numbers stay settled, resends are not stored."""
        state = self._boot(boot)
        for seq in [seq for seq in state.stored if first <= seq <= last]:
            del state.stored[seq]
        state.received.remove(first, last)
        state.erased.add(first, last)

    def decide(self, boot: int) -> None:
        """An operator decided on the boot's conflicts: ACKs pass them again."""
        self._boot(boot).conflicts.clear()

    def ack(self, boot: int) -> tuple[int, int]:
        """(upto, mask): all seq <= upto are settled, and upto + 2 + i for each bit i of mask."""
        state = self._boot(boot)
        settled = state.settled()
        if state.conflicts:
            barrier = min(state.conflicts)
            settled.remove(barrier, max(settled.top, barrier))
        upto = settled.ranges[0][1] if settled.ranges else 0
        mask = 0
        for bit in range(MASK_BITS):
            if upto + 2 + bit in settled:
                mask |= 1 << bit
        return upto, mask
