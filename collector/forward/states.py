"""What a frame is at one sink, and everything that can happen to it there.

Theory of operation
===================

Every network is fed from the archive's log of frames; nothing is copied for it. What a sink keeps
is, for each frame, one of the states below. Two *lanes* take free frames: `live` what arrives from
now on, `backlog` the rest, oldest first, while live has nothing to send.

A lane works in *windows*: it takes frames, reads and renders them, leaves out what this network is
spared, and commits a *claim*: from now on these frames may be sent. Only then readings are handed
over, in requests. What came of each reading is noted on its frame, and when the window ends, on
the *books*. A claim is let go when none of its frames is claimed or unknown any more; that, and
all that was noted, is written with the next commit, mostly that of the next claim.

So the disk is never behind the network: a frame whose readings may be there is done, or it is in a
claim. After a kill nobody knows what became of a claim's frames: they are *unknown*, as are frames
whose request got no answer. Nothing else is sent before that is found out: by asking the network;
or, where it cannot be asked and would not notice a reading that it has, by the sink's policy, and
the readings are counted as *possible duplicates*.

A frame is *done* when each of its readings is settled: delivered, rejected, left out, or expired,
and counted as that. Readings of an open frame that are settled are a mask of bits in the books.

Rules: this module alone moves frames from state to state; what `TABLE` does not have cannot happen,
and raises `Impossible`. It knows ids, not what is in frames, and does no I/O.
"""

import heapq
from collections.abc import Iterable
from enum import Enum
from typing import Literal, NamedTuple

from collector.ranges import Ranges

NEVER = 1 << 62

Lane = Literal["live", "backlog"]


class State(Enum):
    """Where a frame stands. Free is whatever is in none of the others."""

    FREE = "free: its lane may take it"
    PUT_OFF = "put off: free, and the backlog's although it came for live"
    TAKEN = "taken: a lane reads and renders it; nothing of it is sent yet"
    CLAIMED = "claimed: its readings may be at the network by now"
    UNKNOWN = "unknown: nobody can say whether the network has its readings"
    WAITING = "waiting: not to be sent before a time that the network or a doubt has set"
    HELD = "held: it has no time yet, or this version cannot read it"
    DONE = "done: each of its readings is settled"


class Event(Enum):
    """What happens to a frame."""

    TAKEN = "a lane takes it"
    RETURNED = "its window was full, could not be read, or was not claimed"
    OLD = "live finds that its readings are old"
    UNREADABLE = "it has no time or no decoder"
    EMPTY = "nothing of it is for this network, or it is not in the archive any more"
    RETRY = "some of its readings have to wait"
    CLAIM_COMMITTED = "the claim that holds it is committed"
    SETTLED = "its last open reading was accepted, rejected or left out"
    NOT_SENT = "the window ends, by a stop or a network that waits, before all of it was sent"
    NO_ANSWER = "readings were handed over, and no answer came"
    THERE = "the network has the rest of it, or the policy takes that for granted"
    NOT_THERE = "the network lacks some of it, or the policy is to send it again"
    DUE = "its waiting time is over"
    READABLE = "times or a decoder arrived"
    EXPIRED = "it is too old, or there are too many, or retention removes it"
    GONE = "it is not in the archive any more"
    REOPENED = "a replay is being written that sends its settled readings again"
    REPLAYED = "a replay is written"
    RESTART = "the collector starts, after a stop or a kill"


class Move(NamedTuple):
    """A row of the table: in this state, at this event, that follows, and this is counted."""

    state: State
    event: Event
    follows: State
    counted: str = ""


_S, _E = State, Event
TABLE = (
    Move(_S.FREE, _E.TAKEN, _S.TAKEN),
    Move(_S.PUT_OFF, _E.TAKEN, _S.TAKEN),
    Move(_S.TAKEN, _E.RETURNED, _S.FREE),
    Move(_S.TAKEN, _E.OLD, _S.PUT_OFF),
    Move(_S.TAKEN, _E.UNREADABLE, _S.HELD),
    Move(_S.TAKEN, _E.EMPTY, _S.DONE, "left out"),
    Move(_S.TAKEN, _E.RETRY, _S.WAITING),
    Move(_S.TAKEN, _E.CLAIM_COMMITTED, _S.CLAIMED),
    Move(_S.CLAIMED, _E.SETTLED, _S.DONE, "delivered, rejected, left out"),
    Move(_S.CLAIMED, _E.RETRY, _S.WAITING, "what is settled; possible duplicates"),
    Move(_S.CLAIMED, _E.NOT_SENT, _S.FREE, "what is settled; possible duplicates"),
    Move(_S.CLAIMED, _E.NO_ANSWER, _S.UNKNOWN, "what is settled"),
    Move(_S.UNKNOWN, _E.THERE, _S.DONE, "delivered, left out; possible duplicates"),
    Move(_S.UNKNOWN, _E.NOT_THERE, _S.PUT_OFF, "what is settled; possible duplicates"),
    Move(_S.WAITING, _E.DUE, _S.PUT_OFF),
    Move(_S.HELD, _E.READABLE, _S.PUT_OFF),
    *(
        move
        for idle in (_S.FREE, _S.PUT_OFF, _S.WAITING, _S.HELD)
        for move in (
            Move(idle, _E.EXPIRED, _S.DONE, "expired: what is not settled"),
            Move(idle, _E.GONE, _S.DONE),
            Move(idle, _E.REOPENED, _S.TAKEN),
            Move(idle, _E.RESTART, _S.FREE),
        )
    ),
    Move(_S.UNKNOWN, _E.EXPIRED, _S.DONE, "expired: what is not settled"),
    Move(_S.UNKNOWN, _E.GONE, _S.DONE),
    Move(_S.DONE, _E.REPLAYED, _S.FREE),
    Move(_S.TAKEN, _E.RESTART, _S.FREE),
    Move(_S.CLAIMED, _E.RESTART, _S.UNKNOWN),
    Move(_S.UNKNOWN, _E.RESTART, _S.UNKNOWN),
    Move(_S.DONE, _E.RESTART, _S.DONE),
)
IDLE = (State.FREE, State.PUT_OFF, State.WAITING, State.HELD)
EXPIRABLE = (*IDLE, State.UNKNOWN)

_MOVES = {
    event: tuple((move.state, move.follows) for move in TABLE if move.event is event)
    for event in Event
}


class Impossible(Exception):
    """Something happened to a frame that cannot happen in its state: a bug."""


class Cause(NamedTuple):
    """Why a frame is held: its boot has no time yet, or (all 0) it cannot be read or trusted."""

    node: int = 0
    boot: int = 0


UNREADABLE = Cause()


class Frames:
    """Ids 1..newest, each in one state; ids from `live_from` up are live's.

    Made anew at each start, which is the event RESTART: what the books call done is done, what is
    in a claim is unknown, and all else is free.
    """

    def __init__(
        self,
        done: Iterable[tuple[int, int]] = (),
        unknown: Iterable[tuple[int, int]] = (),
        newest: int = 0,
        live_from: int | None = None,
    ) -> None:
        self.newest = newest
        self._in: dict[State, Ranges] = {state: Ranges() for state in State if state != State.FREE}
        self._in[State.DONE] = Ranges(done)
        self._in[State.UNKNOWN] = Ranges(unknown)
        self._busy = Ranges([*self._in[State.DONE], *self._in[State.UNKNOWN]])
        self._live_from = NEVER if live_from is None else live_from
        self._causes: dict[Cause, Ranges] = {}
        self._due_s: dict[int, float] = {}
        self._due: list[tuple[float, int]] = []

    def happened(self, event: Event, ids: Ranges, lane: Lane = "live") -> None:
        """Moves frames as the table says; what the backlog gives back stays the backlog's.

        Raises Impossible, and moves none, when it does not have one of them.
        """
        moves = [(state, follows, self._those(state, ids)) for state, follows in _MOVES[event]]
        if sum(moving.count() for _, _, moving in moves) != ids.count():
            raise Impossible(f"{event.name} cannot happen to {self._explain(event, ids)}")
        for state, follows, moving in moves:
            if moving:
                if follows is State.FREE and lane == "backlog":
                    follows = State.PUT_OFF
                self._move(moving, state, follows)

    def arrived(self, newest: int) -> None:
        """Says which id is the newest that is committed."""
        self.newest = max(self.newest, newest)

    def take(self, lane: Lane, limit: int, now_s: float) -> Ranges:
        """At most `limit` ids for this lane, oldest first; they are taken now."""
        self._wake(now_s)
        first, last = (
            (self._live_from, self.newest)
            if lane == "live"
            else (1, min(self._live_from - 1, self.newest))
        )
        taken = _some(self._busy.missing(first, last), limit)
        if not taken and lane == "backlog":
            taken = _some(self._in[State.PUT_OFF], limit)
        if taken:
            self.happened(Event.TAKEN, taken)
        return taken

    def catch_up(self, frames_max: int) -> bool:
        """Hands what live is behind with to the backlog; True when there was too much."""
        behind = sum(
            last - first + 1 for first, last in self._busy.missing(self._live_from, self.newest)
        )
        if behind <= frames_max:
            return False
        self._live_from = self.newest + 1
        return True

    def hold(self, frame: int, cause: Cause) -> None:
        """A taken frame is unreadable for this cause."""
        self.happened(Event.UNREADABLE, Ranges([(frame, frame)]))
        self._causes.setdefault(cause, Ranges()).add(frame)

    @property
    def causes(self) -> list[Cause]:
        """What frames are held for."""
        return list(self._causes)

    def readable(self, causes: Iterable[Cause]) -> None:
        """What is held for these causes may be looked at again."""
        ids = Ranges()
        for cause in causes:
            ids.update(self._causes.pop(cause))
        self.happened(Event.READABLE, ids)

    def wait(self, frame: int, due_s: float) -> None:
        """A taken or claimed frame has to wait until `due_s`."""
        self.happened(Event.RETRY, Ranges([(frame, frame)]))
        self._due_s[frame] = due_s
        heapq.heappush(self._due, (due_s, frame))

    def next_due_s(self) -> float | None:
        """When the next waiting frame may be taken."""
        while self._due and self._due_s.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def those(self, states: Iterable[State], ids: Iterable[tuple[int, int]]) -> Ranges:
        """The frames of these ids that are in one of these states."""
        wanted = ids if isinstance(ids, Ranges) else Ranges(ids)
        found = Ranges()
        for state in states:
            found.update(self._those(state, wanted))
        return found

    def oldest_expirable(self, limit: int) -> Ranges:
        """The oldest ids that are open, and that no lane has."""
        under_way = self._in[State.DONE].copy()
        for state in (State.TAKEN, State.CLAIMED):
            under_way.update(self._in[state])
        return _some(under_way.missing(1, self.newest), limit)

    def first_open(self) -> int:
        """The oldest id that is not done, or that is still to come."""
        return self._in[State.DONE].covered_up_to(1) + 1

    def count(self, *states: State) -> int:
        """How many frames are in one of these states; free ones are not counted so."""
        return sum(self._in[state].count() for state in states)

    def open_count(self) -> int:
        """Frames that are not done."""
        return self.newest - self._in[State.DONE].count() if self.newest else 0

    def _those(self, state: State, ids: Ranges) -> Ranges:
        if state is State.FREE:
            return Ranges(
                part for first, last in ids
                for part in self._busy.missing(first, min(last, self.newest))
            )  # fmt: skip
        there = self._in[state]
        return Ranges(part for first, last in ids for part in there.overlap(first, last))

    def _move(self, ids: Ranges, state: State, follows: State) -> None:
        if state is not State.FREE:
            _remove(self._in[state], ids)
        if state is State.WAITING:
            for first, last in ids:
                for frame in range(first, last + 1):
                    del self._due_s[frame]
        elif state is State.HELD:
            for cause, held in list(self._causes.items()):
                _remove(held, ids)
                if not held:
                    del self._causes[cause]
        if follows is State.PUT_OFF:  # below `live_from` all that is free is the backlog's
            _remove(self._busy, ids.overlap(0, self._live_from - 1))
            ids = Ranges(ids.overlap(self._live_from, NEVER))
        if follows is State.FREE:
            _remove(self._busy, ids)
        else:
            self._in[follows].update(ids)
            self._busy.update(ids)

    def _wake(self, now_s: float) -> None:
        while (due_s := self.next_due_s()) is not None and due_s <= now_s:
            _, frame = heapq.heappop(self._due)
            self.happened(Event.DUE, Ranges([(frame, frame)]))

    def _explain(self, event: Event, ids: Ranges) -> str:
        possible = {move.state for move in TABLE if move.event is event}
        wrong = (
            f"{state.name} {list(found)[:3]}"
            for state in State
            if state not in possible and (found := self._those(state, ids))
        )
        return "; ".join(wrong) or f"frames that are not there yet: {list(ids)[:3]}"


def _remove(ranges: Ranges, ids: Iterable[tuple[int, int]]) -> None:
    for first, last in ids:
        ranges.remove(first, last)


def _some(ranges: Iterable[tuple[int, int]], limit: int) -> Ranges:
    """The first `limit` numbers of these ranges."""
    found = Ranges()
    room = limit
    for first, last in ranges:
        if room <= 0:
            break
        last = min(last, first + room - 1)
        found.add(first, last)
        room -= last - first + 1
    return found
