"""What an operator asks of boards: commands and settings, sent until the board answers.

A board may sleep, so an order waits for its next LIVE and is sent again with each, until a RESULT
names its id or it expires. Orders live in memory: what is not answered when the collector stops is
to be asked again.
"""

import asyncio
import secrets
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from collector.archive.archive import StoredFrame
from collector.archive.decoding import decode_stored
from collector.boards.downlink import Downlink
from collector.clock import DAY_MS, Clock
from collector.ledger.ledger import Ledger
from collector.transports.base import Source
from protocol import names, wire
from protocol.compose import arguments, compose_command, compose_config
from protocol.sections import Outcome
from protocol.setting_names import BY_KEY, fault_of
from protocol.wire import FrameError

State = Literal["waiting", "sent", "done", "failed", "expired"]

ORDERS_MAX = 10_000
ORDERS_PER_NODE = 16
EXPIRES_MS = DAY_MS
SENDS_MAX = 200
WITH_COUNTER = (wire.C_OTHER_SLOT, wire.C_DROP_SPOOL)
COMMANDS = {name.replace(" ", "-"): code for code, name in names.COMMANDS.items()}


class OrderError(ValueError):
    """An order that cannot be given; the message says why."""


@dataclass(slots=True)
class Order:
    """One COMMAND or CONFIG on its way to a node."""

    id: int
    node: int
    type: int
    code: int = 0
    numbers: tuple[int, ...] = ()
    entries: tuple[tuple[int, int | str], ...] = ()
    expires_ms: int = 0
    state: State = "waiting"
    sends: int = 0
    answer: str = ""
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def over(self) -> bool:
        """Nothing more will happen to it."""
        return self.state in ("done", "failed", "expired")


class Orders:
    """Orders of all nodes; `send` hands a frame to the transports."""

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
        self._orders: dict[int, list[Order]] = {}
        self._counters: dict[int, int] = {}
        self._sources: dict[int, Source] = {}

    def command(self, node: int, name: str, numbers: Iterable[int] = ()) -> Order:
        """Orders a command by its name; OrderError for an unknown one or a full queue."""
        code = COMMANDS.get(name)
        if code is None:
            raise OrderError(f"{name!r} is no command; known are: {', '.join(COMMANDS)}")
        given = tuple(numbers)
        if len(given) != (3 if code == wire.C_RESEND else 0):
            raise OrderError("resend takes a boot, a first and a last number; others take none")
        return self._add(Order(self._new_id(node), node, wire.T_COMMAND, code, given))

    def configure(self, node: int, entries: Iterable[tuple[int, int | str]]) -> Order:
        """Orders settings, by their numbers in the settings table."""
        order = Order(self._new_id(node), node, wire.T_CONFIG, entries=tuple(entries))
        if not order.entries:
            raise OrderError("no settings are given")
        for key, value in order.entries:
            if fault := fault_of(key, value):
                raise OrderError(f"setting {BY_KEY.get(key, key)} {fault}")
        self._compose(order, b"", 0, 0)
        return self._add(order)

    def of(self, node: int) -> list[Order]:
        """A node's orders, those that are over too, the oldest first."""
        return list(self._orders.get(node, ()))

    def on_live(self, node: int, counter: int, source: Source) -> None:
        """The node was heard: sends it what it has not answered."""
        self._counters[node] = counter
        self._sources[node] = source
        for order in self._orders.get(node, ()):
            self._try(order)

    def on_answer(self, frame: StoredFrame) -> None:
        """A frame that is no DATA was stored; a RESULT may be an order's answer."""
        if frame.type != wire.T_RESULT or frame.node not in self._orders:
            return
        try:
            outcome = decode_stored(frame).outcome
        except FrameError:
            return
        for order in self._orders[frame.node]:
            if outcome is not None and order.type == outcome.type and order.id == outcome.id:
                if outcome.status == wire.R_STALE:
                    # a board answers an id once; the next LIVE brings the counter that it wants
                    order.id = self._new_id(frame.node)
                else:
                    _take(order, outcome)

    def _new_id(self, node: int) -> int:
        used = {order.id for order in self._orders.get(node, ())}
        while (number := secrets.randbits(16)) in used:
            pass
        return number

    def _add(self, order: Order) -> Order:
        if self._key_down(order.node) is None:
            raise OrderError(f"node {order.node:08x} has no key here, or is revoked")
        known = self._orders.setdefault(order.node, [])
        while len(known) >= ORDERS_PER_NODE:
            finished = next((each for each in known if each.over), None)
            if finished is None:
                raise OrderError(f"{ORDERS_PER_NODE} orders wait for this node already")
            known.remove(finished)
        if sum(map(len, self._orders.values())) >= ORDERS_MAX:
            raise OrderError(f"{ORDERS_MAX} orders wait already")
        order.expires_ms = self._clock.monotonic_ms() + EXPIRES_MS
        known.append(order)
        self._try(order)
        return order

    def _try(self, order: Order) -> None:
        if order.over:
            return
        if self._clock.monotonic_ms() >= order.expires_ms or order.sends >= SENDS_MAX:
            order.state = "expired"
            order.answered.set()
            return
        source = self._sources.get(order.node)
        boot = self._ledger.current_boot(order.node)
        key = self._key_down(order.node)
        if source is None or boot is None or key is None:
            return
        seq = self._ledger.next_down(order.node, boot)
        if seq is None:
            return
        raw = self._compose(order, key, boot, seq)
        order.sends += 1
        order.state = "sent"
        self._send(Downlink(order.node, raw, source))

    def _compose(self, order: Order, key: bytes, boot: int, seq: int) -> bytes:
        try:
            if order.type == wire.T_CONFIG:
                return compose_config(key, order.node, boot, seq, order.id, order.entries)
            numbers = order.numbers
            if order.code in WITH_COUNTER:
                numbers = (self._counters.get(order.node, 0),)
            return compose_command(
                key, order.node, boot, seq, order.id, order.code, arguments(*numbers)
            )
        except (ValueError, struct.error) as error:
            raise OrderError(f"it does not fit into a frame: {error}") from error


def _take(order: Order, outcome: Outcome) -> None:
    """An answer that is final ends the order; "pending" is a promise of another one."""
    if outcome.status == wire.R_PENDING:
        return
    word = names.STATUSES.get(outcome.status, str(outcome.status))
    detail = outcome.data.decode("utf-8", "replace")
    order.state = "done" if outcome.status == wire.R_DONE else "failed"
    order.answer = f"{word}: {detail}" if detail else word
    order.answered.set()
