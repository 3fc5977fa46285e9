"""A frame explained field by field, for people: what the schema finds, in words, on 80 columns."""

from collections.abc import Iterator
from textwrap import wrap

from protocol import names, wire, wording
from protocol.columns import Column, Samples, parse_samples
from protocol.decoder import decode, open_frame
from protocol.mac import DOWN, UP, derive
from protocol.reasons import ALL
from protocol.registry import REGISTRY
from protocol.schema import FRAME
from protocol.schema_walk import EACH, Fault, Field, Part, Path, walk
from protocol.wire import FrameError

WIDTH = 80
_ROWS_SHOWN = 16
_BYTES_SHOWN = 8
_HEX_COLUMNS = 3 * _BYTES_SHOWN - 1
_NAME_COLUMNS = 18
_HANGING = " " * (_HEX_COLUMNS + 11)
_VALUES = " " * 7
_SECTION = ("sections", EACH)
_CONTENT = (*_SECTION, "data")


def explain(raw: bytes, key: bytes | None = None) -> str:
    """What each byte of a frame means, and why it is refused if it is.

    key is the node's key (32 bytes), from which the direction's is derived; without it an
    authenticated frame's tag is shown and not checked. Never raises for any bytes.
    """
    lines = [f"{len(raw)} bytes", *_parts(raw), "", *wrap(_verdict(raw, key), WIDTH)]
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


def _parts(raw: bytes) -> Iterator[str]:
    """A line or more for each field and each fault."""
    section = ""
    starts_at = 0
    sound = True
    for part in walk(FRAME, raw):
        if part.path == (*_SECTION, "tag") and isinstance(part, Field):
            section = names.SECTIONS.get(part.value, "")
            sound = True
            yield ""
        elif part.path == (*_CONTENT, "length"):
            starts_at = part.end
        elif part.path[:2] != _SECTION:
            section = ""
        if part.path == ("trailer",):
            yield ""
        yield from _lines(raw, part, section)
        sound = sound and isinstance(part, Field)
        if section == "SAMPLES" and sound and part.path == (*_CONTENT, "bits"):
            yield from _values(raw[starts_at : part.end])


def _lines(raw: bytes, part: Part, section: str) -> list[str]:
    """The field's place, bytes, name and meaning; of a fault what is wrong."""
    name, depth = name_of(part.path)
    data = raw[part.start : part.end]
    if isinstance(part, Fault):
        mark = f"{part.start:5}  "
        told = f"^ {part.words}" if name == "data" else f"^ {name}: {part.words}"
        if not data:
            return wrap(told, WIDTH, initial_indent=mark, subsequent_indent=" " * 9)
        told = f"{len(data)} byte{'s'[: len(data) > 1]} {part.words}"
        name = ""
    else:
        told = wording.told(section, name, part.value, part.beside)
    shown = data[:_BYTES_SHOWN].hex(" ")
    if len(data) > _BYTES_SHOWN:
        shown = data[: _BYTES_SHOWN - 1].hex(" ") + " .."
    label = "  " * depth + name
    head = f"{part.start:5}  {shown:{_HEX_COLUMNS}}  {label:{_NAME_COLUMNS}} "
    return wrap(told, WIDTH, initial_indent=head, subsequent_indent=_HANGING) or [head.rstrip()]


def name_of(path: Path) -> tuple[str, int]:
    """A field's name within the innermost of several alike, and how deep that lies."""
    if path[:2] == _SECTION:
        path = path[2:]
        if path[:1] == ("data",) and len(path) > 1 and path[-1] != "length":
            path = path[1:]
        elif path == ("data", "length"):
            return "length", 0
    depth = path.count(EACH)
    if depth:
        path = path[len(path) - path[::-1].index(EACH) :]
    return " ".join(part for part in path if part not in ("data", "content")) or "data", depth


def _values(content: bytes) -> Iterator[str]:
    """The decoded rows of a SAMPLES section."""
    try:
        samples, _ = parse_samples(content, wire.VALUES_MAX)
    except FrameError as error:
        yield from wrap(f"^ {ALL[error.reason]}", WIDTH, initial_indent=_VALUES)
        return
    times = ", ".join(map(str, samples.times_ms[:_ROWS_SHOWN]))
    more = " .." if len(samples.times_ms) > _ROWS_SHOWN else ""
    yield from _wrapped(f"times (ms): {times}{more}")
    for column in samples.columns:
        yield from _column_lines(column, samples)


def _wrapped(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=_VALUES, subsequent_indent=_VALUES + "    ")


def _column_lines(column: Column, samples: Samples) -> Iterator[str]:
    row = REGISTRY.get(column.quantity)
    name = row.name if row else f"quantity {column.quantity}"
    instance = f" #{column.instance}" if column.instance else ""
    shown = column.values[: _ROWS_SHOWN * max(1, column.bands)]
    more = " .." if len(shown) < len(column.values) else ""
    exponent = column.exponent
    if row:
        scale = row.unit
        values = ", ".join(f"{row.value(value, exponent):g}" for value in shown)
    else:
        scale = "unscaled" if exponent is None else f"10^{exponent}"
        values = ", ".join(map(str, shown))
    yield from _wrapped(f"{name}{instance} ({scale}): {values}{more}")
    if column.qualities:
        words = [names.name(names.QUALITIES, code) for code in column.qualities[:_ROWS_SHOWN]]
        yield from _wrapped(f"  quality: {', '.join(words)}")
