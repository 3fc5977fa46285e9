"""Frames to boards: ACK and TIME, numbered so that a board always hears them."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from collector.clock import Clock
from collector.ledger.ledger import Ledger
from collector.seldom import is_worth_a_line
from collector.transports.base import Source
from protocol import wire
from protocol.compose import (
    ACK_ENTRIES_MAX,
    arguments,
    compose_ack,
    compose_command,
    compose_time,
)

log = logging.getLogger(__name__)

RESENDS_PER_LIVE = 4
RESEND_TRIES = 3
RESENDS_MAX = 10_000


class Downlink(NamedTuple):
    """A frame for a node, and where that node was last heard."""

    node: int
    raw: bytes
    source: Source


class Answers:
    """Composes what boards wait for; ACKs noted within a group go out as one per node."""

    def __init__(
        self,
        key_down: Callable[[int], bytes | None],
        ledger: Ledger,
        clock: Clock,
        send: Callable[[Downlink], None],
    ) -> None:
        self._key_down = key_down
        self._ledger = ledger
        self._clock = clock
        self._send = send
        self._noted: dict[int, tuple[set[int], Source]] = {}
        self._late: dict[int, Callable[[], None]] = {}
        self._resends: dict[tuple[int, int, int, int], int] = {}
        self.sent = 0
        self.failed = 0
        """ACKs that could not be composed: a fault of this program, or a damaged ledger row."""

    def note(self, node: int, boot: int, source: Source) -> None:
        """A frame of this boot is durable, or was before: acknowledge with the next flush."""
        noted = self._noted.get(node)
        if noted is None:
            self._noted[node] = ({boot}, source)
        else:
            noted[0].add(boot)
            if noted[1] is not source:
                self._noted[node] = (noted[0], source)

    def flush(self) -> None:
        """Sends one ACK to each noted node."""
        noted, self._noted = self._noted, {}
        late, self._late = self._late, {}
        answers = [(node, answer) for node, answer in late.items()]
        answers += [(node, partial(self.ack, node, *noted[node])) for node in noted]
        for node, answer in answers:
            try:
                answer()
            except Exception:
                self.failed += 1
                if is_worth_a_line(self.failed):
                    log.exception("node %08x is not answered", node)

    def ack(self, node: int, boots: Iterable[int], source: Source) -> None:
        """Acknowledges what is settled in these boots; the oldest first when there are many."""
        current = self._ledger.current_boot(node)
        key = self._key_down(node)
        if current is None or key is None:
            return
        entries = self._ledger.acks(node, boots)
        for first in range(0, len(entries), ACK_ENTRIES_MAX):
            part = entries[first : first + ACK_ENTRIES_MAX]
            seq = self._ledger.next_down(node, current)
            if seq is None:
                if self._ledger.down_is_due(node):
                    for boot, *_ in entries[first:]:
                        self.note(node, boot, source)
                return
            raw = compose_ack(key, node, current, seq, self._ledger.collector, part)
            self._deliver(node, raw, source)

    def time(
        self, node: int, boot: int, uptime_ms: int, counter: int, received_ms: int, source: Source
    ) -> None:
        """Answers a LIVE with the time; only a synchronised collector may call this."""
        key = self._key_down(node)
        if key is None:
            return
        seq = self._ledger.next_down(node, boot)
        if seq is None:
            if self._ledger.down_is_due(node):
                again = partial(self.time, node, boot, uptime_ms, counter, received_ms, source)
                self._late[node] = again
            return
        sent_ms = max(received_ms, self._clock.unix_ms())
        raw = compose_time(key, node, boot, seq, uptime_ms, counter, received_ms, sent_ms)
        self._deliver(node, raw, source)

    def want_again(self, node: int, boot: int, ranges: Iterable[tuple[int, int]]) -> None:
        """Frames that were acknowledged once and are not here: the board may still hold them."""
        for first, last in ranges:
            if len(self._resends) < RESENDS_MAX:
                self._resends[node, boot, first, last] = RESEND_TRIES

    def ask_again(self, node: int, source: Source) -> None:
        """Sends the node what `want_again` noted, a few at a time and each three times."""
        current = self._ledger.current_boot(node)
        key = self._key_down(node)
        if current is None or key is None or not self._resends:
            return
        wanted = [entry for entry in self._resends if entry[0] == node]
        for entry in wanted[:RESENDS_PER_LIVE]:
            seq = self._ledger.next_down(node, current)
            if seq is None:
                return
            command = compose_command(
                key, node, current, seq, seq & 0xFFFF, wire.C_RESEND, arguments(*entry[1:])
            )
            self._deliver(node, command, source)
            self._resends[entry] -= 1
            if not self._resends[entry]:
                del self._resends[entry]

    def _deliver(self, node: int, raw: bytes, source: Source) -> None:
        self.sent += 1
        self._send(Downlink(node, raw, source))
