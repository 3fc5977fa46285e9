"""An open data network as a collector meets it: it takes readings, refuses some, falls silent.

`Upstream` is what survives the collector: the network itself. `ModelSink` is the collector's code
for it, made anew with every start of the collector.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from collector.readings.observation import Channel, Observation
from collector.sinks.base import (
    ACCEPTED,
    Capabilities,
    NoAnswer,
    NotSent,
    Outcome,
    Rejected,
    Retry,
    Sink,
    SinkError,
)
from simulator.faults.network import Span
from simulator.late_writer import Killed
from simulator.truth import Position

QUALITIES = ("ok", "warming_up", "below_range", "above_range", "stale", "suspect")
"""What the network takes; readings of other qualities must not reach it."""

REFUSAL = "the network does not take this reading"


class Origin(NamedTuple):
    """Which reading of which frame: never the same for two readings."""

    node: int
    boot: int
    seq: int
    place: int


class Held(NamedTuple):
    """A reading as the network holds it, and how often it came."""

    quantity: str
    instance: int
    time_ms: int
    value: float
    quality: int
    error_ms: int
    times: int


@dataclass
class Behaviour:
    """How the network treats requests; probabilities are per request, except refuse and retry."""

    outages: Sequence[Span] = ()
    silent_stored: float = 0.0
    silent_lost: float = 0.0
    half_then_silent: float = 0.0
    busy: float = 0.0
    refuse_one_in: int = 0
    retry: float = 0.0
    latency_ms: int = 0


@dataclass
class HeldFrame:
    """A frame's readings by their place: those that the network holds, and those it refused."""

    readings: dict[int, Held] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    vanished: dict[int, Held] = field(default_factory=dict)
    """Readings that the network took, answered for, and has lost."""


@dataclass
class Upstream:
    """The network's side: what it holds, how often each reading came.

    Of a frame that is judged already only the places of its readings are kept.
    """

    random: Random
    behaviour: Behaviour = field(default_factory=Behaviour)
    frames: dict[Position, HeldFrame] = field(default_factory=dict)
    judged: dict[Position, int] = field(default_factory=dict)
    """Bits: the places of the readings that were held when their frame was judged."""
    again: Counter[Position] = field(default_factory=Counter)
    """Readings taken once more after their frame was judged."""
    held: int = 0
    """Readings not judged yet."""
    requests: int = 0
    twice: Counter[int] = field(default_factory=Counter)
    """By node, how often a reading was taken that had been taken before."""
    unanswered: Counter[int] = field(default_factory=Counter)
    """By node, readings of requests that got no answer."""
    lost_by_itself: int = 0
    """Readings that the network took and held no more when it had lost its memory."""
    on_request: Callable[[], None] = lambda: None
    stated_error_ms: Callable[[Observation], int] = lambda observation: 0
    """How wrong a time may be, by what the collector knows when it sends: it may not outlive the
    request's way."""

    def take(self, observation: Observation, error_ms: int) -> Outcome:
        """Judge one reading, and hold it if it is good.

        error_ms is how wrong its time may be, as stated when it was sent.
        """
        origin = origin_of(observation)
        place = origin.place
        judged = origin[:3] in self.judged
        frame = HeldFrame() if judged else self.frames.setdefault(origin[:3], HeldFrame())
        every = self.behaviour.refuse_one_in
        if every and (origin.seq * 31 + place * 7) % every == 0:
            frame.refused.add(place)
            return Rejected(REFUSAL)
        if self.behaviour.retry and self.random.random() < self.behaviour.retry:
            return Retry("not now", 5.0)
        if judged:
            self.again[origin[:3]] += 1
            self.twice[origin.node] += 1
            return ACCEPTED
        before = frame.readings.get(place)
        self.twice[origin.node] += before is not None or place in frame.vanished
        self.held += before is None
        frame.readings[place] = Held(
            observation.channel.quantity.name,
            observation.channel.instance,
            observation.time_ms,
            observation.value,
            observation.quality,
            error_ms,
            1 + (before.times if before else 0),
        )
        return ACCEPTED

    def holds(self, origin: Origin) -> bool:
        """Whether the network holds this reading."""
        if origin[:3] in self.judged:
            return bool(self.judged[origin[:3]] >> origin.place & 1)
        frame = self.frames.get(origin[:3])
        return frame is not None and origin.place in frame.readings

    def memory(self) -> dict[Position, frozenset[int]]:
        """Which readings it holds now: a backup of it."""
        return {position: frozenset(frame.readings) for position, frame in self.frames.items()}

    def go_back(self, memory: Mapping[Position, frozenset[int]]) -> None:
        """It is restored from that backup, or begins anew with none: the rest is its own loss."""
        for position, frame in self.frames.items():
            for place in frame.readings.keys() - memory.get(position, frozenset()):
                frame.vanished[place] = frame.readings.pop(place)
                self.held -= 1
                self.lost_by_itself += 1

    def condense(self, position: Position) -> None:
        """Keep of a frame that is judged which readings are held, and nothing else."""
        frame = self.frames.pop(position)
        self.held -= len(frame.readings)
        self.judged[position] = sum(1 << place for place in frame.readings)


def origin_of(observation: Observation) -> Origin:
    """The reading's identity."""
    frame = observation.frame
    return Origin(frame.node, frame.boot, frame.seq, observation.reading)


class ModelSink(Sink):
    """The collector's code for an Upstream of a kind; see Scenario.sink_kind.

    `alive` says whether its process lives: a dead one sends nothing and hears nothing.
    """

    def __init__(
        self,
        name: str,
        upstream: Upstream,
        kind: str = "reads_back",
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.capabilities = Capabilities(
            idempotent=kind == "idempotent",
            reads_back=kind == "reads_back",
            largest_batch=500,
            qualities=QUALITIES,
            readback_delay_s=upstream.behaviour.latency_ms / 1000,
        )
        self._upstream = upstream
        self._alive = alive

    def upstream_name(self, channel: Channel) -> str | None:
        return channel.key

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        upstream = self._upstream
        self._live()
        upstream.requests += 1
        upstream.on_request()
        told = [(reading, upstream.stated_error_ms(reading)) for reading in batch]
        try:
            answer = await self._answer(told)
            self._live()
        except BaseException:
            self._unanswered(batch)
            raise
        if isinstance(answer, SinkError):
            if isinstance(answer, NoAnswer):
                self._unanswered(batch)
            raise answer
        return answer

    async def _answer(
        self, told: Sequence[tuple[Observation, int]]
    ) -> Sequence[Outcome] | SinkError:
        """What comes back; the network has the request also when nobody waits any more."""
        latency_s = self._upstream.behaviour.latency_ms / 1000
        if not latency_s:
            return self._serve(told)
        answer: asyncio.Future[Sequence[Outcome] | SinkError]
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        def hear(served: Sequence[Outcome] | SinkError) -> None:
            if not answer.done():
                answer.set_result(served)

        def arrive() -> None:
            loop.call_later(latency_s / 2, hear, self._serve(told))

        loop.call_later(latency_s / 2, arrive)
        return await answer

    def _serve(self, told: Sequence[tuple[Observation, int]]) -> Sequence[Outcome] | SinkError:
        upstream = self._upstream
        behaviour = upstream.behaviour
        if self._is_away():
            return NotSent("network unreachable")
        chance = upstream.random.random()
        for probability, part in (
            (behaviour.busy, -1),
            (behaviour.silent_lost, 0),
            (behaviour.half_then_silent, len(told) // 2),
            (behaviour.silent_stored, len(told)),
        ):
            if chance < probability:
                if part < 0:
                    return NotSent("busy", 3.0)
                for reading in told[:part]:
                    upstream.take(*reading)
                return NoAnswer("no answer")
            chance -= probability
        return [upstream.take(*reading) for reading in told]

    def _live(self) -> None:
        if not self._alive():
            raise Killed

    def _is_away(self) -> bool:
        now_ms = round(asyncio.get_running_loop().time() * 1000)
        return any(span.holds(0, now_ms) for span in self._upstream.behaviour.outages)

    def _unanswered(self, batch: Sequence[Observation]) -> None:
        self._upstream.unanswered.update(observation.frame.node for observation in batch)

    async def read_back(self, batch: Sequence[Observation]) -> Sequence[bool] | None:
        self._live()
        if self._is_away():
            raise NotSent("network unreachable")
        return [self._upstream.holds(origin_of(observation)) for observation in batch]
