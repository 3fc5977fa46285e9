"""Three decoders on the same bytes: they agree on what it means, or all refuse it."""

from typing import Any

from protocol import wire
from protocol.decoder import decode_body, open_frame
from protocol.schema import FRAME, ConstructError
from protocol.wire import FrameError
from tests.protocol import plain_decoder
from tests.protocol.fields import of_frame, resolved

Fields = dict[str, Any]
BIT_REASONS = {"bits", "padding", "sparse", "times"}
"""Refusals that only show in the bit columns, which the schema leaves alone."""


def plain(frame: bytes, key: bytes | None) -> Fields | str:
    """The plain decoder's meaning, or its reason."""
    try:
        return plain_decoder.decode(frame, key)
    except plain_decoder.Refused as refused:
        return str(refused.args[0])


def fast(frame: bytes, key: bytes | None) -> Fields | str:
    """The fast decoder's meaning, or its reason."""
    try:
        envelope = open_frame(frame, key)
        return of_frame(decode_body(envelope))
    except FrameError as refused:
        return refused.reason


def schema(frame: bytes) -> Any | None:
    """construct's reading of a frame whatever its trailer, or None."""
    try:
        return FRAME.parse(frame)
    except ConstructError:
        return None


def check(frame: bytes, key: bytes | None) -> Fields | str:
    """Hold the three against each other; the plain decoder's meaning or reason."""
    by_plain, by_fast, by_schema = plain(frame, key), fast(frame, key), schema(frame)
    if isinstance(by_plain, str) or isinstance(by_fast, str):
        assert isinstance(by_fast, str), (by_plain, frame.hex())
        assert isinstance(by_plain, str), (by_fast, frame.hex())
        assert by_schema is None or by_fast in BIT_REASONS | {"tag", "crc", "key", "downgrade"}, (
            by_fast,
            frame.hex(),
        )
        return by_plain
    assert by_fast == resolved(by_plain)
    assert by_schema is not None, frame.hex()
    assert FRAME.build(by_schema) == frame
    check_heads(by_schema, by_plain)
    return by_plain


def check_heads(parsed: Any, meaning: Fields) -> None:
    """The schema's columns are those of the meaning, behind the residuals."""
    for section, expected in zip(parsed.sections, meaning["sections"], strict=True):
        if section.tag != wire.S_SAMPLES:
            continue
        heads = [column for column in section.data.columns if column.quantity]
        assert section.data.n == len(expected["times_ms"])
        for head, column in zip(heads, expected["columns"], strict=True):
            assert head.quantity == column["quantity"]
            assert (head.instance or 0) == column["instance"]
            assert head.exponent == column["exponent"]
            assert (head.vector["count"] if head.vector else 0) == column["bands"]
            assert head.first_value == column["values"][0]
