"""The ledger for people: every frame and every reading by what became of it.

A frame that a board issued is stored, on its way, dropped by the board (which says why), lost or
erased. A reading that is stored is, for each network, delivered, rejected, left out, expired, or
still to be sent. What is in none of these is unaccounted for, and what is on the counts more often
than it was stored is a surplus; neither must ever happen.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from collector.archive import archive
from collector.archive.archive import CONFLICT, FAILED, UNDECODED
from collector.forward import book_tables
from collector.ledger.ledger_boot import Account
from collector.operate.status_books import book_counts
from collector.ranges import Ranges
from collector.readings.counting import readings_of
from collector.storage.archive_view import ArchiveView
from protocol import wire

FRAMES_AT_ONCE = 2_000

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class SinkAccount:
    """Readings of one node at one network."""

    delivered: int = 0
    rejected: int = 0
    left_out: int = 0
    expired: int = 0
    possible_duplicates: int = 0
    to_send: int = 0
    unaccounted: int = 0
    surplus: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> int:
        """Readings whose fate is decided."""
        return self.delivered + self.rejected + self.left_out + self.expired


@dataclass(slots=True)
class NodeAccount:
    """One node's frames and readings."""

    node: int
    frames: Account
    dropped: dict[int, int]
    conflicts: int = 0
    undecoded: int = 0
    undated: int = 0
    readings: int = 0
    sinks: dict[str, SinkAccount] = field(default_factory=dict)

    @property
    def alarming(self) -> bool:
        """Something is lost, in conflict, unaccounted for, or counted too often."""
        wrong = sum(sink.unaccounted + sink.surplus for sink in self.sinks.values())
        return bool(self.frames.lost or self.conflicts or wrong)


def accounts(
    view: ArchiveView,
    sinks: Iterable[str],
    nodes: Sequence[int] = (),
    progress: Progress | None = None,
) -> list[NodeAccount]:
    """Accounts of these nodes, or of all; decodes every stored frame once.

    `progress` is called with (newest frame looked at, newest frame).
    """
    wanted = list(nodes) or view.nodes()
    found = {node: _frames_account(view, node) for node in wanted}
    books = book_counts(view.connection)
    names = sorted({*sinks, *books})
    states = {name: _state(view, name) for name in names}
    for account in found.values():
        account.sinks = {name: _booked(books.get(name, {}), account.node) for name in names}
    settled_here = _forgotten(view, names)
    newest = archive.newest_id(view.connection)
    last = 0
    while last < newest:
        frames = list(archive.frames(view.connection, last + 1, newest, FRAMES_AT_ONCE))
        if not frames:
            break
        last = frames[-1].id
        for frame in frames:
            if frame.node in found:
                _count_frame(view, frame, found[frame.node], states, settled_here)
        if progress is not None:
            progress(last, newest)
    for account in found.values():
        for name, sink in account.sinks.items():
            missing = settled_here[name, account.node] - sink.settled
            if missing > 0:
                sink.unaccounted = missing
            elif not (account.frames.erased or account.frames.lost):  # gone, but still on the books
                sink.surplus = -missing
    return [found[node] for node in wanted]


def _frames_account(view: ArchiveView, node: int) -> NodeAccount:
    owner = view.ledger.nodes.get(node)
    boots = view.boots(node)
    return NodeAccount(
        node=node,
        frames=sum((boot.account() for boot in boots), Account()),
        dropped=owner.dropped_by_reason() if owner else {},
        conflicts=sum(len(boot.conflicts) for boot in boots),
    )


def _booked(counts: Mapping[book_tables.Count, int], node: int) -> SinkAccount:
    account = SinkAccount()
    for count, readings in counts.items():
        if count.node != node:
            continue
        if count.outcome == book_tables.DELIVERED:
            account.delivered += readings
        elif count.outcome == book_tables.REJECTED:
            account.rejected += readings
        elif count.outcome == book_tables.LEFT_OUT:
            account.left_out += readings
        elif count.outcome == book_tables.EXPIRED:
            account.expired += readings
        elif count.outcome == book_tables.POSSIBLE_DUPLICATE:
            account.possible_duplicates += readings
        if count.outcome in (book_tables.REJECTED, book_tables.LEFT_OUT, book_tables.EXPIRED):
            reason = f"{count.outcome}: {count.reason}"
            account.reasons[reason] = account.reasons.get(reason, 0) + readings
    return account


def _state(view: ArchiveView, sink: str) -> book_tables.SinkState:
    if not book_tables.has_books(view.connection):
        return book_tables.SinkState(Ranges(), {}, {})
    return book_tables.load(view.connection, sink)


def _forgotten(view: ArchiveView, sinks: Iterable[str]) -> Counter[tuple[str, int]]:
    """Settled readings whose frames retention removed."""
    found: Counter[tuple[str, int]] = Counter()
    for sink in sinks:
        for node, readings in book_tables.forgotten(view.connection, sink).items():
            found[sink, node] += readings
    return found


def _count_frame(
    view: ArchiveView,
    frame: archive.StoredFrame,
    account: NodeAccount,
    states: Mapping[str, book_tables.SinkState],
    settled_here: Counter[tuple[str, int]],
) -> None:
    if frame.state in (UNDECODED, FAILED):
        account.undecoded += 1
    if frame.type != wire.T_DATA or frame.state == CONFLICT:
        return
    readings = readings_of(frame)
    account.readings += readings
    if view.timeline.time_of(frame.node, frame.boot, frame.first_ms) is None:
        account.undated += 1
    for name, state in states.items():
        settled_here[name, frame.node] += state.booked(frame.id, readings)
        account.sinks[name].to_send += readings - state.settled(frame.id, readings)
