"""The fast decoder's and the schema's readings in the words of the vectors' meanings."""

from typing import Any

from protocol import names, wire
from protocol import sections as s
from protocol.decoder import Frame, Samples
from protocol.registry import REGISTRY

Fields = dict[str, Any]


def of_frame(frame: Frame) -> Fields:
    """A decoded frame as the plain decoder shows it, but for exponents: they are resolved."""
    return {
        "type": names.TYPES[frame.type],
        "authenticated": frame.authenticated,
        "node": frame.node,
        "boot": frame.boot,
        "seq": frame.seq,
        "sections": [of_section(section) for section in frame.sections],
    }


def of_section(section: s.Section) -> Fields:
    match section:
        case Samples(t0, period, times, columns):
            fields: Fields = {"section": "SAMPLES", "t0_ms": t0, "period_ms": period}
            columns_shown = [
                {
                    name: getattr(column, name)
                    for name in (
                        "quantity", "instance", "exponent", "first_band", "bands", "values",
                        "qualities",
                    )
                }
                for column in columns
            ]  # fmt: skip
            return {**fields, "times_ms": list(times), "columns": columns_shown}
        case s.Info():
            return {"section": "INFO", "entries": info(section)}
        case s.Descriptors(channels):
            shown = [[c.quantity, c.instance, c.exponent, c.model, c.name] for c in channels]
            return {"section": "DESCRIPTORS", "channels": shown}
        case s.State():
            fields = plain(section, "STATE")
            fields["boots"] = [[b.boot, b.lowest, b.highest] for b in section.boots]
            fields["dropped"] = [list(each) for each in section.dropped]
            return fields
        case s.Ack(collector, entries):
            shown = [[e.boot, e.upto, e.mask] for e in entries]
            return {"section": "ACK", "collector": collector, "entries": shown}
        case s.Config(id, entries):
            shown = [[key, value.hex()] for key, value in entries]
            return {"section": "CONFIG", "id": id, "entries": shown}
        case s.Unknown(tag, data):
            return {"section": tag, "data": data.hex()}
    return plain(section, NAMES[type(section)])


NAMES = {
    s.Text: "TEXT",
    s.ClockSet: "CLOCK",
    s.Outcome: "OUTCOME",
    s.TimeAnswer: "TIME",
    s.Command: "COMMAND",
    s.Offer: "UPDATE",
    s.Chunk: "UPDATE",
}


def plain(section: Any, name: str) -> Fields:
    values = {field: getattr(section, field) for field in section.__dataclass_fields__}
    shown = {key: v.hex() if isinstance(v, bytes) else v for key, v in values.items()}
    return {"section": name, **shown}


def info(section: s.Info) -> dict[str, str]:
    switch = section.key_switch
    known = {
        wire.INFO_FIRMWARE: None if section.firmware is None else section.firmware.encode(),
        wire.INFO_BOARD: None if section.board is None else section.board.encode(),
        wire.INFO_RESET_CAUSE: little(section.reset_cause, 1),
        wire.INFO_REGISTRY: little(section.registry, 2),
        wire.INFO_IDENTITY: section.identity,
        wire.INFO_KEY_SWITCH: None
        if switch is None
        else switch[0].to_bytes(4, "little") + switch[1].to_bytes(4, "little"),
        **section.others,
    }
    return {str(key): value.hex() for key, value in known.items() if value is not None}


def little(value: int | None, count: int) -> bytes | None:
    return None if value is None else value.to_bytes(count, "little")


def resolved(meaning: Fields) -> Fields:
    """A meaning with the registry's exponents in the place of those that were not sent."""
    sections = []
    for section in meaning["sections"]:
        columns = section.get("columns")
        if columns is not None:
            section = {**section, "columns": [with_exponent(column) for column in columns]}
        sections.append(section)
    return {**meaning, "sections": sections}


def with_exponent(column: Fields) -> Fields:
    row = REGISTRY.get(column["quantity"])
    if column["exponent"] is not None or row is None:
        return column
    return {**column, "exponent": row.exponent}
