"""Groups of readings out to one network, and what became of each of them.

Waits for tokens, honours gates, halves what is refused whole, tells a bad reading from a network
that refuses everything or is down, and reads back what got no answer. Knows nothing of frames'
ranges or of the archive.
"""

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from collector.forward.limits import Limits, RequestSize, Way
from collector.forward.refusals import Cuts, Doubts, Key, halves, key_of
from collector.forward.selection import UnknownPolicy
from collector.readings.observation import Channel, Observation
from collector.sinks.base import (
    ACCEPTED,
    Accepted,
    AccessDenied,
    Failed,
    Group,
    NoAnswer,
    NotSent,
    Outcome,
    Refused,
    Rejected,
    Retry,
    Sink,
    SinkError,
    TimedOut,
    TooLarge,
    Unknown,
)

log = logging.getLogger(__name__)

PATIENCE_S = 2.0
FAILURES_BEFORE_BISECTION = 3
NETWORK_SILENT_AFTER = 3
RETRY_S = 30.0
GROUP_WAIT_S = 3600.0
LOOK_AGAIN_S = 300.0
REFUSALS_IN_A_ROW = 6
FAILING_MAX = 10_000
READ_BACK_READINGS = 2_000
READBACK_ATTEMPTS = 3
UNGROUPED_S = 300.0
REASONS_LOGGED_MAX = 200


@dataclass(slots=True)
class Results:
    """What became of the readings of some groups; readings in none of the lists go out again.

    `resent` are readings that went out twice although the network may hold them.
    """

    accepted: list[Observation] = field(default_factory=list)
    rejected: list[tuple[Observation, str]] = field(default_factory=list)
    unknown: list[Observation] = field(default_factory=list)
    delayed: list[tuple[Observation, float]] = field(default_factory=list)
    resent: list[Observation] = field(default_factory=list)


@dataclass(slots=True)
class SenderCounters:
    """Requests of one sink since start."""

    requests: int = 0
    failures: int = 0
    bisections: int = 0
    read_backs: int = 0


class NetworkWaits(Exception):
    """The network is not to be asked before its gate opens."""


class Blamed(Exception):
    """A call failed because of what was asked for, perhaps; a smaller one may not."""


class AllRefused(Exception):
    """Nothing of what was tried this way got through."""

    def __init__(self, cause: Refused | Failed) -> None:
        super().__init__(cause.reason)
        self.cause = cause


@dataclass(slots=True)
class Search:
    """What is still to go of one group, and what came of the rest.

    `row` are the readings refused alone since anything got through. `failing`: the server failed
    on this again and again, and a failure counts as a refusal. `crashing`: our own code did.
    """

    way: Way
    pending: deque[Group]
    part: Group
    accepted: bool = False
    failing: bool = False
    crashing: bool = False
    row: list[Observation] = field(default_factory=list)
    suspects: list[tuple[Observation, str]] = field(default_factory=list)

    @classmethod
    def for_one(cls, way: Way, reading: Observation) -> "Search":
        """A reading that is asked for alone; a failure is as good as a refusal."""
        return cls(way, deque(), Group(way.address, [reading]), failing=True)

    def next(self) -> Group:
        """The earliest part, or after a refusal the latest: what is bad often lies together."""
        self.part = self.pending.popleft() if len(self.row) & 1 else self.pending.pop()
        return self.part


class Sender:
    """Sends groups one after another, and asks what became of those that got no answer.

    on_unknown: what is assumed of a reading that got none, where the network cannot be asked and
    would not notice that it has it.
    """

    def __init__(self, sink: Sink, limits: Limits, on_unknown: UnknownPolicy = "resend") -> None:
        self.counters = SenderCounters()
        self.doubts = Doubts(limits.chance)
        self.size = RequestSize(sink.capabilities.largest_batch)
        self._sink = sink
        self._on_unknown = on_unknown
        self._limits = limits
        self._turn = asyncio.Lock()
        self._failed: dict[Key, int] = {}
        self._crashes: set[Key] = set()
        self._cuts = Cuts()
        self._silent: set[Way] = set()
        self._well: set[str] = set()
        self._logged: set[tuple[str, str]] = set()

    @property
    def asks(self) -> bool:
        """Whether the network is asked what became of a reading."""
        traits = self._sink.capabilities
        return traits.reads_back and not traits.idempotent

    def gates_wait_s(self, lane: str) -> float:
        """Seconds until this lane may send anything at all."""
        return self._limits.gates_wait_s(lane, self._now())

    def split(self, readings: Sequence[Observation], results: Results) -> Sequence[Group]:
        """The sink's groups; a reading that it cannot group is rejected if it can group others."""
        try:
            return list(self._sink.split(readings))
        except Exception as error:
            reason = f"crashed: {type(error).__name__} while it was grouped"
            log.exception("%s: cannot group readings", self._sink.name)
        groups: list[Group] = []
        refused: list[Observation] = []
        for reading in readings:
            try:
                groups += self._sink.split([reading])
            except Exception:
                refused.append(reading)
        if groups:
            results.rejected += [(reading, reason) for reading in refused]
        else:
            results.delayed += [(reading, UNGROUPED_S) for reading in refused]
        return groups

    async def send(self, group: Group, results: Results, lane: str = "backlog") -> None:
        """Sends one group. Raises NetworkWaits when the rest of the lane has to wait too."""
        way = Way(group.address, lane)
        wait_s = self._limits.way_wait_s(way, self._now())
        if wait_s > PATIENCE_S:
            self._wait(way, [group], wait_s, results)
            return
        await asyncio.sleep(wait_s)
        if self._limits.in_doubt(way):
            group = await self._try_way(way, group, results)
        group, suspects = await self._set_apart(way, group, results)
        if group.observations:
            await self._send_group(way, group, results)
        for observation in suspects:
            await self._ask_again(way, observation, results)

    async def _send_group(self, way: Way, group: Group, results: Results) -> None:
        search = Search(way, deque(self._cuts.parts(group)), group)
        try:
            await self._search(search, results)
        except (AccessDenied, Failed, NetworkWaits, AllRefused) as interruption:
            rest = [search.part, *search.pending]
            if search.part is not group and (
                search.accepted or not isinstance(interruption, AllRefused)
            ):
                self._cuts.remember(rest)
            if isinstance(interruption, NetworkWaits):
                raise
            rest += [Group(way.address, [reading]) for reading, _ in search.suspects]
            self._wait(way, rest, self._close(search, interruption), results)
            return
        await self._judge(search, results)

    async def _try_way(self, way: Way, group: Group, results: Results) -> Group:
        """Asks for one reading by chance where nothing got through; returns what may go now."""
        readings = group.observations
        fresh = [o for o in readings if self.doubts.suspect(o) is None]
        if not fresh and any(s.witnessed for o in readings if (s := self.doubts.suspect(o))):
            return group
        one = self._limits.chance.choice(fresh or readings)
        search = Search.for_one(way, one)
        cause: AccessDenied | AllRefused | None = None
        try:
            await self._request(search, search.part, results)
        except (Refused, Failed) as refusal:
            cause = AllRefused(refusal)
        except (AccessDenied, AllRefused) as denial:
            cause = denial
        if cause is None and search.suspects:
            cause = AllRefused(Refused(search.suspects[-1][1]))
        if cause is not None:
            self._wait(way, [group], self._close(search, cause), results)
            return Group(way.address, [])
        return Group(way.address, [o for o in readings if o is not one])

    async def _search(self, search: Search, results: Results) -> None:
        """Sends all parts, halving what is refused. Raises AllRefused when nothing gets through."""
        while search.pending:
            part = self._fitting(search.next(), search)
            if not search.pending:
                await self._confirm(search, results)
            if self._failed.get(key_of(part), 0) >= FAILURES_BEFORE_BISECTION:
                search.failing = True
            try:
                await self._request(search, part, results)
            except Failed as failure:
                if not search.failing:
                    raise
                self._refused(search, part, failure, results)
            except Refused as refusal:
                self._refused(search, part, refusal, results)
            else:
                self._failed.pop(key_of(part), None)
                self._cuts.forget(part)

    def _fitting(self, part: Group, search: Search) -> Group:
        """As much of a part as one request may hold; the rest stays for later."""
        limit = self.size.limit
        if limit is not None and len(part.observations) > limit:
            search.pending.append(Group(part.address, part.observations[limit:]))
            part = Group(part.address, part.observations[:limit])
            search.part = part
        return part

    def _refused(
        self, search: Search, part: Group, cause: Refused | Failed, results: Results
    ) -> None:
        """Halves what was refused whole; a reading that was refused alone is suspect."""
        if isinstance(cause, TooLarge):
            self.size.too_large(len(part.observations))
        if len(part.observations) > 1:
            self.counters.bisections += 1
            search.pending.extend(halves(part))
            return
        self._suspect(search, part.observations[0], cause, results)
        self._cuts.forget(part)

    def _suspect(
        self, search: Search, reading: Observation, cause: Refused | Failed, results: Results
    ) -> None:
        """Notes a reading that was refused alone; ends the search when nothing gets through."""
        self.doubts.refused(search.way.address, reading, cause.reason, self._now())
        search.suspects.append((reading, cause.reason))
        search.row.append(reading)
        if len(search.row) >= REFUSALS_IN_A_ROW:
            raise AllRefused(cause)
        if self._hold(search, reading, cause.reason):
            self._take_out(search, reading.channel, results)

    async def _confirm(self, search: Search, results: Results) -> None:
        """Asks again for suspects before the last part, which then tells that all was well."""
        for reading, _ in search.suspects:
            suspect = self.doubts.suspect(reading)
            while suspect and suspect.witnessed and not suspect.proven:
                if not await self._ask(search.way, reading, results):
                    break

    def _hold(self, search: Search, reading: Observation, reason: str) -> bool:
        """Holds the reading's channel where that alone is refused."""
        if not search.accepted:
            return False
        held = self.doubts.hold(search.way.address, reading.channel, reason, self._now())
        if held:
            channel = reading.channel
            self._say(
                "a channel is refused and waits", reason, f": {channel.node.name} {channel.key}"
            )
        return held

    def _take_out(self, search: Search, channel: Channel, results: Results) -> None:
        """Takes a held channel's readings out of what is still to go."""
        gate = self.doubts.held(search.way.address, channel)
        wait_s = gate.wait_s(self._now()) if gate else RETRY_S
        kept: deque[Group] = deque()
        for part in search.pending:
            rest = [o for o in part.observations if o.channel != channel]
            results.delayed += [(o, wait_s) for o in part.observations if o.channel == channel]
            if rest:
                kept.append(Group(part.address, rest))
        search.pending = kept

    async def _judge(self, search: Search, results: Results) -> None:
        """Asks again for suspects that others like them have passed; the others wait."""
        if search.suspects and not search.accepted:
            cause = Refused(search.suspects[-1][1])
            alone = [Group(search.way.address, [reading]) for reading, _ in search.suspects]
            wait_s = self._close(search, AllRefused(cause))
            self._wait(search.way, alone, wait_s, results)
            return
        for reading, _ in search.suspects:
            await self._ask_again(search.way, reading, results)

    async def _ask_again(self, way: Way, reading: Observation, results: Results) -> None:
        """Asks for a suspect alone, if it is time; rejects it when it is guilty."""
        while (suspect := self.doubts.suspect(reading)) is not None:
            wait_s = suspect.due_s - self._now()
            if suspect.guilty:
                self._blame(reading, suspect.reason, results)
            elif wait_s > 0 and (suspect.proven or not suspect.witnessed):
                results.delayed.append((reading, min(wait_s, LOOK_AGAIN_S)))
                return
            elif not await self._ask(way, reading, results):
                return

    async def _ask(self, way: Way, reading: Observation, results: Results) -> bool:
        """Asks for a suspect alone; True when it was refused once more."""
        search = Search.for_one(way, reading)
        try:
            await self._request(search, search.part, results)
        except (Refused, Failed) as cause:
            self.doubts.refused(way.address, reading, cause.reason, self._now())
            return True
        except AccessDenied as denial:
            self._wait(way, [search.part], self._close(search, denial), results)
            return False
        return bool(search.suspects)

    def _blame(self, reading: Observation, reason: str, results: Results) -> None:
        results.rejected.append((reading, reason))
        self.doubts.forget(reading)

    async def _set_apart(
        self, way: Way, group: Group, results: Results
    ) -> tuple[Group, list[Observation]]:
        """What may go at once, and suspects; of channels that are held one reading is tried."""
        if not self.doubts:
            return group, []
        free: list[Observation] = []
        suspects: list[Observation] = []
        held: dict[Channel, list[Observation]] = {}
        for observation in group.observations:
            if self.doubts.held(way.address, observation.channel) is not None:
                held.setdefault(observation.channel, []).append(observation)
            elif self.doubts.suspect(observation) is not None:
                suspects.append(observation)
            else:
                free.append(observation)
        for channel, readings in held.items():
            await self._try_channel(way, channel, readings, results)
        return Group(group.address, free), suspects

    async def _try_channel(
        self, way: Way, channel: Channel, readings: Sequence[Observation], results: Results
    ) -> None:
        """Asks for the newest reading of a held channel; all wait for the next time.

        Those that were refused least often come first: in a channel that has fallen silent the
        newest may be a bad one.
        """
        gate = self.doubts.held(way.address, channel)
        assert gate is not None
        wait_s = gate.wait_s(self._now())
        if wait_s <= 0:
            newest = min(readings, key=lambda o: (self.doubts.refusals(o), -o.time_ms))
            search = Search.for_one(way, newest)
            try:
                await self._request(search, search.part, results)
            except (Refused, Failed) as cause:
                self.doubts.refused(way.address, newest, cause.reason, self._now())
                wait_s = gate.doubted(self._now(), cause.reason)
            except AccessDenied as denial:
                wait_s = self._close(search, denial)
            else:
                if search.suspects:
                    wait_s = gate.doubted(self._now(), search.suspects[-1][1])
                else:
                    readings = [o for o in readings if o is not newest]
        results.delayed += [(o, wait_s) for o in readings]

    def _close(self, search: Search, cause: AccessDenied | Failed | AllRefused) -> float:
        """Closes the gate of the way that a part went; returns for how long.

        When several ways in a row let nothing through, it is the network that waits.
        """
        way, now_s = search.way, self._now()
        gate = self._limits.way_gate(way)
        where = f" for {way.address}" if way.address else ""
        if isinstance(cause, AllRefused):
            self.doubts.distrust(way.address)
        elif isinstance(cause, Failed):
            if len(self._failed) >= FAILING_MAX:
                self._failed.clear()
            key = key_of(search.part)
            self._failed[key] = self._failed.get(key, 0) + 1
        failure = cause.cause if isinstance(cause, AllRefused) else cause
        reason = failure.reason
        if isinstance(failure, AccessDenied):
            self._say("access denied", reason, where)
            if not way.address:
                return self._limits.gate.denied(now_s, reason)
            wait_s = gate.denied(now_s, reason)
        elif isinstance(failure, Failed):
            wait_s = gate.failed(now_s, reason, failure.after_s)
        else:
            self._say("everything is refused, so it waits", reason, where)
            wait_s = gate.doubted(now_s, reason)
        self._well.discard(way.lane)
        self._silent.add(way)
        if len(self._silent) >= NETWORK_SILENT_AFTER:
            self._limits.gate.doubted(now_s, reason)
        return wait_s

    async def call(
        self, request: Callable[[], Awaitable[None]], *, divisible: bool = False
    ) -> None:
        """Prepares or provisions. Raises NetworkWaits, with the gate closed, when that fails.

        Raises Blamed instead when it is `divisible` and what was asked for may be the cause.
        """
        await self._open(None)
        async with self._turn:
            try:
                await request()
            except AccessDenied as denial:
                self._say("access denied", denial.reason)
                self._limits.gate.denied(self._now(), denial.reason)
                raise NetworkWaits(denial.reason) from None
            except NotSent as absence:
                self._limits.gate.failed(self._now(), absence.reason, absence.after_s)
                raise NetworkWaits(absence.reason) from None
            except NoAnswer as silence:
                self._limits.gate.failed(self._now(), silence.reason)
                raise NetworkWaits(silence.reason) from None
            except Exception as error:
                reason = error.reason if isinstance(error, SinkError) else self._crash(error)
                if divisible:
                    raise Blamed(reason) from None
                self._say("cannot be prepared", reason)
                self._limits.gate.denied(self._now(), reason)
                raise NetworkWaits(reason) from None
            self._limits.gate.succeeded()

    def presume(self, results: Results) -> None:
        """Decides about unknown readings where the network is not asked: they go out again, and
        are counted where that may make two of them, or are taken for accepted."""
        if self.asks:
            return
        if not self._sink.capabilities.idempotent:
            results.resent += results.unknown
            if self._on_unknown == "leave":
                results.accepted += results.unknown
        results.unknown = []

    async def look_for(self, results: Results) -> None:
        """Finds out about unknown readings; those that the network cannot tell of now stay so."""
        self.presume(results)
        while part := results.unknown[:READ_BACK_READINGS]:
            try:
                held = await self._read_back(part)
            except NetworkWaits:
                return
            if held is None:
                return
            del results.unknown[: len(part)]
            results.accepted += [o for o, there in zip(part, held, strict=True) if there]
            results.resent += [o for o, there in zip(part, held, strict=True) if there is None]

    def cannot_tell(self) -> NoReturn:
        """Closes the gate for a network that does not say what it has. Raises NetworkWaits."""
        reason = "cannot read back what was sent"
        self._limits.gate.failed(self._now(), reason)
        raise NetworkWaits(reason)

    async def _read_back(self, lost: Sequence[Observation]) -> Sequence[bool | None] | None:
        """Which of these the network holds, None when it cannot tell now, or never of one."""
        await asyncio.sleep(self._sink.capabilities.readback_delay_s)
        for _ in range(READBACK_ATTEMPTS):
            reason = ""
            try:
                return await self._look(lost)
            except SinkError as error:
                reason = error.reason
            self._limits.gate.failed(self._now(), f"read-back: {reason}")
            if self._limits.gate.wait_s(self._now()) > PATIENCE_S:
                return None
        return None

    async def _look(self, lost: Sequence[Observation]) -> Sequence[bool | None] | None:
        """Asks for all of these; None for a reading that our own code fails on."""
        found: dict[int, bool | None] = {}
        held: Sequence[bool | None] | None
        pending, crashes = [lost], 0
        while pending:
            part = pending.pop()
            await self._open(None)
            async with self._turn:
                self._limits.take("", self._now())
                self.counters.read_backs += 1
                try:
                    held = await self._sink.read_back(part)
                    if held is not None and len(held) != len(part):
                        raise NoAnswer("it answers for another number of readings")
                except SinkError:
                    raise
                except Exception as error:
                    reason = self._crash(error)
                    if len(part) > 1:
                        middle = len(part) // 2
                        pending += [part[middle:], part[:middle]]
                        continue
                    crashes += 1
                    if crashes >= REFUSALS_IN_A_ROW:
                        raise NoAnswer(reason) from None
                    held = [None]
            if held is None:
                return None
            found.update(zip(map(id, part), held, strict=True))
        return [found[id(o)] for o in lost]

    async def _request(self, search: Search, part: Group, results: Results) -> None:
        """One request. Raises Refused, Failed, AccessDenied, NetworkWaits for all of it."""
        way = search.way
        await self._open(way)
        async with self._turn:
            self._limits.take(way.address, self._now())
            self.counters.requests += 1
            try:
                outcomes = await self._sink.send(part.observations)
                if len(outcomes) != len(part.observations):
                    raise NoAnswer("the answer does not match the request")
            except NoAnswer as silence:
                self.counters.failures += 1
                if isinstance(silence, TimedOut):
                    self.size.timed_out(len(part.observations))
                self._no_answer(way, part, silence.reason, results)
                return
            except (Failed, AccessDenied, Refused):
                self.counters.failures += 1
                raise
            except NotSent as absence:
                self.counters.failures += 1
                self._limits.gate.failed(self._now(), absence.reason, absence.after_s)
                raise NetworkWaits(absence.reason) from None
            except Exception as error:
                self.counters.failures += 1
                self._crashed(search, part, error, results)
                return
            except BaseException:
                results.unknown += part.observations
                raise
        self._take(search, part, outcomes, results)

    def _no_answer(self, way: Way, part: Group, reason: str, results: Results) -> None:
        results.unknown += part.observations
        self._limits.gate.failed(self._now(), reason)
        if not way.address:
            self._limits.way_gate(way).failed(self._now(), reason)

    def _crashed(self, search: Search, part: Group, error: Exception, results: Results) -> None:
        """Our own code failed on this part. Whether it had been sent nobody knows.

        The first time that is found out as after a lost answer, where a resend would do harm; then
        it counts as a refusal, so that the reading that it is about is found.
        """
        reason = error.reason if isinstance(error, SinkError) else self._crash(error)
        key = key_of(part)
        harmless = self._sink.capabilities.idempotent
        if not (harmless or search.crashing or search.failing or key in self._crashes):
            if len(self._crashes) >= FAILING_MAX:
                self._crashes.clear()
            self._crashes.add(key)
            self._no_answer(search.way, part, reason, results)
            return
        search.crashing = True
        if not harmless:
            results.resent += part.observations
        raise Refused(reason)

    def _crash(self, error: Exception) -> str:
        """Words for an error that no sink should raise; the log has where it was."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        where = f"{last[0].filename.rsplit('/', 1)[-1]} line {last[0].lineno}" if last else "?"
        reason = f"crashed: {type(error).__name__} at {where}"
        self._say("the sink's own code failed", reason)
        return reason

    def _take(
        self, search: Search, part: Group, outcomes: Sequence[Outcome], results: Results
    ) -> None:
        """Notes the outcomes of an answer."""
        way, readings = search.way, part.observations
        if outcomes.count(ACCEPTED) == len(readings):
            results.accepted += readings
            self._through(search, readings)
            self.size.succeeded(len(readings))
            return
        pairs = list(zip(readings, outcomes, strict=True))
        through = [o for o, outcome in pairs if isinstance(outcome, Accepted)]
        if through:
            results.accepted += through
            self._through(search, through)
            self.size.succeeded(len(readings))
        newest: dict[Channel, int] = {}
        for o in through:
            newest[o.channel] = max(o.time_ms, newest.get(o.channel, 0))
        refused: list[tuple[Observation, str]] = []
        for o, outcome in pairs:
            if isinstance(outcome, Unknown):
                results.unknown.append(o)
            elif isinstance(outcome, Retry):
                results.delayed.append((o, outcome.after_s or RETRY_S))
            elif isinstance(outcome, Rejected):
                if newest.get(o.channel, -1) >= o.time_ms:
                    self._blame(o, outcome.reason, results)
                else:
                    refused.append((o, outcome.reason))
        if not through and not refused:
            self._silent.discard(way)
            self._limits.succeeded(way)
        self._refused_in_answer(search, refused, results)

    def _refused_in_answer(
        self, search: Search, refused: Sequence[tuple[Observation, str]], results: Results
    ) -> None:
        """Readings that an answer names as refused, and of which nothing else got through."""
        now_s = self._now()
        for reading, reason in refused:
            self.doubts.refused(search.way.address, reading, reason, now_s)
            search.suspects.append((reading, reason))
            if not search.accepted:
                search.row.append(reading)
            self._hold(search, reading, reason)
        if len(search.row) >= REFUSALS_IN_A_ROW:
            raise AllRefused(Refused(refused[-1][1]))

    def _through(self, search: Search, readings: Iterable[Observation]) -> None:
        """These got through: the way is good."""
        search.accepted = True
        search.row.clear()
        self._silent.clear()
        self._well.add(search.way.lane)
        self._limits.succeeded(search.way)
        self.doubts.accepted(search.way.address, readings, self._now())

    async def _open(self, way: Way | None) -> None:
        """Waits for a token; raises NetworkWaits when the gate stays closed for long."""
        lane = way.lane if way else ""
        while True:
            now_s = self._now()
            if self._limits.gates_wait_s(lane, now_s) > PATIENCE_S:
                raise NetworkWaits(self._limits.reason())
            wait_s = self._limits.wait_s(lane, now_s)
            if wait_s <= 0:
                return
            await asyncio.sleep(wait_s)

    def _wait(self, way: Way, groups: Sequence[Group], wait_s: float, results: Results) -> None:
        """What was not sent waits for its address; without one, for its lane.

        A backlog is not held up by its oldest while the network takes what is new: those go to
        the end of it.
        """
        if way.address:
            for group in groups:
                results.delayed += [(o, wait_s) for o in group.observations]
            return
        if way.lane == "backlog" and "live" in self._well:
            for group in groups:
                results.delayed += [(o, GROUP_WAIT_S) for o in group.observations]
        if wait_s > PATIENCE_S:
            raise NetworkWaits(self._limits.reason())

    def _say(self, what: str, reason: str, where: str = "") -> None:
        """A line in the log, once for each reason; `status` has all places."""
        key = (what, reason.split(":", 1)[0])
        if key not in self._logged:
            if len(self._logged) >= REASONS_LOGGED_MAX:
                self._logged.clear()
            self._logged.add(key)
            log.warning("%s: %s%s: %s", self._sink.name, what, where, reason)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
