"""Why frames are refused: every reason that a FrameError can carry, in words."""

from collections.abc import Mapping
from types import MappingProxyType

ENVELOPE: Mapping[str, str] = MappingProxyType(
    {
        "short": "fewer bytes than a header and a trailer",
        "long": "more bytes than a frame may have",
        "magic": "the first byte does not begin with 0xA",
        "version": "another major version than 1",
        "incompatible": "bit 6 or 7 of type_flags is set",
        "length": "header, body_len and trailer do not add up to the frame's length",
        "key": "authenticated, and the node has no key here",
        "tag": "the tag does not fit: another key, or altered",
        "downgrade": "unauthenticated, though the node has a key",
        "crc": "unauthenticated, and the CRC does not fit",
    }
)
"""The frame is not authentic: quarantined, never stored, never acknowledged."""

CONTENT: Mapping[str, str] = MappingProxyType(
    {
        "type": "unknown frame type",
        "section": "a section runs past the body's end",
        "sections": "more than 64 sections",
        "critical": "an unknown section that must not be skipped",
        "misplaced": "a critical section that this type of frame has not",
        "absent": "the section that makes this type of frame is missing, or there twice",
        "samples": "SAMPLES shorter than its fixed fields",
        "varint": "a uvarint cut off, above 32 bits, or longer than needed",
        "rows": "no rows",
        "columns": "more than 64 columns",
        "values": "more than 16,384 values in a frame",
        "column": "a column's head runs past the section's end",
        "quantity": "quantity 0xFF",
        "exponent": "outside -9 to 9, or missing from quantity 0xC0 up",
        "bands": "no bands, or bands beyond number 255",
        "duplicate": "two columns of one quantity and instance",
        "quality": "a quality run of no rows, or runs of more rows than there are",
        "coding": "a single value that is not coded as constant",
        "sparse": "sparse steps, gaps or k that cannot be, or sparse in a vector",
        "bits": "the codes run past the section's end",
        "padding": "bits after the last code that are not the zeros of its byte",
        "times": "time residuals that are not the first column, have options, or go back",
        "info": "INFO ends within an entry, has a key twice, or one of the wrong length",
        "descriptors": "DESCRIPTORS ends within an entry",
        "state": "STATE ends within a field, has more than 32 boots, boots not in rising order, or "
        "a lowest kept that is 0 or above highest issued + 1",
        "clock": "CLOCK has another length",
        "outcome": "OUTCOME ends within a field",
        "ack": "ACK is no whole number of entries",
        "time": "TIME has another length",
        "config": "CONFIG ends within an entry",
        "command": "COMMAND ends within a field, or its arguments have another length",
        "update": "UPDATE is neither an offer nor a chunk, or ends within a field",
    }
)
"""The frame may be authentic and cannot be decoded: archived as it is, and acknowledged."""

LINE: Mapping[str, str] = MappingProxyType(
    {"cobs": "a group runs past the end of what lies between two zeros, or holds a zero"}
)
"""What came over a serial line is not a frame."""

ALL: Mapping[str, str] = MappingProxyType({**ENVELOPE, **CONTENT, **LINE})
