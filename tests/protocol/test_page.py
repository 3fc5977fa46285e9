"""docs/protocol.md: fresh, and true where it is written by hand."""

import hmac
import re

import pytest

from protocol import names, reasons, wire
from protocol.decoder import decode, open_frame
from protocol.mac import CLAIM, DOWN, UP, derive
from protocol.spec import document

PAGE = document.PAGE.read_text(encoding="utf-8")


def test_generated_parts_are_fresh() -> None:
    assert document.filled(PAGE) == PAGE, "run python -m protocol.spec.document"
    assert document.main(["--check"]) == 0


def test_every_block_stands_in_the_page() -> None:
    for block in document.BLOCKS:
        assert f"<!-- generated: {block} -->" in PAGE


def test_the_example_decoded_by_hand() -> None:
    frame, key = document.example_frame()
    opened = open_frame(frame, derive(key, UP))
    assert opened.authenticated
    (samples,) = decode(frame).samples
    assert [column.values for column in samples.columns] == [
        [10, 12, 9, 11, 11],
        [215, 215, 213, 214, 214],
        [4980, 4991, 5003, 4999, 5003],
    ]
    bits = "".join(f"{byte:08b} " for byte in frame[46:52]).strip()
    assert bits in PAGE
    for number in ("4980 4991 5003 4999 5003", "215 215 213 214 214"):
        assert number in PAGE


def test_the_worked_codes_are_the_bits() -> None:
    """The codes shown in the table and the two sentences, put together, are the frame's bits."""
    text = PAGE[PAGE.index("PM2.5 first, Rice(1)") : PAGE.index("Three zeros fill the byte")]
    codes = re.findall(r"`([01]+)`", text)
    frame, _ = document.example_frame()
    assert "".join(codes) + "000" == "".join(f"{byte:08b}" for byte in frame[46:52])


@pytest.mark.parametrize("mapping", [names.TYPES, names.SECTIONS, names.QUALITIES])
def test_every_number_has_its_word(mapping: dict[int, str]) -> None:
    assert mapping
    assert all(word in PAGE for word in mapping.values())


def test_every_reason_is_in_the_page() -> None:
    for reason in reasons.ALL:
        assert f"| `{reason}` |" in PAGE


def test_keys_are_hmac_of_their_labels() -> None:
    key = bytes(range(32))
    for label in (UP, DOWN, CLAIM):
        assert derive(key, label) == hmac.digest(key, label, "sha256")
    assert derive(bytes(100), UP) == hmac.digest(bytes(100), UP, "sha256")


def test_limits_in_the_page_are_those_of_the_code() -> None:
    for limit in (wire.FRAME_MAX, wire.FRAME_MAX_COLLECTOR, wire.DOWNLINK_MAX, wire.VALUES_MAX):
        assert f"| {limit:,} |" in PAGE
