"""Fields of a frame in words, for explain: by their names in the schema."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from struct import unpack
from types import MappingProxyType
from typing import Any

from protocol import names, wire
from protocol.registry import REGISTRY, SENSOR_MODELS
from protocol.setting_names import BY_KEY, SETTINGS
from protocol.varint import read_uvarint, unzigzag
from protocol.wire import FrameError

_OPTIONS = {0x10: "instance", 0x20: "vector", 0x40: "quality", 0x80: "exponent"}
_SHOWN = 32
Beside = Mapping[str, Any]
"""The fields that stand in the same structure, by name."""


def told(section: str, name: str, value: Any, beside: Beside) -> str:
    """A field's value in words; section is "" in header and trailer. Raises nothing."""
    words = WORDS.get(f"{section}.{name}") or WORDS.get(name)
    if words is not None:
        return words(value, beside)
    return raw_bytes(value) if isinstance(value, bytes) else str(value)


def type_flags(value: int) -> str:
    """type_flags in words."""
    words = [names.name(names.TYPES, value & wire.TYPE_MASK)]
    words.append("authenticated" if value & wire.AUTH else "not authenticated")
    if value & wire.RESERVED_FLAGS:
        words.append("reserved bits set")
    return ", ".join(words)


def tag(value: int) -> str:
    """A section's tag in words."""
    return names.name(names.SECTIONS, value) + (", critical" if value & 0x80 else "")


def quantity(value: int) -> str:
    """A quantity's name and unit."""
    row = REGISTRY.get(value)
    return f"{row.name} ({row.unit})" if row else f"unknown ({value})"


def control(value: int) -> str:
    """A column's ctl in words."""
    coding = value & 15
    words = [{14: "sparse", 15: "constant"}.get(coding, f"Rice k = {coding}")]
    words += [word for bit, word in _OPTIONS.items() if value & bit]
    return ", ".join(words)


def band(band: int) -> str:
    """The nominal frequency of a band, by its number."""
    return f"{band} ({10 ** (band / 10):.4g} Hz)"


def mask(upto: int, mask: int) -> str:
    """The numbers that an ACK's mask covers."""
    also = [str(upto + 2 + bit) for bit in range(32) if mask >> bit & 1]
    return f"also {', '.join(also)}" if also else "nothing more"


def duration(value: int) -> str:
    """Milliseconds as days and time."""
    seconds, ms = divmod(value, 1000)
    days, seconds = divmod(seconds, 86400)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
    return f"{value} ms ({days} d {clock})"


def date(value: int) -> str:
    """Unix milliseconds as a date."""
    try:
        moment = datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{value} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def quoted(data: bytes) -> str:
    """Text as Python writes it."""
    return repr(data.decode("utf-8", "replace"))


def raw_bytes(data: bytes) -> str:
    """The digits of short bytes, the number of long ones."""
    return data.hex() if len(data) <= _SHOWN else f"{len(data)} bytes"


def info(key: int, data: bytes) -> str:
    """An entry of INFO; the wrong length for its key shows as plain bytes."""
    if key in (wire.INFO_FIRMWARE, wire.INFO_BOARD):
        return quoted(data)
    if key in (wire.INFO_RESET_CAUSE, wire.INFO_REGISTRY) and len(data) <= 2:
        return str(int.from_bytes(data, "little"))
    if key == wire.INFO_KEY_SWITCH and len(data) == 8:
        boot, seq = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")
        return f"up to boot {boot}, seq {seq} under the former key"
    return raw_bytes(data)


def setting(key: int, data: bytes) -> str:
    """A value of CONFIG, by its setting's kind."""
    known = SETTINGS[BY_KEY[key]] if key in BY_KEY else None
    if known is None:
        return raw_bytes(data)
    if known.is_text:
        return quoted(data)
    try:
        code, end = read_uvarint(data, 0)
    except FrameError:
        end = -1
    return str(unzigzag(code)) if end == len(data) else "not a number"


def arguments(data: bytes) -> str:
    """A command's numbers."""
    if len(data) % 4 or not data:
        return raw_bytes(data) or "none"
    return ", ".join(map(str, unpack(f"<{len(data) // 4}I", data)))


def answer(status: int, data: bytes) -> str:
    """What an OUTCOME says beyond its status: the offset that is wanted, or text."""
    if status == wire.R_WANTED and len(data) == 4:
        return f"from byte {int.from_bytes(data, 'little')}"
    text = data.decode("utf-8", "replace")
    return quoted(data) if text.isprintable() and "\ufffd" not in text else raw_bytes(data)


def answered(type: int, code: int) -> str:
    """What the code of an OUTCOME is: a command, or a setting."""
    if type == wire.T_COMMAND:
        return names.name(names.COMMANDS, code)
    if type == wire.T_CONFIG and code in BY_KEY:
        return f"{code} ({BY_KEY[code]})"
    return str(code)


def _in(words: Mapping[int, str]) -> Callable[[Any, Beside], str]:
    return lambda value, beside: names.name(words, value)


def _with(unit: str) -> Callable[[Any, Beside], str]:
    return lambda value, beside: f"{value} {unit}"


def _alone(words: Callable[[Any], str]) -> Callable[[Any, Beside], str]:
    return lambda value, beside: words(value)


WORDS: Mapping[str, Callable[[Any, Beside], str]] = MappingProxyType(
    {
        "magic_version": lambda v, _: f"magic {v >> 4:#x}, version {v & 15}",
        "type_flags": _alone(type_flags),
        "node": lambda v, _: f"{v:08x}",
        "trailer": lambda v, _: "tag" if len(v) == wire.TAG_BYTES else "CRC-32",
        "tag": _alone(tag),
        "quantity": _alone(quantity),
        "collector": lambda v, _: f"{v:08x}",
        "uptime_ms": _alone(duration),
        ".boot": lambda v, _: f"{v}, from {date(v * 1000)[:10]}",
        "SAMPLES.t0": _alone(duration),
        "SAMPLES.period": _with("ms"),
        "SAMPLES.n": _with("rows"),
        "SAMPLES.ncol": _with("columns"),
        "SAMPLES.ctl": _alone(control),
        "SAMPLES.vector first": lambda v, _: band(v),
        "SAMPLES.vector count": _with("bands"),
        "SAMPLES.quality count": _with("runs"),
        "SAMPLES.code": _in(names.QUALITIES),
        "SAMPLES.bits": lambda v, _: f"{len(v) * 8} bits",
        "INFO.key": _in(names.INFO_KEYS),
        "INFO.value": lambda v, beside: info(beside["key"], v),
        "DESCRIPTORS.model": lambda v, _: SENSOR_MODELS.get(v, str(v)),
        "DESCRIPTORS.name": _alone(quoted),
        "STATE.flags": lambda v, _: names.flags(names.STATE_FLAGS, v),
        "STATE.unlisted": _with("more boots in the spool"),
        "STATE.reason": _in(names.DROPS),
        "TEXT.data": _alone(quoted),
        "CLOCK.unix_ms": _alone(date),
        "CLOCK.error_ms": _with("ms"),
        "CLOCK.source": _in(names.CLOCKS),
        "OUTCOME.type": _in(names.TYPES),
        "OUTCOME.code": lambda v, beside: answered(beside["type"], v),
        "OUTCOME.status": _in(names.STATUSES),
        "OUTCOME.data": lambda v, beside: answer(beside["status"], v),
        "ACK.mask": lambda v, beside: mask(beside["upto"], v),
        "TIME.received_ms": _alone(date),
        "TIME.sent_ms": _alone(date),
        "CONFIG.key": lambda v, _: f"{v} ({BY_KEY[v]})" if v in BY_KEY else str(v),
        "CONFIG.value": lambda v, beside: setting(beside["key"], v),
        "COMMAND.code": _in(names.COMMANDS),
        "COMMAND.arguments": _alone(arguments),
        "UPDATE.kind": _in({wire.U_OFFER: "offer", wire.U_CHUNK: "chunk"}),
        "UPDATE.size": _with("bytes"),
        "UPDATE.sha256": lambda v, _: v.hex(),
        "UPDATE.version": _alone(quoted),
        "UPDATE.signature": lambda v, _: v.hex(),
    }
)
"""By name, and where a name has several meanings by section and name; "" is header and trailer."""
