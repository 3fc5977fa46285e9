"""Read all sections but SAMPLES from their bytes (collector)."""

from itertools import pairwise
from struct import Struct

from protocol import wire
from protocol.layout import ARGUMENTS, INFO_LENGTHS
from protocol.sections import (
    Ack,
    AckEntry,
    Chunk,
    ClockSet,
    Command,
    Config,
    Descriptor,
    Descriptors,
    Info,
    Offer,
    Outcome,
    SpoolBoot,
    State,
    Text,
    TimeAnswer,
)
from protocol.varint import read_uvarint
from protocol.wire import FrameError

_DESCRIPTOR = Struct("<BBbHB")
_STATE = Struct("<IHIIIBHB")
_BOOT = Struct("<III")
_CLOCK = Struct("<IHIHIB")
_OUTCOME = Struct("<BHHB")
_ACK = Struct("<I")
_TIME = Struct("<IHIIHIH")
_ENTRY = Struct("<HB")
_COMMAND = Struct("<HB")
_UPDATE = Struct("<HB")
_OFFER = Struct("<I32sB")


def _need(reason: str, data: bytes, length: int) -> None:
    if len(data) < length:
        raise FrameError(reason, "the section ends within a field")


def parse_info(data: bytes) -> Info:
    """INFO; raises FrameError info."""
    entries: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        _need("info", data, at + 2)
        key, length = data[at], data[at + 1]
        at += 2
        _need("info", data, at + length)
        if key in entries:
            raise FrameError("info", f"key {key} twice")
        entries[key] = data[at : at + length]
        at += length
    for key, length in INFO_LENGTHS.items():
        if key in entries and len(entries[key]) != length:
            raise FrameError("info", f"key {key} has {len(entries[key])} bytes, not {length}")
    known = {key: entries.pop(key, None) for key in _INFO_KEYS}
    reset, registry = known[wire.INFO_RESET_CAUSE], known[wire.INFO_REGISTRY]
    switch = known[wire.INFO_KEY_SWITCH]
    return Info(
        _text(known[wire.INFO_FIRMWARE]),
        _text(known[wire.INFO_BOARD]),
        None if reset is None else reset[0],
        None if registry is None else int.from_bytes(registry, "little"),
        known[wire.INFO_IDENTITY],
        None
        if switch is None
        else (int.from_bytes(switch[:4], "little"), int.from_bytes(switch[4:], "little")),
        entries,
    )


_INFO_KEYS = (wire.INFO_FIRMWARE, wire.INFO_BOARD, *INFO_LENGTHS)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def parse_descriptors(data: bytes) -> Descriptors:
    """DESCRIPTORS; raises FrameError descriptors."""
    channels = []
    at = 0
    while at < len(data):
        _need("descriptors", data, at + _DESCRIPTOR.size)
        quantity, instance, exponent, model, length = _DESCRIPTOR.unpack_from(data, at)
        at += _DESCRIPTOR.size
        _need("descriptors", data, at + length)
        name = data[at : at + length].decode("utf-8", "replace")
        channels.append(Descriptor(quantity, instance, exponent, model, name))
        at += length
    return Descriptors(tuple(channels))


def parse_state(data: bytes) -> State:
    """STATE; raises FrameError state."""
    _need("state", data, _STATE.size)
    low, high, seq, revision, collector, flags, unlisted, count = _STATE.unpack_from(data)
    if count > wire.BOOTS_MAX:
        raise FrameError("state", f"{count} boots, 32 at most")
    at = _STATE.size
    _need("state", data, at + count * _BOOT.size + 1)
    boots = tuple(SpoolBoot(*_BOOT.unpack_from(data, at + i * _BOOT.size)) for i in range(count))
    if any(first.boot >= second.boot for first, second in pairwise(boots)):
        raise FrameError("state", "boots are not in rising order")
    if any(kept.lowest == 0 or kept.lowest > kept.highest + 1 for kept in boots):
        raise FrameError("state", "lowest kept is 0 or above highest issued + 1")
    at += count * _BOOT.size
    dropped = []
    reasons = data[at]
    at += 1
    for _ in range(reasons):
        _need("state", data, at + 2)
        frames, end = read_uvarint(data, at + 1)
        dropped.append((data[at], frames))
        at = end
    if at != len(data):
        raise FrameError("state", "bytes after the last drop counter")
    uptime = low | high << 32
    return State(uptime, seq, revision, collector, flags, unlisted, boots, tuple(dropped))


def parse_text(data: bytes) -> Text:
    """TEXT; what is not UTF-8 is replaced."""
    return Text(data.decode("utf-8", "replace"))


def parse_clock(data: bytes) -> ClockSet:
    """CLOCK; raises FrameError clock."""
    if len(data) != _CLOCK.size:
        raise FrameError("clock", f"{len(data)} bytes, not {_CLOCK.size}")
    low, high, unix_low, unix_high, error, source = _CLOCK.unpack(data)
    return ClockSet(low | high << 32, unix_low | unix_high << 32, error, source)


def parse_outcome(data: bytes) -> Outcome:
    """OUTCOME; raises FrameError outcome."""
    _need("outcome", data, _OUTCOME.size)
    type, id, code, status = _OUTCOME.unpack_from(data)
    return Outcome(type, id, code, status, data[_OUTCOME.size :])


def parse_ack(data: bytes) -> Ack:
    """ACK; raises FrameError ack."""
    if len(data) < 4 or (len(data) - 4) % _BOOT.size:
        raise FrameError("ack", f"{len(data)} bytes are no whole number of entries")
    entries = tuple(AckEntry(*entry) for entry in _BOOT.iter_unpack(data[4:]))
    return Ack(_ACK.unpack_from(data)[0], entries)


def parse_time(data: bytes) -> TimeAnswer:
    """TIME; raises FrameError time."""
    if len(data) != _TIME.size:
        raise FrameError("time", f"{len(data)} bytes, not {_TIME.size}")
    low, high, counter, in_low, in_high, out_low, out_high = _TIME.unpack(data)
    return TimeAnswer(low | high << 32, counter, in_low | in_high << 32, out_low | out_high << 32)


def parse_config(data: bytes) -> Config:
    """CONFIG; raises FrameError config."""
    _need("config", data, 2)
    entries = []
    at = 2
    while at < len(data):
        _need("config", data, at + _ENTRY.size)
        key, length = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        _need("config", data, at + length)
        entries.append((key, data[at : at + length]))
        at += length
    return Config(int.from_bytes(data[:2], "little"), tuple(entries))


def parse_command(data: bytes) -> Command:
    """COMMAND; raises FrameError command."""
    _need("command", data, _COMMAND.size)
    id, code = _COMMAND.unpack_from(data)
    arguments = data[_COMMAND.size :]
    if code in ARGUMENTS and len(arguments) != ARGUMENTS[code]:
        raise FrameError("command", f"{len(arguments)} bytes of arguments, not {ARGUMENTS[code]}")
    return Command(id, code, arguments)


def parse_update(data: bytes) -> Offer | Chunk:
    """UPDATE; raises FrameError update."""
    _need("update", data, _UPDATE.size)
    id, kind = _UPDATE.unpack_from(data)
    at = _UPDATE.size
    if kind == wire.U_CHUNK:
        _need("update", data, at + 4)
        return Chunk(id, int.from_bytes(data[at : at + 4], "little"), data[at + 4 :])
    if kind != wire.U_OFFER:
        raise FrameError("update", f"kind {kind} is neither offer nor chunk")
    _need("update", data, at + _OFFER.size)
    size, digest, length = _OFFER.unpack_from(data, at)
    at += _OFFER.size
    _need("update", data, at + length + 1)
    version = data[at : at + length].decode("utf-8", "replace")
    at += length
    if len(data) != at + 1 + data[at]:
        raise FrameError("update", "the signature does not end with the section")
    return Offer(id, size, digest, version, data[at + 1 :])
