"""Fill the generated parts of docs/protocol.md: python -m protocol.spec.document [--check]."""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from protocol import compose, names, reasons, wire
from protocol.explain import explain
from protocol.layout import ALLOWED, INFO_LENGTHS, REQUIRED
from protocol.mac import UP, derive
from protocol.registry import REGISTRY, REVISION, SENSOR_MODELS, Quantity
from protocol.samples import Channel

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->)(.*?)(<!-- end -->)", re.DOTALL)

_TYPES = {
    wire.T_DATA: ("up, sequenced", "samples"),
    wire.T_HELLO: ("up, sequenced", "who and what the node is"),
    wire.T_LIVE: ("up, never kept", "uptime now, what is in the spool, what was dropped"),
    wire.T_LOG: ("up, sequenced", "lines for people"),
    wire.T_RESULT: ("up, sequenced", "the answer to a CONFIG, COMMAND or UPDATE"),
    wire.T_ACK: ("down", "what the collector holds"),
    wire.T_TIME: ("down", "Unix time, in answer to LIVE"),
    wire.T_CONFIG: ("down", "settings"),
    wire.T_COMMAND: ("down", "something to do"),
    wire.T_UPDATE: ("down", "a firmware's offer or a piece of it"),
}
_LIMITS = (
    (wire.FRAME_MAX, "bytes of a frame that a board sends, or that goes over a serial line"),
    (wire.FRAME_MAX_COLLECTOR, "bytes of a frame that a collector accepts"),
    (wire.DOWNLINK_MAX, "bytes of a downlink frame"),
    (wire.SECTIONS_MAX, "sections in a frame"),
    (wire.ROWS_MAX, "rows in a SAMPLES section"),
    (wire.COLUMNS_MAX, "columns in a SAMPLES section"),
    (wire.VALUES_MAX, "values in a frame"),
    (wire.BOOTS_MAX, "boots listed in STATE"),
    (compose.ACK_ENTRIES_MAX, "entries in an ACK (by the frame's limit)"),
)
_INFO = {
    wire.INFO_FIRMWARE: "firmware's version, text",
    wire.INFO_BOARD: "board's name, text",
    wire.INFO_RESET_CAUSE: "reset cause, u8",
    wire.INFO_REGISTRY: "registry revision that the firmware knows, u16",
    wire.INFO_IDENTITY: "the node's UUID, 16 bytes: its identity in the world",
    wire.INFO_KEY_SWITCH: "boot u32, seq u32: after it no frame is under the former key",
}
_QUALITY = {
    wire.Q_WARMING: "the sensor is not yet to be trusted",
    wire.Q_FAULT: "the sensor says that it is broken, or its answer was damaged",
    wire.Q_BELOW: "below what the sensor or the coding can tell",
    wire.Q_ABOVE: "above it, or saturated",
    wire.Q_STALE: "an old value again",
    wire.Q_MISSING: "no value",
    wire.Q_MAINTENANCE: "during maintenance or calibration",
    wire.Q_SUSPECT: "implausible",
}
_ARGUMENTS = {
    wire.C_OTHER_SLOT: "counter u32",
    wire.C_DROP_SPOOL: "counter u32",
    wire.C_RESEND: "boot u32, from u32, to u32: acknowledged frames are sent once more",
}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def limits() -> str:
    """The numbers that bound everything."""
    return table(("limit", "of"), ((f"{value:,}", what) for value, what in _LIMITS))


def types() -> str:
    """Frame types."""
    rows = ((number, names.TYPES[number], *_TYPES[number]) for number in sorted(_TYPES))
    return table(("type", "name", "way", "holds"), rows)


def sections() -> str:
    """Sections and where they stand."""
    return table(
        ("tag", "section", "critical", "in"),
        (
            (f"0x{tag:02x}", name, "yes" if tag & 0x80 else "no", _places(tag))
            for tag, name in sorted(names.SECTIONS.items(), key=lambda item: item[0] & 0x7F)
        ),
    )


def _places(tag: int) -> str:
    if tag & 0x80:
        return ", ".join(
            names.TYPES[type] + (" (once)" if REQUIRED.get(type) == tag else "")
            for type in sorted(ALLOWED)
            if tag in ALLOWED[type]
        )
    return {
        wire.S_INFO: "HELLO",
        wire.S_DESCRIPTORS: "HELLO",
        wire.S_TEXT: "LOG",
        wire.S_CLOCK: "DATA, HELLO",
    }[tag]


def info() -> str:
    """Entries of INFO."""
    return table(
        ("key", "value", "bytes"),
        ((key, words, INFO_LENGTHS.get(key, "any")) for key, words in sorted(_INFO.items())),
    )


def qualities() -> str:
    """Quality codes."""
    rows = [(code, word, _QUALITY.get(code, "")) for code, word in sorted(names.QUALITIES.items())]
    return table(("code", "quality", "meaning"), [*rows, ("9 ..", "reserved", "read as not ok")])


def commands() -> str:
    """Commands and their arguments."""
    rows = ((code, word, _ARGUMENTS.get(code, "")) for code, word in sorted(names.COMMANDS.items()))
    return table(("code", "command", "arguments"), rows)


def words(head: str, mapping: Mapping[int, str]) -> str:
    """Numbers and their words."""
    return table(("number", head), sorted(mapping.items()))


def registry() -> str:
    """All quantities."""
    head = ("id", "name", "quantity", "unit", "exponent", "shape", "several become", "plausible")
    return table(head, (_row(row) for row in REGISTRY.values()))


def _row(row: Quantity) -> Sequence[object]:
    exponent = f"{row.exponent}, /{row.divisor}" if row.divisor > 1 else row.exponent
    note = f" ({row.note})" if row.note in ("Plantower", "Sensirion") else ""
    title = f"[{row.title}]({row.definition})" if row.definition else row.title
    plausible = f"{row.low:g} .. {row.high:g}"
    return (
        f"0x{row.id:02x}",
        f"`{row.name}`",
        title + note,
        row.unit,
        exponent,
        row.shape,
        row.aggregate,
        plausible,
    )


def refusals(mapping: Mapping[str, str]) -> str:
    """Reasons in words."""
    return table(("reason", "means"), ((f"`{word}`", text) for word, text in mapping.items()))


def example_frame() -> tuple[bytes, bytes]:
    """The frame that the page decodes by hand, and the node's key."""
    key = bytes(range(32))
    rows = [(10, 215, 4980), (12, 215, 4991), (9, 213, 5003), (11, 214, 4999), (11, None, 5003)]
    channels = [Channel(2), Channel(16), Channel(17)]
    frame = compose.compose_data(
        derive(key, UP), 0xA1B2C3D4, 1764000000, 42, channels, rows, 3_600_000, 60_000
    )
    return frame, key


def example() -> str:
    """The frame in hex, and all its fields."""
    frame, key = example_frame()
    lines = [frame[at : at + 16].hex(" ") for at in range(0, len(frame), 16)]
    hexadecimal = "\n".join(lines)
    return f"```\n{hexadecimal}\n```\n\n```\n{explain(frame, key)}\n```"


BLOCKS: Mapping[str, Callable[[], str]] = {
    "limits": limits,
    "types": types,
    "sections": sections,
    "info": info,
    "models": lambda: words("model", SENSOR_MODELS),
    "drops": lambda: words("reason", names.DROPS),
    "clocks": lambda: words("source", names.CLOCKS),
    "statuses": lambda: words("status", names.STATUSES),
    "qualities": qualities,
    "commands": commands,
    "revision": lambda: str(REVISION),
    "registry": registry,
    "example": example,
    "envelope-reasons": lambda: refusals(reasons.ENVELOPE),
    "content-reasons": lambda: refusals({**reasons.CONTENT, **reasons.LINE}),
}


def filled(page: str) -> str:
    """The page with every generated part made anew; raises KeyError for an unknown one."""

    def fill(match: re.Match[str]) -> str:
        content = BLOCKS[match[2]]()
        inline = "\n" not in content
        return match[1] + (content if inline else f"\n{content}\n") + match[4]

    return _BLOCK.sub(fill, page)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with --check say whether it is fresh."""
    page = PAGE.read_text(encoding="utf-8")
    fresh = filled(page)
    if "--check" not in arguments:
        PAGE.write_text(fresh, encoding="utf-8")
    elif page != fresh:
        print("docs/protocol.md is stale: run python -m protocol.spec.document", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
