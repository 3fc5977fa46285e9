"""What became of every frame that one boot of a board issued.

A number is received (in the archive), dropped (by the board, which counted it), lost (acknowledged
once, and not here), erased (removed because its owner left), before our time, or outstanding.
Settled are all but the outstanding ones; an ACK covers what is settled.
"""

from array import array
from dataclasses import dataclass
from enum import Enum

from collector.ranges import Ranges

SEQ_AHEAD_MAX = 65_536
RANGES_MAX = 1_024
CONFLICTS_MAX = 64
CONFLICT_VERSIONS_MAX = 4
ACK_MASK_BITS = 32
_RECENT = 64


class Verdict(Enum):
    """What a frame's number says about it."""

    NEW = "new"
    PENDING = "pending"
    DUPLICATE = "duplicate"
    UNSURE = "unsure"
    CONFLICT = "conflict"
    ERASED = "erased"
    TOO_FAR = "seq_too_far"
    TOO_SCATTERED = "too_many_ranges"
    TOO_MANY_CONFLICTS = "too_many_conflicts"


@dataclass(frozen=True, slots=True)
class Account:
    """Frames of a boot; produced is the sum of all the others."""

    produced: int = 0
    stored: int = 0
    dropped: int = 0
    lost: int = 0
    erased: int = 0
    outstanding: int = 0

    def __add__(self, other: "Account") -> "Account":
        return Account(
            self.produced + other.produced,
            self.stored + other.stored,
            self.dropped + other.dropped,
            self.lost + other.lost,
            self.erased + other.erased,
            self.outstanding + other.outstanding,
        )


class RecentTags:
    """Trailers of the last frames of a boot: a resend is told from a conflict without reading."""

    __slots__ = ("_seqs", "_tags")

    def __init__(self) -> None:
        self._seqs = array("I", bytes(4 * _RECENT))
        self._tags = array("Q", bytes(8 * _RECENT))

    def put(self, seq: int, tag: bytes) -> None:
        """Remembers a trailer; the one 64 numbers earlier is forgotten."""
        place = seq % _RECENT
        self._seqs[place] = seq
        self._tags[place] = int.from_bytes(tag, "little")

    def same(self, seq: int, tag: bytes) -> bool | None:
        """Whether the stored frame had this trailer; None when it is forgotten."""
        place = seq % _RECENT
        if self._seqs[place] != seq:
            return None
        return self._tags[place] == int.from_bytes(tag, "little")


class BootLedger:
    """One boot of one node, in memory; durable and pending numbers are kept apart.

    down: downlink numbers used, and down_written how many of them the archive's row says. dirty:
    the row does not say all; writing: how many rows of it are on their way.
    """

    __slots__ = (
        "anchor_ms",
        "before",
        "boot",
        "conflicts",
        "dirty",
        "down",
        "down_written",
        "dropped",
        "erased",
        "issued",
        "last_ms",
        "live",
        "live_ms",
        "lost",
        "node",
        "pending",
        "received",
        "recent",
        "seen_ms",
        "settled",
        "waiting_conflicts",
        "writing",
    )

    def __init__(self, node: int, boot: int) -> None:
        self.node = node
        self.boot = boot
        self.issued = 0
        self.before = 0
        self.live = 0
        self.live_ms = -1
        self.last_ms = -1
        self.down = 0
        self.down_written = 0
        self.anchor_ms: int | None = None
        self.seen_ms = 0
        self.received = Ranges()
        self.dropped = Ranges()
        self.lost = Ranges()
        self.erased = Ranges()
        self.settled = Ranges([(0, 0)])
        self.pending: dict[int, bytes] = {}
        self.conflicts: dict[int, list[bytes]] = {}
        self.waiting_conflicts: set[tuple[int, bytes]] = set()
        self.recent = RecentTags()
        self.dirty = False
        self.writing = 0

    def judge(self, seq: int, tag: bytes) -> Verdict:
        """What to do with an authentic frame of this number and trailer."""
        waiting = self.pending.get(seq)
        if waiting is not None:
            return Verdict.PENDING if waiting == tag else self._conflict(seq, tag)
        if seq in self.received:
            same = self.recent.same(seq, tag)
            if same is None:
                known = self.conflicts.get(seq)
                return Verdict.DUPLICATE if known and tag in known else Verdict.UNSURE
            return Verdict.DUPLICATE if same else self._conflict(seq, tag)
        if seq in self.erased:
            return Verdict.ERASED
        return self._judge_new(seq)

    def judge_different(self, seq: int, tag: bytes) -> Verdict:
        """The same for a frame whose stored namesake was read and has another trailer."""
        return self._conflict(seq, tag)

    def _conflict(self, seq: int, tag: bytes) -> Verdict:
        known = self.conflicts.get(seq)
        if known is not None and tag in known:
            return Verdict.DUPLICATE
        if (seq, tag) in self.waiting_conflicts:
            return Verdict.PENDING
        waiting = [number for number, _ in self.waiting_conflicts]
        versions = len(known or ()) + waiting.count(seq)
        if versions >= CONFLICT_VERSIONS_MAX:
            return Verdict.TOO_MANY_CONFLICTS
        if not versions and len(self.conflicts.keys() | waiting) >= CONFLICTS_MAX:
            return Verdict.TOO_MANY_CONFLICTS
        return Verdict.CONFLICT

    def _judge_new(self, seq: int) -> Verdict:
        last = self.settled.last or 0
        if seq > last + SEQ_AHEAD_MAX:
            return Verdict.TOO_FAR
        scattered = len(self.settled) + len(self.pending) >= RANGES_MAX
        if scattered and seq not in self.settled and not self._touches(seq):
            return Verdict.TOO_SCATTERED
        return Verdict.NEW

    def _touches(self, seq: int) -> bool:
        return seq - 1 in self.settled or seq - 1 in self.pending

    def wait(self, seq: int, tag: bytes) -> None:
        """Notes a new frame that the next commit will hold."""
        self.pending[seq] = tag

    def discard(self, seq: int) -> None:
        """Forgets a frame whose commit failed; the board sends it again."""
        self.pending.pop(seq, None)

    def commit(self, seq: int, tag: bytes, last_ms: int) -> None:
        """Notes that the archive holds the frame; one that was given up moves back."""
        self.pending.pop(seq, None)
        self.received.add(seq)
        if seq in self.settled:
            for gone in (self.dropped, self.lost, self.erased):
                if gone and seq in gone:
                    gone.remove(seq)
        else:
            self.settled.add(seq)
        if seq > self.issued:
            self.issued = seq
        if last_ms > self.last_ms:
            self.last_ms = last_ms
        self.recent.put(seq, tag)
        self.dirty = True

    def anchor(self, anchor_ms: int) -> None:
        """Fixes the shift under which its frames are indexed, once."""
        self.anchor_ms = anchor_ms
        self.dirty = True

    def wait_conflict(self, seq: int, tag: bytes) -> None:
        """Notes another frame of a known number that the next commit will hold."""
        self.waiting_conflicts.add((seq, tag))

    def discard_conflict(self, seq: int, tag: bytes) -> None:
        """Forgets such a frame, as `discard` does."""
        self.waiting_conflicts.discard((seq, tag))

    def commit_conflict(self, seq: int, tag: bytes) -> None:
        """Notes that the archive holds another frame of a known number."""
        self.discard_conflict(seq, tag)
        known = self.conflicts.setdefault(seq, [])
        if tag not in known:
            known.append(tag)
        self.dirty = True

    def resolve_conflicts(self) -> None:
        """An operator decided: acknowledgements pass the conflicts again."""
        self.conflicts.clear()
        self.dirty = True

    def outstanding_below(self, lowest: int) -> list[tuple[int, int]]:
        """Ranges that the board says it no longer keeps, and that nothing explains yet."""
        found: list[tuple[int, int]] = []
        for first, last in self.settled.missing(1, lowest - 1):
            start = first
            for seq in sorted(s for s in self.pending if first <= s <= last):
                if seq > start:
                    found.append((start, seq - 1))
                start = seq + 1
            if start <= last:
                found.append((start, last))
        return found

    def give_up(self, first: int, last: int, into: Ranges) -> None:
        """Settles numbers that will not come: `into` is this boot's dropped, lost or erased."""
        into.add(first, last)
        self.settled.add(first, last)
        self.issued = max(self.issued, last)
        self.dirty = True

    def begin_at(self, lowest: int) -> None:
        """First contact: what lies below is before our time."""
        if lowest - 1 > self.before:
            self.before = lowest - 1
            self.settled.add(0, self.before)
            self.issued = max(self.issued, self.before)
            self.dirty = True

    def still_kept(self, lowest: int, highest: int) -> None:
        """The board keeps these numbers: none of them is gone, whatever was thought before."""
        if highest < lowest:
            return
        for gone in (self.dropped, self.lost):
            for first, last in list(gone.overlap(lowest, highest)):
                gone.remove(first, last)
                self._unsettle(first, last)
        if self.before >= lowest:
            self._unsettle(lowest, self.before)
            self.before = lowest - 1
            self.dirty = True

    def _unsettle(self, first: int, last: int) -> None:
        for start, end in list(self.received.missing(first, last)):
            self.settled.remove(start, end)
        self.dirty = True

    def ack(self) -> tuple[int, int]:
        """(upto, mask) by the protocol's rule; never beyond a conflict.

        Bit i of mask: upto + 2 + i is settled too.
        """
        upto = self.settled.covered_up_to(0)
        limit = min(self.conflicts, default=0)
        if limit and upto >= limit:
            return limit - 1, 0
        mask = 0
        first = upto + 2
        for start, end in self.settled.overlap(first, first + ACK_MASK_BITS - 1):
            mask |= ((1 << (end - start + 1)) - 1) << (start - first)
        if limit:
            mask &= (1 << max(0, limit - first)) - 1
        return upto, mask

    def acknowledges(self, seq: int) -> bool:
        """Whether an ACK made now covers this frame."""
        upto, mask = self.ack()
        return seq <= upto or bool(seq >= upto + 2 and mask >> (seq - upto - 2) & 1)

    def account(self) -> Account:
        """Frames by what became of them."""
        stored = self.received.count()
        early = sum(last - first + 1 for first, last in self.received.overlap(0, self.before))
        produced = self.issued - self.before + early
        gone = self.dropped.count(), self.lost.count(), self.erased.count()
        return Account(produced, stored, *gone, produced - stored - sum(gone))
