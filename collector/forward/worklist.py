"""Which frames one sink still has to do, and who takes them next.

Pure bookkeeping over frame ids: done, taken by a lane, held (no time or no decoder yet), waiting
for an address, put off from live to backlog.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Literal, NamedTuple

from collector.ranges import Ranges

ID_MAX = 1 << 62

Lane = Literal["live", "backlog"]


class Cause(NamedTuple):
    """Why a frame is held: its boot has no time yet, or (all 0) it cannot be read or trusted."""

    node: int = 0
    boot: int = 0


UNREADABLE = Cause()


class Worklist:
    """Ids 1..newest, each done, busy, or free to be taken."""

    def __init__(self) -> None:
        self.newest = 0
        self.done = Ranges()
        self.held: dict[Cause, Ranges] = {}
        self._busy = Ranges()
        self._taken = Ranges()
        self._deferred = Ranges()
        self._waiting: dict[int, float] = {}
        self._due: list[tuple[float, int]] = []
        self._live_from = 1

    def restore(self, done: Ranges, newest: int, live_from: int | None) -> None:
        """Begins anew; ids from `live_from` up are live, none when it is None."""
        self.newest = newest
        self.done = done.copy()
        self.held = {}
        self._busy = done.copy()
        self._taken = Ranges()
        self._deferred = Ranges()
        self._waiting = {}
        self._due = []
        self._live_from = ID_MAX if live_from is None else live_from

    def arrived(self, newest: int) -> None:
        """Says which id is the newest that is committed."""
        self.newest = max(self.newest, newest)

    def take(self, lane: Lane, limit: int, now_s: float) -> Ranges:
        """At most `limit` ids for this lane, oldest first; they are the lane's until given back."""
        self._wake_waiting(now_s)
        first, last = (
            (self._live_from, self.newest)
            if lane == "live"
            else (1, min(self._live_from - 1, self.newest))
        )
        taken = _some(self._busy.missing(first, last), limit)
        if not taken and lane == "backlog":
            taken = _some(self._deferred, limit)
            for low, high in taken:
                self._deferred.remove(low, high)
        self._busy.update(taken)
        self._taken.update(taken)
        return taken

    def take_oldest(self, limit: int) -> Ranges:
        """The oldest ids that no lane has, whether free, held, waiting or put off."""
        settled = self.done.copy()
        settled.update(self._taken)
        oldest = _some(settled.missing(1, self.newest), limit)
        for first, last in oldest:
            for frames in self.held.values():
                frames.remove(first, last)
            self._deferred.remove(first, last)
            for frame in range(first, last + 1):
                self._waiting.pop(frame, None)
        self._busy.update(oldest)
        self._taken.update(oldest)
        return oldest

    def catch_up(self, frames_max: int) -> bool:
        """Hands what live is behind with to the backlog; True when there was too much."""
        behind = sum(
            last - first + 1 for first, last in self._busy.missing(self._live_from, self.newest)
        )
        if behind <= frames_max:
            return False
        self._live_from = self.newest + 1
        return True

    def finish(self, ids: Iterable[tuple[int, int]]) -> None:
        """These are done."""
        for first, last in ids:
            self.done.add(first, last)
            self._busy.add(first, last)
            self._taken.remove(first, last)
            self._deferred.remove(first, last)

    def give_back(self, ids: Iterable[tuple[int, int]], lane: Lane = "live") -> None:
        """These may be taken again, by the same lane."""
        for first, last in ids:
            self._taken.remove(first, last)
            if lane == "backlog" and last >= self._live_from:
                self._deferred.add(max(first, self._live_from), last)
                last = self._live_from - 1
            if first <= last:
                self._busy.remove(first, last)

    def defer(self, frame: int) -> None:
        """This one goes to the backlog although it has just arrived."""
        self._taken.remove(frame)
        if frame >= self._live_from:
            self._deferred.add(frame)
        else:
            self._busy.remove(frame)

    def hold(self, frame: int, cause: Cause) -> None:
        """This one cannot be sent while its cause lasts."""
        self._taken.remove(frame)
        self.held.setdefault(cause, Ranges()).add(frame)
        self._busy.add(frame)

    def let_go(self, causes: Iterable[Cause]) -> None:
        """Lets what is held for these causes be looked at again."""
        for cause in causes:
            self.give_back(self.held.pop(cause, ()), "backlog")

    @property
    def held_count(self) -> int:
        """Frames that are held."""
        return sum(frames.count() for frames in self.held.values())

    def wait(self, frame: int, due_s: float) -> None:
        """This one may be taken again at `due_s`."""
        self._taken.remove(frame)
        self._busy.add(frame)
        self._waiting[frame] = due_s
        heapq.heappush(self._due, (due_s, frame))

    def occupy(self, ids: Iterable[tuple[int, int]]) -> None:
        """These are somebody's: claims whose outcome is unknown."""
        for first, last in ids:
            self._busy.add(first, last)
            self._taken.add(first, last)

    def reopen(self, first: int, last: int) -> None:
        """Makes done frames be sent again."""
        self.done.remove(first, last)
        self._busy.remove(first, last)

    def open_count(self) -> int:
        """Frames that are not done."""
        return self.newest - self.done.count() if self.newest else 0

    def next_due_s(self) -> float | None:
        """When the next waiting frame may be taken."""
        return self._due[0][0] if self._due else None

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def _wake_waiting(self, now_s: float) -> None:
        while self._due and self._due[0][0] <= now_s:
            due_s, frame = heapq.heappop(self._due)
            if self._waiting.get(frame) == due_s:
                del self._waiting[frame]
                if frame not in self.done:
                    self.give_back([(frame, frame)], "backlog")


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
