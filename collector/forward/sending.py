"""Groups of readings out to one network, and what became of each of them.

Waits for tokens, honours gates, halves what is refused whole, tells a bad reading from a server
that is down, and reads back what got no answer. Knows nothing of frames' ranges or of the archive.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from collector.forward.limits import Limits
from collector.readings.observation import Observation
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
    TooLarge,
    Unknown,
)

log = logging.getLogger(__name__)

PATIENCE_S = 2.0
FAILURES_BEFORE_BISECTION = 3
NETWORK_SILENT_AFTER = 3
RETRY_S = 30.0
SUSPECTS_MAX = 6
FAILING_MAX = 10_000
READBACK_ATTEMPTS = 3


@dataclass(slots=True)
class Results:
    """What became of the readings of some groups; readings in none of the lists go out again."""

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


class Sender:
    """Sends groups one after another; `turn` is held while a request is under way."""

    def __init__(self, sink: Sink, limits: Limits) -> None:
        self.counters = SenderCounters()
        self._sink = sink
        self._limits = limits
        self._turn = asyncio.Lock()
        self._failed: dict[tuple[int, int], int] = {}
        self._silent: set[str] = set()

    async def send(self, group: Group, results: Results) -> None:
        """Sends one group. Raises NetworkWaits when the rest has to wait too."""
        wait_s = self._limits.address_wait_s(group.address, self._now())
        if wait_s > PATIENCE_S:
            results.delayed += [(o, wait_s) for o in group.observations]
            return
        await asyncio.sleep(wait_s)
        key = (group.observations[0].frame.id, group.observations[0].reading)
        pending, part = [group], group
        try:
            if self._failed.get(key, 0) >= FAILURES_BEFORE_BISECTION:
                pending.clear()
                await self._probe(group, results)
            while pending:
                part = pending.pop()
                try:
                    await self._request(part, results)
                except (Refused, TooLarge) as refusal:
                    pending += self._halves(part, refusal, results)
            self._failed.pop(key, None)
        except AccessDenied as denial:
            gate = self._limits.address_gate(group.address)
            wait_s = gate.denied(self._now(), denial.reason)
            where = f" for {group.address}" if group.address else ""
            log.warning("%s: access denied%s: %s", self._sink.name, where, denial.reason)
            self._later([part, *pending], wait_s, results)
        except Failed as failure:
            if len(self._failed) >= FAILING_MAX:
                self._failed.clear()
            self._failed[key] = self._failed.get(key, 0) + 1
            self._later([part, *pending], self._failure(part.address, failure), results)

    async def call(self, request: Callable[[], Awaitable[None]]) -> None:
        """Prepares or provisions. Raises NetworkWaits, with the gate closed, when that fails."""
        await self._open()
        async with self._turn:
            try:
                await request()
            except AccessDenied as denial:
                self._limits.gate.denied(self._now(), denial.reason)
                log.warning("%s: access denied: %s", self._sink.name, denial.reason)
                raise NetworkWaits(denial.reason) from None
            except NotSent as absence:
                self._limits.gate.failed(self._now(), absence.reason, absence.after_s)
                raise NetworkWaits(absence.reason) from None
            except NoAnswer as silence:
                self._limits.gate.failed(self._now(), silence.reason)
                raise NetworkWaits(silence.reason) from None
            except SinkError as refusal:
                self._limits.gate.denied(self._now(), refusal.reason)
                log.warning("%s: cannot be prepared: %s", self._sink.name, refusal.reason)
                raise NetworkWaits(refusal.reason) from None
            self._limits.gate.succeeded()

    async def read_back(self, lost: Sequence[Observation]) -> Sequence[bool] | None:
        """Which of these the network holds, None when it cannot tell now."""
        await asyncio.sleep(self._sink.capabilities.readback_delay_s)
        for _ in range(READBACK_ATTEMPTS):
            await self._open()
            async with self._turn:
                self._limits.take("", self._now())
                self.counters.read_backs += 1
                try:
                    return await self._sink.read_back(lost)
                except SinkError as error:
                    reason = error.reason
            self._limits.gate.failed(self._now(), f"read-back: {reason}")
            if self._limits.gate.wait_s(self._now()) > PATIENCE_S:
                return None
        return None

    async def _request(self, group: Group, results: Results) -> None:
        await self._open()
        async with self._turn:
            now_s = self._now()
            self._limits.take(group.address, now_s)
            self.counters.requests += 1
            try:
                outcomes = await self._sink.send(group.observations)
            except NoAnswer as silence:
                self.counters.failures += 1
                self._limits.gate.failed(self._now(), silence.reason)
                results.unknown += group.observations
                return
            except (Failed, AccessDenied, Refused, TooLarge):
                self.counters.failures += 1
                raise
            except NotSent as absence:
                self.counters.failures += 1
                self._limits.gate.failed(self._now(), absence.reason, absence.after_s)
                raise NetworkWaits(absence.reason) from None
        self._take(group, outcomes, results)

    def _take(self, group: Group, outcomes: Sequence[Outcome], results: Results) -> None:
        if len(outcomes) != len(group.observations):
            results.unknown += group.observations
            self._limits.gate.failed(self._now(), "the answer does not match the request")
            return
        if all(outcome is ACCEPTED for outcome in outcomes):
            results.accepted += group.observations
        else:
            for observation, outcome in zip(group.observations, outcomes, strict=True):
                _note(observation, outcome, results)
        self._silent.clear()
        self._limits.succeeded(group.address)

    async def _open(self) -> None:
        """Waits for a token; raises NetworkWaits when the gate stays closed for long."""
        while True:
            now_s = self._now()
            if self._limits.gate.wait_s(now_s) > PATIENCE_S:
                raise NetworkWaits(self._limits.gate.reason)
            wait_s = self._limits.wait_s(now_s)
            if wait_s <= 0:
                return
            await asyncio.sleep(wait_s)

    def _halves(self, group: Group, refusal: Refused | TooLarge, results: Results) -> list[Group]:
        readings = group.observations
        if len(readings) == 1:
            results.rejected.append((readings[0], refusal.reason))
            self._limits.succeeded(group.address)
            return []
        self.counters.bisections += 1
        return _halves(group)

    async def _probe(self, group: Group, results: Results) -> None:
        """Halves a group that the server failed on again and again.

        A single reading is to blame only when others of the same group get through meanwhile;
        else the server is down, and nobody is.
        """
        self.counters.bisections += 1
        accepted_before = len(results.accepted)
        suspects: list[tuple[Observation, Failed]] = []
        pending = deque([group])
        while pending:
            part = pending.popleft() if len(suspects) & 1 else pending.pop()
            try:
                await self._request(part, results)
            except (Refused, TooLarge) as refusal:
                pending.extend(self._halves(part, refusal, results))
            except Failed as failure:
                if len(part.observations) > 1:
                    pending.extend(_halves(part))
                    continue
                suspects.append((part.observations[0], failure))
                if len(suspects) >= SUSPECTS_MAX and len(results.accepted) == accepted_before:
                    break
        if len(results.accepted) > accepted_before:
            results.rejected += [(reading, failure.reason) for reading, failure in suspects]
        elif suspects:
            wait_s = self._failure(group.address, suspects[0][1])
            waiting = [Group(group.address, [reading]) for reading, _ in suspects]
            self._later([*waiting, *pending], wait_s, results)

    def _failure(self, address: str, failure: Failed) -> float:
        """Closes the gate of the address, and the network's when several fail in a row."""
        self._silent.add(address)
        gate = self._limits.address_gate(address)
        wait_s = gate.failed(self._now(), failure.reason, failure.after_s)
        if address and len(self._silent) >= NETWORK_SILENT_AFTER:
            self._limits.gate.failed(self._now(), failure.reason)
        return wait_s

    @staticmethod
    def _later(groups: Sequence[Group], wait_s: float, results: Results) -> None:
        for group in groups:
            if group.address:
                results.delayed += [(o, wait_s) for o in group.observations]

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _note(observation: Observation, outcome: Outcome, results: Results) -> None:
    if isinstance(outcome, Accepted):
        results.accepted.append(observation)
    elif isinstance(outcome, Rejected):
        results.rejected.append((observation, outcome.reason))
    elif isinstance(outcome, Unknown):
        results.unknown.append(observation)
    elif isinstance(outcome, Retry):
        results.delayed.append((observation, outcome.after_s or RETRY_S))


def _halves(group: Group) -> list[Group]:
    """Both halves, the earlier one last, for it is taken from the end."""
    middle = len(group.observations) // 2
    return [
        Group(group.address, group.observations[middle:]),
        Group(group.address, group.observations[:middle]),
    ]
