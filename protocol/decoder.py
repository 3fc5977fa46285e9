"""Open and decode frames in CPython, up and down; only FrameError escapes."""

import hmac
from binascii import crc32
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from protocol import parsers, wire
from protocol import sections as s
from protocol.columns import Column, Samples, parse_samples
from protocol.envelope import head_of, sections
from protocol.identity import FrameId
from protocol.layout import ALLOWED, REQUIRED
from protocol.wire import FrameError

__all__ = ["Column", "Envelope", "Frame", "Samples", "decode", "decode_body", "open_frame"]

_PARSERS: dict[int, Callable[[bytes], s.Section]] = {
    wire.S_INFO: parsers.parse_info,
    wire.S_DESCRIPTORS: parsers.parse_descriptors,
    wire.S_STATE: parsers.parse_state,
    wire.S_TEXT: parsers.parse_text,
    wire.S_CLOCK: parsers.parse_clock,
    wire.S_OUTCOME: parsers.parse_outcome,
    wire.S_ACK: parsers.parse_ack,
    wire.S_TIME: parsers.parse_time,
    wire.S_CONFIG: parsers.parse_config,
    wire.S_COMMAND: parsers.parse_command,
    wire.S_UPDATE: parsers.parse_update,
}
_CRITICAL = 0x80


class Envelope(NamedTuple):
    """A frame's header, body and trailer; authenticated when its tag was checked."""

    type: int
    authenticated: bool
    node: int
    boot: int
    seq: int
    body: bytes
    trailer: bytes


S = TypeVar("S")


def _all(frame: "Frame", kind: type[S]) -> tuple[S, ...]:
    return tuple(section for section in frame.sections if isinstance(section, kind))


def _one(frame: "Frame", kind: type[S]) -> S | None:
    return next((section for section in frame.sections if isinstance(section, kind)), None)


@dataclass(slots=True)
class Frame:
    """A decoded frame. Its sections are in the order of the wire, unknown ones too."""

    type: int
    authenticated: bool
    node: int
    boot: int
    seq: int
    sections: tuple[s.Section, ...]

    @property
    def frame_id(self) -> FrameId:
        """What names the frame, if it is sequenced."""
        return FrameId(self.node, self.boot, self.seq)

    @property
    def samples(self) -> tuple[Samples, ...]:
        """All SAMPLES sections."""
        return _all(self, Samples)

    @property
    def clocks(self) -> tuple[s.ClockSet, ...]:
        """All CLOCK sections."""
        return _all(self, s.ClockSet)

    @property
    def info(self) -> s.Info | None:
        """INFO, or None."""
        return _one(self, s.Info)

    @property
    def descriptors(self) -> tuple[s.Descriptor, ...]:
        """The channels of all DESCRIPTORS sections."""
        return tuple(c for section in _all(self, s.Descriptors) for c in section.channels)

    @property
    def state(self) -> s.State | None:
        """STATE, or None."""
        return _one(self, s.State)

    @property
    def text(self) -> str | None:
        """All TEXT sections joined, or None."""
        texts = _all(self, s.Text)
        return "".join(text.text for text in texts) if texts else None

    @property
    def outcome(self) -> s.Outcome | None:
        """OUTCOME, or None."""
        return _one(self, s.Outcome)

    @property
    def ack(self) -> s.Ack | None:
        """ACK, or None."""
        return _one(self, s.Ack)

    @property
    def time(self) -> s.TimeAnswer | None:
        """TIME, or None."""
        return _one(self, s.TimeAnswer)

    @property
    def config(self) -> s.Config | None:
        """CONFIG, or None."""
        return _one(self, s.Config)

    @property
    def command(self) -> s.Command | None:
        """COMMAND, or None."""
        return _one(self, s.Command)

    @property
    def update(self) -> s.Offer | s.Chunk | None:
        """UPDATE, or None."""
        return next((u for u in self.sections if isinstance(u, s.Offer | s.Chunk)), None)


def _envelope(raw: bytes, checked: bool) -> Envelope:
    type, authenticated, node, boot, seq, end = head_of(raw)
    return Envelope(
        type, checked and authenticated, node, boot, seq, raw[wire.HEADER : end], raw[end:]
    )


def open_frame(raw: bytes, key: bytes | None) -> Envelope:
    """A frame's envelope once its trailer is found right.

    key is K_up for frames from a node, K_down for frames to it. With a key an unauthenticated
    frame is a downgrade; without one only a CRC can be checked. Raises FrameError short, long,
    magic, version, incompatible, length, downgrade, tag, key or crc.
    """
    envelope = _envelope(raw, True)
    signed = raw[: -len(envelope.trailer)]
    if envelope.authenticated:
        if key is None:
            raise FrameError("key", "no key for this node")
        tag = hmac.digest(key, signed, "sha256")[: wire.TAG_BYTES]
        if not hmac.compare_digest(tag, envelope.trailer):
            raise FrameError("tag", "not made with this key, or altered")
    elif key is not None:
        raise FrameError("downgrade", "unauthenticated, though the node has a key")
    elif crc32(signed, wire.CRC_START) != int.from_bytes(envelope.trailer, "little"):
        raise FrameError("crc", "altered on the way")
    return envelope


def decode(raw: bytes, with_samples: bool = True) -> Frame:
    """Decode a frame that is trusted: the trailer is not looked at (open_frame does that)."""
    return decode_body(_envelope(raw, False), with_samples)


def decode_body(envelope: Envelope, with_samples: bool = True) -> Frame:
    """Decode the sections of an opened frame. Raises FrameError with the reason.

    Without samples their sections are passed over unread.
    """
    type, authenticated, node, boot, seq, body, _ = envelope
    allowed = ALLOWED.get(type)
    if allowed is None:
        raise FrameError("type", f"{type} is unknown")
    found: list[s.Section] = []
    tags = []
    values_left = wire.VALUES_MAX
    for tag, start, end in sections(body):
        data = body[start:end]
        tags.append(tag)
        if tag == wire.S_SAMPLES and tag in allowed:
            if not with_samples:
                continue
            samples, declared = parse_samples(data, values_left)
            values_left -= declared
            found.append(samples)
        else:
            found.append(_parse(tag, data, allowed))
    if tags.count(wire.S_SAMPLES) > 1:
        _check_unique(found)
    _check_sections(type, tags)
    return Frame(type, authenticated, node, boot, seq, tuple(found))


def _parse(tag: int, data: bytes, allowed: frozenset[int]) -> s.Section:
    if tag & _CRITICAL and tag not in allowed:
        if tag in _PARSERS or tag == wire.S_SAMPLES:
            raise FrameError("misplaced", f"section {tag:#04x} in a frame of another type")
        raise FrameError("critical", f"section {tag:#04x} is unknown and must not be skipped")
    parser = _PARSERS.get(tag)
    return parser(data) if parser else s.Unknown(tag, data)


def _check_unique(found: list[s.Section]) -> None:
    columns = [c for samples in found if isinstance(samples, Samples) for c in samples.columns]
    if len({(c.quantity, c.instance) for c in columns}) < len(columns):
        raise FrameError("duplicate", "two columns of one quantity and instance")


def _check_sections(type: int, tags: list[int]) -> None:
    required = REQUIRED.get(type)
    if required is not None and tags.count(required) != 1:
        raise FrameError("absent", f"section {required:#04x} is there {tags.count(required)} times")
