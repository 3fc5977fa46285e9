"""What is known of refusals: where groups were cut, and whom a refusal is about.

Finding one bad reading among thousands takes a request for each halving. A busy answer or a lost
connection on the way must not begin the search anew, so the first reading of each part that is
still to go is remembered, and the next group that holds it is cut there.

A reading is to blame when others like it get through, of the same channel, through the same
address, and no older, when it is refused again all the same, and when something gets through after
that, or nothing else is refused in a quiet quarter of an hour. So neither a wrong address, nor a
clock that is ahead, nor a column of another type, nor a network that begins to refuse makes a
reading look bad, nor one that takes what it refused within the hour. Where only a channel's
readings are refused, the channel is held, and one of them is tried from time to time.

Pure state over readings; nothing is kept while nothing is refused.
"""

import random
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from collector.forward.limits import Gate
from collector.readings.observation import Channel, Observation
from collector.sinks.base import Group

CUTS_MAX = 10_000
SUSPECTS_MAX = 10_000
REFUSALS_TO_BLAME = 3
SUSPECTS_OF_A_HELD_CHANNEL = 3
ASK_FIRST_S = 30.0
ASK_LONGEST_S = 3600.0
QUIET_S = 900.0
RECANTED_S = 3600.0


class Key(NamedTuple):
    """A reading, wherever it is grouped."""

    frame: int
    reading: int


def key_of(group: Group) -> Key:
    """The first reading of a group."""
    return key_of_reading(group.observations[0])


def key_of_reading(observation: Observation) -> Key:
    """The reading's name, wherever it is grouped."""
    return Key(observation.frame.id, observation.reading)


def halves(group: Group) -> list[Group]:
    """Both halves, the earlier one last, for it is taken from the end."""
    middle = len(group.observations) // 2
    return [
        Group(group.address, group.observations[middle:]),
        Group(group.address, group.observations[:middle]),
    ]


class Cuts:
    """First readings of parts, the oldest forgotten beyond a limit."""

    def __init__(self, limit: int = CUTS_MAX) -> None:
        self._limit = limit
        self._first: OrderedDict[Key, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._first)

    def remember(self, parts: Iterable[Group]) -> None:
        """These go out later, each for itself."""
        for part in parts:
            self._first[key_of(part)] = None
        while len(self._first) > self._limit:
            self._first.popitem(last=False)

    def forget(self, part: Group) -> None:
        """What begins here got through, or is cut anew."""
        self._first.pop(key_of(part), None)

    def parts(self, group: Group) -> list[Group]:
        """The group cut at the readings that are remembered, the earliest part last."""
        if not self._first:
            return [group]
        readings = group.observations
        starts = [0]
        starts += [i for i, o in enumerate(readings) if i and key_of_reading(o) in self._first]
        ends = [*starts[1:], len(readings)]
        found = [
            Group(group.address, readings[start:end])
            for start, end in zip(starts, ends, strict=True)
        ]
        return found[::-1]


class Line(NamedTuple):
    """A channel at an address."""

    address: str
    channel: Channel


@dataclass(slots=True)
class Suspect:
    """A reading that was refused alone.

    `witnessed`: another like it has got through since. `proven`: it was refused often enough, also
    after that. `guilty`: then something got through, so that the network was well all the time.
    `due_s`: when it is worth asking again.
    """

    line: Line
    time_ms: int
    reason: str
    refusals: int = 1
    witnessed: bool = False
    proven: bool = False
    guilty: bool = False
    asked: int = 0
    due_s: float = 0.0


class Doubts:
    """Suspects and held channels of one network, the oldest forgotten beyond a limit."""

    def __init__(self, chance: random.Random, limit: int = SUSPECTS_MAX) -> None:
        self._chance = chance
        self._limit = limit
        self._suspects: OrderedDict[Key, Suspect] = OrderedDict()
        self._proven: dict[Key, Suspect] = {}
        self._recanted_s = float("-inf")
        self._lines: dict[Line, dict[Key, Suspect]] = {}
        self._held: OrderedDict[Line, Gate] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._suspects or self._held)

    def suspect(self, observation: Observation) -> Suspect | None:
        """What is known against a reading."""
        return self._suspects.get(key_of_reading(observation)) if self._suspects else None

    def refusals(self, observation: Observation) -> int:
        """How often a reading was refused alone."""
        suspect = self.suspect(observation)
        return 0 if suspect is None else suspect.refusals

    def refused(self, address: str, observation: Observation, reason: str, now_s: float) -> None:
        """Notes that a reading was refused alone."""
        key = key_of_reading(observation)
        known = self._suspects.get(key)
        if known is None:
            line = Line(address, observation.channel)
            known = self._suspects[key] = Suspect(line, observation.time_ms, reason)
            self._lines.setdefault(line, {})[key] = known
            if len(self._suspects) > self._limit:
                self._forget(next(iter(self._suspects)))
        else:
            known.refusals += 1
            known.reason = reason
        known.due_s = now_s + min(ASK_FIRST_S * 2 ** min(known.asked, 10), ASK_LONGEST_S)
        known.asked += 1
        if known.proven:
            known.due_s = now_s + QUIET_S
            self._condemn(key, known, now_s)
        elif known.witnessed and known.refusals >= REFUSALS_TO_BLAME:
            known.proven = True
            known.due_s = now_s + QUIET_S
            self._proven[key] = known

    def accepted(self, address: str, observations: Iterable[Observation], now_s: float) -> None:
        """These got through: witnesses against older suspects of their channels.

        Those that were proven before are guilty now.
        """
        if not self:
            return
        newest: dict[Channel, int] = {}
        for observation in observations:
            key = key_of_reading(observation)
            if key in self._suspects:
                self._recanted_s = now_s
                self._forget(key)
            channel, time_ms = observation.channel, observation.time_ms
            if time_ms > newest.get(channel, -1):
                newest[channel] = time_ms
        for key, suspect in list(self._proven.items()):
            if suspect.line.address == address:
                self._condemn(key, suspect, now_s)
        for channel, time_ms in newest.items():
            line = Line(address, channel)
            self._held.pop(line, None)
            for suspect in self._lines.get(line, {}).values():
                if suspect.time_ms <= time_ms and not suspect.witnessed:
                    suspect.witnessed = True
                    suspect.due_s = 0.0

    def forget(self, observation: Observation) -> None:
        """This one is settled."""
        self._forget(key_of_reading(observation))

    def distrust(self, address: str) -> None:
        """Nothing gets through to this address now: what was held against readings counts anew."""
        for suspect in self._suspects.values():
            if suspect.line.address == address:
                suspect.refusals, suspect.witnessed, suspect.proven = 1, False, False
        self._proven = {k: s for k, s in self._proven.items() if s.proven}

    def hold(self, address: str, channel: Channel, reason: str, now_s: float) -> bool:
        """Holds a channel whose readings are refused while others get through; True when it is."""
        line = Line(address, channel)
        suspects = self._lines.get(line, {}).values()
        if sum(not s.witnessed for s in suspects) < SUSPECTS_OF_A_HELD_CHANNEL:
            return False
        gate = self._held.get(line)
        if gate is None:
            gate = self._held[line] = Gate(self._chance)
            if len(self._held) > self._limit:
                self._held.popitem(last=False)
        gate.doubted(now_s, reason)
        return True

    def held(self, address: str, channel: Channel) -> Gate | None:
        """The gate of a channel that is held."""
        return self._held.get(Line(address, channel)) if self._held else None

    def reasons(self) -> dict[str, str]:
        """Channels that are held, with the network's words; for the operator's status."""
        return {
            f"{line.channel.node.name} {line.channel.key}": gate.reason
            for line, gate in self._held.items()
        }

    def _condemn(self, key: Key, suspect: Suspect, now_s: float) -> None:
        """Guilty, unless the network has lately taken a reading that it had refused."""
        if now_s - self._recanted_s >= RECANTED_S:
            suspect.guilty = True
            self._proven.pop(key, None)

    def _forget(self, key: Key) -> None:
        self._proven.pop(key, None)
        suspect = self._suspects.pop(key, None)
        if suspect is not None:
            of_line = self._lines[suspect.line]
            del of_line[key]
            if not of_line:
                del self._lines[suspect.line]
