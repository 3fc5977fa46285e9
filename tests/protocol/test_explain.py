"""What explain tells: every byte once, every fault, within 80 columns, and nothing made up."""

import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import pytest

from protocol import names, wire, wording
from protocol.explain import WIDTH, explain, name_of
from protocol.schema import FRAME, ConstructError
from protocol.schema_walk import Fault, Field, Part, walk
from tests.protocol.good_frames import NODE_KEY, all_frames
from tests.protocol.mutations import hostile
from tests.protocol.refusals import all_refusals

GOOD = [raw for _, raw, _ in all_frames()]
OUTSIDE_SCHEMA = {"tag", "crc", "key", "downgrade"}


def damaged(seed: int, count: int) -> Iterator[bytes]:
    """Noise, frames cut anywhere, frames with altered bytes, frames sealed after an alteration."""
    rng = random.Random(seed)
    yield from islice(hostile(seed), count)
    for _ in range(count):
        raw = bytearray(rng.choice(GOOD)[:600])
        yield bytes(raw[: rng.randrange(len(raw) + 1)])
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        yield bytes(raw)
        yield rng.randbytes(rng.randrange(120))
        yield raw[:2] + rng.randbytes(rng.randrange(60))


def covered(parts: list[Part], raw: bytes) -> bool:
    """Whether the parts follow each other without gap and overlap, from first to last byte."""
    at = 0
    for part in parts:
        if part.start != at or part.end < at:
            return False
        at = part.end
    return at == len(raw)


@pytest.mark.parametrize(("name", "raw"), [(name, raw) for name, raw, _ in all_frames()])
def test_every_byte_of_a_good_frame_is_in_one_field(name: str, raw: bytes) -> None:
    parts = walk(FRAME, raw)
    assert covered(parts, raw)
    assert not [part for part in parts if isinstance(part, Fault)]
    text = explain(raw)
    assert "^" not in text
    assert "not explained" not in text
    assert text.splitlines()[-1].startswith("accepted")


@pytest.mark.parametrize("seed", range(4))
def test_damaged_frames_have_a_fault_exactly_when_the_schema_refuses_them(seed: int) -> None:
    refused = 0
    for raw in damaged(seed, 300):
        parts = walk(FRAME, raw)
        assert covered(parts, raw), raw.hex()
        try:
            FRAME.parse(raw)
        except ConstructError:
            refused += 1
            assert any(isinstance(part, Fault) for part in parts), raw.hex()
        else:
            assert not any(isinstance(part, Fault) for part in parts), raw.hex()
    assert refused > 500


@pytest.mark.parametrize("seed", range(10, 13))
def test_whatever_comes_is_told_within_80_columns_of_printable_text(seed: int) -> None:
    for raw in [*damaged(seed, 150), bytes(5000), b"\xa1" * 5000]:
        lines = explain(raw, NODE_KEY).splitlines()
        assert all(len(line) <= WIDTH and line.isprintable() for line in lines), raw.hex()
        assert lines[0] == f"{len(raw)} bytes"
        assert any(line.startswith(("accepted", "refused")) for line in lines)


def test_what_the_decoder_refuses_is_shown_at_its_place() -> None:
    for name, reason, raw, _ in all_refusals():
        text = explain(raw)
        if reason not in OUTSIDE_SCHEMA:
            told = ("^ ", "not explained", "more than there may be")
            assert any(words in text for words in told), (name, reason)


def test_damage_in_a_section_hides_no_other_section() -> None:
    raw = bytearray(next(raw for name, raw, _ in all_frames() if "two SAMPLES" in name))
    raw[28] = 0
    lines = explain(bytes(raw)).splitlines()
    assert "   29  ^ no rows" in lines
    assert any(line.endswith("laeq (dB): 52.3, 52.5, 51.9") for line in lines)
    assert "2025-11-24T17:00:00.123Z" in "\n".join(lines)


def test_a_cut_frame_is_told_up_to_the_cut() -> None:
    raw = next(raw for name, raw, _ in all_frames() if "two SAMPLES" in name)[:40]
    lines = explain(raw).splitlines()
    assert "   16  ^ sections: 57 bytes are announced, 24 are there" in lines
    assert "   37  ^ uptime_ms: the bytes end within this field" in lines
    assert f"{'   37  80 ee 36':51}3 bytes not explained" in lines


def test_bits_that_the_schema_leaves_packed_are_judged_too() -> None:
    raw = next(raw for name, _, raw, _ in all_refusals() if name == "no bits")
    assert "       ^ the codes run past the section's end" in explain(raw).splitlines()


def met() -> Iterator[tuple[str, str]]:
    """(section, name) of each field of the good frames."""
    for raw in GOOD:
        section = ""
        for part in walk(FRAME, raw):
            assert isinstance(part, Field)
            if part.path[-1] == "tag":
                section = names.SECTIONS.get(part.value, "")
            yield section if part.path[0] == "sections" else "", name_of(part.path)[0]


def test_all_words_are_for_fields_that_the_schema_has() -> None:
    fields = set(met())
    known = {f"{section}.{name}" for section, name in fields} | {name for _, name in fields}
    assert set(wording.WORDS) <= known


@pytest.mark.parametrize(
    ("section", "name", "value", "beside", "words"),
    [
        ("INFO", "value", b"\x01\x00", {"key": wire.INFO_REGISTRY}, "1"),
        ("INFO", "value", b"abc", {"key": wire.INFO_KEY_SWITCH}, "616263"),
        ("CONFIG", "value", b"\x78", {"key": 2}, "60"),
        ("CONFIG", "value", b"\x80", {"key": 2}, "not a number"),
        ("CONFIG", "value", b"ab", {"key": 36}, "'ab'"),
        ("CONFIG", "value", b"ab", {"key": 9999}, "6162"),
        ("COMMAND", "arguments", b"", {}, "none"),
        ("COMMAND", "arguments", b"\1\0\0\0\2\0\0\0", {}, "1, 2"),
        ("OUTCOME", "data", b"\0\x10\0\0", {"status": wire.R_WANTED}, "from byte 4096"),
        ("OUTCOME", "data", b"no room", {"status": wire.R_FAILED}, "'no room'"),
        ("OUTCOME", "code", 7, {"type": wire.T_COMMAND}, "resend"),
        ("OUTCOME", "code", 2, {"type": wire.T_CONFIG}, "2 (sample_interval_s)"),
        ("ACK", "mask", 5, {"upto": 10}, "also 12, 14"),
        ("TEXT", "data", b"\x1b[2J", {}, r"'\x1b[2J'"),
        ("", "boot", 1_764_000_000, {}, "1764000000, from 2025-11-24"),
        ("STATE", "boot", 1_764_000_000, {}, "1764000000"),
    ],
)
def test_values_are_said_in_the_words_of_their_field(
    section: str, name: str, value: object, beside: dict[str, object], words: str
) -> None:
    assert wording.told(section, name, value, beside) == words


def test_the_daemon_never_loads_construct() -> None:
    """Only `decode` and `quarantine explain` want it, and they run for a moment."""
    code = (
        "import sys; from collector import app, cli, daemon; from collector.commands import run;"
        "print(sorted(m for m in sys.modules if m in ('construct', 'protocol.schema')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
