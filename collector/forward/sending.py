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

from collector.forward.cuts import Cuts, Key, halves, key_of
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
CONFIRMATIONS = 2
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
        self._failed: dict[Key, int] = {}
        self._cuts = Cuts()
        self._silent: set[str] = set()

    async def send(self, group: Group, results: Results) -> None:
        """Sends one group. Raises NetworkWaits when the rest has to wait too."""
        wait_s = self._limits.address_wait_s(group.address, self._now())
        if wait_s > PATIENCE_S:
            results.delayed += [(o, wait_s) for o in group.observations]
            return
        await asyncio.sleep(wait_s)
        pending, part = self._cuts.parts(group), group
        try:
            while pending:
                part = pending.pop()
                pending += await self._send_part(part, results)
        except (AccessDenied, Failed, NetworkWaits) as interruption:
            if part is not group:
                self._cuts.remember([part, *pending])
            if isinstance(interruption, NetworkWaits):
                raise
            self._later([part, *pending], self._close(part, interruption), results)

    def _close(self, part: Group, interruption: AccessDenied | Failed) -> float:
        """Closes the gate that this part went through; returns for how long."""
        if isinstance(interruption, Failed):
            if len(self._failed) >= FAILING_MAX:
                self._failed.clear()
            key = key_of(part)
            self._failed[key] = self._failed.get(key, 0) + 1
            return self._failure(part.address, interruption)
        where = f" for {part.address}" if part.address else ""
        log.warning("%s: access denied%s: %s", self._sink.name, where, interruption.reason)
        return self._limits.address_gate(part.address).denied(self._now(), interruption.reason)

    async def _send_part(self, part: Group, results: Results) -> list[Group]:
        """Sends a part of a group; returns its halves when it was refused whole."""
        key = key_of(part)
        if self._failed.get(key, 0) >= FAILURES_BEFORE_BISECTION:
            await self._probe(part, results)
        else:
            try:
                await self._request(part, results)
            except (Refused, TooLarge) as refusal:
                return self._halves(part, refusal, results)
        self._failed.pop(key, None)
        self._cuts.forget(part)
        return []

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
            except BaseException:
                results.unknown += group.observations
                raise
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
        """The halves of what was refused; the network, which answered, is well."""
        readings = group.observations
        self._silent.clear()
        self._limits.succeeded(group.address)
        if len(readings) == 1:
            results.rejected.append((readings[0], refusal.reason))
            self._cuts.forget(group)
            return []
        self.counters.bisections += 1
        return halves(group)

    async def _probe(self, group: Group, results: Results) -> None:
        """Halves a group that the server failed on again and again.

        A single reading is to blame only when others of the same group get through meanwhile, and
        it fails each time it is asked for alone; else the server is down, and nobody is.
        """
        self.counters.bisections += 1
        accepted_before = len(results.accepted)
        suspects: list[tuple[Observation, Failed]] = []
        pending, part = deque([group]), group
        try:
            while pending:
                part = pending.popleft() if len(suspects) & 1 else pending.pop()
                try:
                    await self._request(part, results)
                except (Refused, TooLarge) as refusal:
                    pending.extend(self._halves(part, refusal, results))
                except Failed as failure:
                    if len(part.observations) > 1:
                        pending.extend(halves(part))
                        continue
                    suspects.append((part.observations[0], failure))
                    if len(suspects) >= SUSPECTS_MAX and len(results.accepted) == accepted_before:
                        break
        except NetworkWaits:
            alone = [Group(group.address, [reading]) for reading, _ in suspects]
            self._cuts.remember([*alone, part, *pending])
            raise
        if len(results.accepted) > accepted_before:
            for reading, _ in suspects:
                await self._confirm(Group(group.address, [reading]), results)
        elif suspects:
            wait_s = self._failure(group.address, suspects[0][1])
            waiting = [Group(group.address, [reading]) for reading, _ in suspects]
            self._later([*waiting, *pending], wait_s, results)

    async def _confirm(self, suspect: Group, results: Results) -> None:
        """Asks again for a reading that failed alone; rejects it when it fails each time."""
        reason = ""
        for _ in range(CONFIRMATIONS):
            try:
                await self._request(suspect, results)
            except (Refused, TooLarge) as refusal:
                self._halves(suspect, refusal, results)
            except Failed as failure:
                reason = failure.reason
                continue
            return
        results.rejected.append((suspect.observations[0], reason))

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
