"""A frame explained field by field, for people."""

from collections.abc import Callable, Iterator
from functools import partial

from protocol import names, wire, wording
from protocol.columns import Column, Samples, parse_samples
from protocol.decoder import decode, open_frame
from protocol.mac import DOWN, UP, derive
from protocol.reasons import ALL
from protocol.registry import REGISTRY, SENSOR_MODELS
from protocol.varint import read_uvarint, unzigzag
from protocol.wire import FrameError

_ROWS_SHOWN = 16
_HEX_SHOWN = 12


def explain(raw: bytes, key: bytes | None = None) -> str:
    """What each byte of a frame means, and why it is refused if it is.

    key is the node's key (32 bytes), from which the direction's is derived; without it an
    authenticated frame's tag is shown and not checked. Never raises for any bytes.
    """
    walk = _Walk(raw)
    lines = [f"{len(raw)} bytes"]
    try:
        lines += walk.frame()
    except (IndexError, FrameError):
        lines += walk.taken()
        lines.append(f"{walk.at:5}  here the bytes stop making sense")
    lines.append("")
    lines.append(_verdict(raw, key))
    return "\n".join(lines)


def _verdict(raw: bytes, key: bytes | None) -> str:
    checked = "not authenticated: the CRC holds"
    try:
        if len(raw) > 1 and raw[1] & wire.AUTH and key is None:
            checked = "the tag was not checked: no key given"
        else:
            label = DOWN if len(raw) > 1 and raw[1] & wire.TYPE_MASK >= wire.T_ACK else UP
            open_frame(raw, derive(key, label) if key is not None else None)
            if key is not None:
                checked = "authentic: the tag holds"
        decode(raw)
    except FrameError as error:
        detail = str(error).partition(": ")[2]
        words = ALL.get(error.reason, "")
        return f"refused: {error.reason} ({words})" + (f"; {detail}" if detail else "")
    return f"accepted; {checked}"


class _Walk:
    """Walks over a frame and writes a line for each field."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0
        self._lines: list[str] = []

    def taken(self) -> list[str]:
        """The lines written since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def _line(self, start: int, name: str, text: str) -> None:
        data = self.raw[start : self.at]
        shown = data[:_HEX_SHOWN].hex(" ") + (" .." if len(data) > _HEX_SHOWN else "")
        self._lines.append(f"{start:5}  {shown:38} {name:18} {text}".rstrip())

    def _number(self, length: int, name: str, words: Callable[[int], str] = str) -> int:
        start = self.at
        if start + length > len(self.raw):
            raise IndexError
        self.at = start + length
        value = int.from_bytes(self.raw[start : self.at], "little")
        self._line(start, name, words(value))
        return value

    def _uvarint(self, name: str, words: Callable[[int], str] = str) -> int:
        start = self.at
        value, self.at = read_uvarint(self.raw, start)
        self._line(start, name, words(value))
        return value

    def _bytes(self, length: int, name: str, words: Callable[[bytes], str]) -> None:
        start = self.at
        if start + length > len(self.raw):
            raise IndexError
        self.at = start + length
        self._line(start, name, words(self.raw[start : self.at]))

    def frame(self) -> list[str]:
        """All lines; raises IndexError or FrameError where the bytes end too early."""
        self._number(1, "magic_version", lambda v: f"magic {v >> 4:#x}, version {v & 15}")
        flags = self._number(1, "type_flags", wording.type)
        length = self._number(2, "body_len")
        self._number(4, "node", lambda v: f"{v:08x}")
        self._number(
            4, "boot", lambda v: f"{v} (provisioned or counted from {wording.date(v * 1000)})"
        )
        self._number(4, "seq")
        end = min(wire.HEADER + length, len(self.raw))
        while self.at < end:
            self._section(end)
        if self.at < len(self.raw):
            kind = "tag" if flags & wire.AUTH else "CRC-32"
            self._bytes(len(self.raw) - self.at, kind, lambda data: "")
        return self.taken()

    def _section(self, end: int) -> None:
        self._lines.append("")
        tag = self._number(1, "tag", wording.tag)
        length = self._number(2, "length")
        stop = self.at + length
        if stop > end:
            raise IndexError
        walker = _WALKERS.get(tag)
        if walker:
            walker(self, stop)
        if self.at < stop:
            self._bytes(stop - self.at, "data", lambda data: "")

    def _samples(self, stop: int) -> None:
        start = self.at
        self._number(6, "t0", wording.duration)
        self._uvarint("period", lambda v: f"{v} ms")
        rows = self._number(1, "n", lambda v: f"{v} rows")
        count = self._number(1, "ncol", lambda v: f"{v} columns")
        for _ in range(count):
            self._column(rows)
        self._bytes(stop - self.at, "bits", lambda data: f"{len(data) * 8} bits")
        self._lines += _values(self.raw[start:stop])

    def _column(self, rows: int) -> None:
        quantity = self._number(1, "  quantity", wording.quantity)
        control = self._number(1, "  ctl", wording.control)
        if control & 0x10:
            self._number(1, "  instance")
        if control & 0x80:
            self._number(1, "  exponent", lambda v: str(v - 256 if v > 127 else v))
        if control & 0x20:
            self._number(1, "  first_band", lambda v: wording.band(quantity, v))
            self._number(1, "  bands")
        if control & 0x40:
            for _ in range(self._number(1, "  quality runs")):
                self._number(1, "    rows")
                self._number(1, "    code", lambda v: names.name(names.QUALITIES, v))
        if control & 15 == 14:
            self._number(1, "  steps", lambda v: f"{v} of {rows - 1}")
            self._number(1, "  k")
        self._uvarint("  first value", lambda v: str(unzigzag(v)))

    def _info(self, stop: int) -> None:
        while self.at < stop:
            key = self._number(1, "key", lambda v: names.name(names.INFO_KEYS, v))
            length = self._number(1, "  length")
            text = key in (wire.INFO_FIRMWARE, wire.INFO_BOARD)
            self._bytes(length, "  value", wording.quoted if text else bytes.hex)

    def _descriptors(self, stop: int) -> None:
        while self.at < stop:
            self._number(1, "quantity", wording.quantity)
            self._number(1, "  instance")
            self._number(1, "  exponent", lambda v: str(v - 256 if v > 127 else v))
            self._number(2, "  model", lambda v: SENSOR_MODELS.get(v, str(v)))
            self._bytes(self._number(1, "  name length"), "  name", wording.quoted)

    def _state(self, stop: int) -> None:
        self._number(6, "uptime", wording.duration)
        self._number(4, "downlink seq")
        self._number(4, "settings revision")
        self._number(4, "collector", lambda v: f"{v:08x}")
        self._number(1, "flags", lambda v: names.flags(names.STATE_FLAGS, v))
        self._number(2, "unlisted", lambda v: f"{v} more boots in the spool")
        for _ in range(self._number(1, "boots")):
            self._number(4, "  boot")
            self._number(4, "  lowest kept")
            self._number(4, "  highest issued")
        for _ in range(self._number(1, "drop reasons")):
            self._number(1, "  reason", lambda v: names.name(names.DROPS, v))
            self._uvarint("  frames")

    def _text(self, stop: int) -> None:
        self._bytes(stop - self.at, "text", wording.quoted)

    def _clock(self, stop: int) -> None:
        self._number(6, "uptime", wording.duration)
        self._number(6, "unix", wording.date)
        self._number(4, "error", lambda v: f"{v} ms")
        self._number(1, "source", lambda v: names.name(names.CLOCKS, v))

    def _outcome(self, stop: int) -> None:
        self._number(1, "answers", lambda v: names.name(names.TYPES, v))
        self._number(2, "id")
        self._number(2, "code or key")
        self._number(1, "status", lambda v: names.name(names.STATUSES, v))

    def _ack(self, stop: int) -> None:
        self._number(4, "collector", lambda v: f"{v:08x}")
        while self.at < stop:
            self._number(4, "boot")
            upto = self._number(4, "  upto")
            self._number(4, "  mask", partial(wording.mask, upto))

    def _time(self, stop: int) -> None:
        self._number(6, "uptime of LIVE", wording.duration)
        self._number(4, "counter of LIVE")
        self._number(6, "received", wording.date)
        self._number(6, "sent", wording.date)

    def _config(self, stop: int) -> None:
        self._number(2, "id")
        while self.at < stop:
            self._number(2, "key")
            self._bytes(self._number(1, "  length"), "  value", bytes.hex)

    def _command(self, stop: int) -> None:
        self._number(2, "id")
        self._number(1, "code", lambda v: names.name(names.COMMANDS, v))
        while self.at + 4 <= stop:
            self._number(4, "  argument")

    def _update(self, stop: int) -> None:
        self._number(2, "id")
        kind = self._number(1, "kind", lambda v: {1: "offer", 2: "chunk"}.get(v, "unknown"))
        if kind == wire.U_CHUNK:
            self._number(4, "offset")
        elif kind == wire.U_OFFER:
            self._number(4, "size")
            self._bytes(32, "SHA-256", bytes.hex)
            self._bytes(self._number(1, "version length"), "version", wording.quoted)
            self._bytes(self._number(1, "signature length"), "signature", bytes.hex)


_WALKERS: dict[int, Callable[[_Walk, int], None]] = {
    wire.S_SAMPLES: _Walk._samples,
    wire.S_INFO: _Walk._info,
    wire.S_DESCRIPTORS: _Walk._descriptors,
    wire.S_STATE: _Walk._state,
    wire.S_TEXT: _Walk._text,
    wire.S_CLOCK: _Walk._clock,
    wire.S_OUTCOME: _Walk._outcome,
    wire.S_ACK: _Walk._ack,
    wire.S_TIME: _Walk._time,
    wire.S_CONFIG: _Walk._config,
    wire.S_COMMAND: _Walk._command,
    wire.S_UPDATE: _Walk._update,
}


def _values(section: bytes) -> Iterator[str]:
    """The decoded rows of a SAMPLES section."""
    samples, _ = parse_samples(section, wire.VALUES_MAX)
    times = ", ".join(map(str, samples.times_ms[:_ROWS_SHOWN]))
    more = " .." if len(samples.times_ms) > _ROWS_SHOWN else ""
    yield f"       times (ms): {times}{more}"
    for column in samples.columns:
        yield from _column_lines(column, samples)


def _column_lines(column: Column, samples: Samples) -> Iterator[str]:
    row = REGISTRY.get(column.quantity)
    name = row.name if row else f"quantity {column.quantity}"
    instance = f" #{column.instance}" if column.instance else ""
    shown = column.values[: _ROWS_SHOWN * max(1, column.bands)]
    more = " .." if len(shown) < len(column.values) else ""
    exponent = column.exponent
    if row:
        values = ", ".join(f"{row.value(value, exponent):g}" for value in shown)
        yield f"       {name}{instance} ({row.unit}): {values}{more}"
    elif exponent is not None:
        values = ", ".join(map(str, shown))
        yield f"       {name}{instance} (10^{exponent}): {values}{more}"
    else:
        yield f"       {name}{instance} (unscaled): {', '.join(map(str, shown))}{more}"
    if column.qualities:
        words = [names.name(names.QUALITIES, code) for code in column.qualities[:_ROWS_SHOWN]]
        yield f"         quality: {', '.join(words)}"
