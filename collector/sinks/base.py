"""What a sink is: code that knows one network, and answers for every reading given to it.

Order, batches of a backlog, back-off, rate limits, read-back, bisection and the memory of what is
done live in the forwarder, once. A sink maps names and units, builds requests, and judges answers.
"""

from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol, TypeVar

from collector.readings.observation import QUALITY_NAMES, Channel, Observation, PublicNode
from collector.structure import KeyFault, Range

T = TypeVar("T")

REASON_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Accepted:
    """The network holds the reading."""


def one_line(text: str) -> str:
    """A network's words as logs, terminals and databases can bear them, shortened."""
    shown = text[:REASON_CHARACTERS_MAX]
    return "".join(character if character.isprintable() else "." for character in shown)


class _Reasoned:
    """Outcomes that give a reason keep it on one line."""

    __slots__ = ()
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", one_line(self.reason))


@dataclass(frozen=True, slots=True)
class Rejected(_Reasoned):
    """The network refuses this reading and says why; believed when others like it get through."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry(_Reasoned):
    """Not stored; to be sent again, not before `after_s` when the network named a time."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown(_Reasoned):
    """Sent, and no answer came: it may be stored or not."""

    reason: str


Outcome = Accepted | Rejected | Retry | Unknown
ACCEPTED = Accepted()


class SinkError(Exception):
    """An outcome of a whole group. `reason` never holds a credential or a reading's place."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))

    @property
    def reason(self) -> str:
        return str(self.args[0])


class NotSent(SinkError):
    """Nothing was stored: the network is away, busy, or asks to come back after `after_s`."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Failed(NotSent):
    """The server failed (5xx) and stored nothing; perhaps because of what was sent."""


class Refused(SinkError):
    """The network refused the group as a whole because of something in it; nothing was stored.

    Whether a reading is to blame, the forwarder finds out by what else gets through.
    """


class TooLarge(Refused):
    """The group is larger than the network takes in one request; nothing was stored."""


class AccessDenied(SinkError):
    """Credentials do not hold, or the address is unknown to the network; nothing was stored."""


class NoAnswer(SinkError):
    """The group was sent and no answer came: an unknown outcome."""


class TimedOut(NoAnswer):
    """No answer within the time allowed; a smaller request may get one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `burst` requests at once and `per_s` in the long run."""

    per_s: float
    burst: float = 1.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the forwarder must know about a network.

    idempotent: the same reading sent twice is one reading there.
    reads_back: `read_back` can tell which readings the network holds.
    backlog: readings keep their original time, however old.
    oldest_first: newer readings must not overtake older ones.
    network_rate, address_rate: limits on requests, for all and for each address.
    interval_s: a channel's readings go out at most this often; those between are left out.
    latest_only: the network dates a reading by its arrival: of each channel only the newest goes
        out, and none that is older than one sent before.
    fresh_s: how old a reading may be where `backlog` is false.
    qualities: names of the quality codes that go out unless the configuration says otherwise.
    readback_delay_s: how long after a lost answer the network may still be storing the request.
    """

    idempotent: bool = False
    reads_back: bool = False
    backlog: bool = True
    oldest_first: bool = False
    largest_batch: int = 1000
    network_rate: Rate | None = None
    address_rate: Rate | None = None
    interval_s: float = 0.0
    latest_only: bool = False
    fresh_s: float = 600.0
    qualities: tuple[str, ...] = ("ok",)
    readback_delay_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """[sink.delivery]: what every sink may say about how it is fed."""

    qualities: tuple[str, ...] | None = None
    order: Literal["live_first", "oldest_first"] = "live_first"
    fresh_s: Annotated[float, Range(1, 1e9)] | None = None
    backlog_days: Annotated[float, Range(0.01, 36_500)] = 90.0
    backlog_frames: Annotated[int, Range(1, 1_000_000_000)] = 2_000_000
    on_unknown: Literal["resend", "leave"] = "resend"

    def __post_init__(self) -> None:
        for name in self.qualities or ():
            if name not in QUALITY_NAMES:
                known = ", ".join(QUALITY_NAMES)
                raise KeyFault("qualities", f"{name!r} is unknown; known are: {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkConfig:
    """What the Config of every kind of sink begins with."""

    delivery: DeliverySettings = DeliverySettings()


class Group(NamedTuple):
    """Readings of one request; `address` is the box, device or pin there, "" for the network."""

    address: str
    observations: Sequence[Observation]


def by_address(
    observations: Iterable[Observation], address: Callable[[PublicNode], str], largest: int
) -> Iterator[Group]:
    """Groups of at most `largest` readings, address by address, each in the order given."""
    of_address: dict[str, list[Observation]] = {}
    for observation in observations:
        of_address.setdefault(address(observation.channel.node), []).append(observation)
    for where, readings in of_address.items():
        for start in range(0, len(readings), largest):
            yield Group(where, readings[start : start + largest])


async def held(
    batch: Sequence[Observation],
    stored: Callable[[Channel, Sequence[Observation]], Awaitable[Container[T]]],
    key: Callable[[Observation], T],
) -> list[bool]:
    """Which of these a network holds, in order: asks `stored` for the keys of each channel."""
    of_channel: dict[Channel, list[Observation]] = {}
    for observation in batch:
        of_channel.setdefault(observation.channel, []).append(observation)
    there = {channel: await stored(channel, some) for channel, some in of_channel.items()}
    return [key(o) in there[o.channel] for o in batch]


class IdStore(Protocol):
    """Ids that a network gave to our entities, kept across restarts."""

    def get(self, key: str) -> str | None:
        """The id kept under this key, or None."""

    async def put(self, ids: Mapping[str, str]) -> None:
        """Keeps ids; returns when they are committed."""


class MemoryIds:
    """An IdStore for tests and for networks without ids."""

    def __init__(self, ids: Mapping[str, str] | None = None) -> None:
        self.ids = dict(ids or {})

    def get(self, key: str) -> str | None:
        return self.ids.get(key)

    async def put(self, ids: Mapping[str, str]) -> None:
        self.ids.update(ids)


class Sink:
    """One network. Subclasses set `name` and `capabilities` and implement `upstream_name`, `send`.

    Used from one task at a time: the forwarder never calls two methods at once.
    """

    name: str = ""
    capabilities = Capabilities()

    def upstream_name(self, channel: Channel) -> str | None:
        """What this channel is called there, or None when it cannot be sent."""
        raise LookupError(f"{type(self).__name__} names no channels")

    def split(self, observations: Sequence[Observation]) -> Iterable[Group]:
        """Groups that go out as one request each, in the order given."""
        largest = self.capabilities.largest_batch
        for start in range(0, len(observations), largest):
            yield Group("", observations[start : start + largest])

    async def prepare(self, nodes: Sequence[PublicNode]) -> None:
        """Opens connections and checks what the configuration names. Raises SinkError."""

    async def provision(self, channels: Sequence[Channel]) -> None:
        """Creates or finds again the entities of channels not sent before. Raises SinkError."""

    def plan(self, channels: Sequence[Channel]) -> Sequence[str]:
        """What `provision` would create, a line each; nothing is asked of the network."""
        return ()

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        """Sends one group; one outcome per reading, in order. Raises SinkError for all of them."""
        raise LookupError(f"{type(self).__name__} sends nothing")

    async def read_back(self, batch: Sequence[Observation]) -> Sequence[bool] | None:
        """Which of these the network holds, in order, or None when it cannot tell."""
        return None

    async def close(self) -> None:
        """Lets go of connections and files; may be called twice."""
