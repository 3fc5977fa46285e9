"""All sections but SAMPLES: what they hold (collector)."""

from dataclasses import dataclass, field

from protocol.columns import Samples


@dataclass(frozen=True, slots=True)
class Info:
    """Who a node is; what it did not send is None. others holds keys without a meaning here."""

    firmware: str | None = None
    board: str | None = None
    reset_cause: int | None = None
    registry: int | None = None
    identity: bytes | None = None
    key_switch: tuple[int, int] | None = None
    others: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A channel in words: the sensor's model (registry.SENSOR_MODELS) and a name."""

    quantity: int
    instance: int
    exponent: int
    model: int
    name: str


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The channels that a node says it has."""

    channels: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class SpoolBoot:
    """A boot in the spool: its lowest seq kept and the highest ever issued."""

    boot: int
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class State:
    """What LIVE says: the node's clock, its spool, what it has dropped and why."""

    uptime_ms: int
    downlink_seq: int
    settings_revision: int
    collector: int
    flags: int
    unlisted: int
    boots: tuple[SpoolBoot, ...]
    dropped: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Lines for a person."""

    text: str


@dataclass(frozen=True, slots=True)
class ClockSet:
    """At uptime_ms it was unix_ms, give or take error_ms."""

    uptime_ms: int
    unix_ms: int
    error_ms: int
    source: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a CONFIG, COMMAND or UPDATE; code is its command or settings key."""

    type: int
    id: int
    code: int
    status: int
    data: bytes


@dataclass(frozen=True, slots=True)
class AckEntry:
    """Settled in this boot: every seq <= upto, and upto + 2 + i for each bit i of mask."""

    boot: int
    upto: int
    mask: int


@dataclass(frozen=True, slots=True)
class Ack:
    """What a collector holds."""

    collector: int
    entries: tuple[AckEntry, ...]


@dataclass(frozen=True, slots=True)
class TimeAnswer:
    """Echo of a LIVE's uptime and counter, and Unix time when it came and when this left."""

    uptime_ms: int
    counter: int
    received_ms: int
    sent_ms: int


@dataclass(frozen=True, slots=True)
class Config:
    """Settings to take over, by key."""

    id: int
    entries: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Command:
    """Something to do."""

    id: int
    code: int
    arguments: bytes


@dataclass(frozen=True, slots=True)
class Offer:
    """A firmware that could be fetched."""

    id: int
    size: int
    sha256: bytes
    version: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an offered firmware."""

    id: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Unknown:
    """A section of a tag that this version does not know."""

    tag: int
    data: bytes


Section = (
    Samples
    | Info
    | Descriptors
    | State
    | Text
    | ClockSet
    | Outcome
    | Ack
    | TimeAnswer
    | Config
    | Command
    | Offer
    | Chunk
    | Unknown
)
