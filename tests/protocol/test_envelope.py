"""The collector's header, section walk and tag check, held against the board's and the wire."""

import random
from struct import pack

import pytest

from protocol import wire
from protocol.compose import compose_log
from protocol.envelope import TagChecker, head_of, sections
from protocol.frame import parse_header
from protocol.identity import BootId, FrameId
from protocol.mac import Mac
from protocol.wire import FrameError
from tests.protocol.good_frames import all_frames
from tests.protocol.mutations import hostile

KEY = bytes(range(32))


def verdict(parser: object, raw: bytes) -> tuple[int, ...] | str:
    try:
        type, flags, end, node, boot, seq = parser(raw)  # type: ignore[operator]
    except FrameError as error:
        return error.reason
    return type, bool(flags), end, node, boot, seq


def host(raw: bytes) -> tuple[int, ...]:
    head = head_of(raw)
    return head.type, head.authenticated, head.end, head.node, head.boot, head.seq


def board(raw: bytes) -> tuple[int, ...]:
    type, flags, body, node, boot, seq = parse_header(raw)
    return type, flags, wire.HEADER + body, node, boot, seq


def test_board_and_collector_read_one_header() -> None:
    rng = random.Random(4)
    frames = [raw for _, raw, _ in all_frames() if len(raw) <= wire.FRAME_MAX_COLLECTOR]
    heads = set()
    for raw in frames:
        for _ in range(40):
            damaged = bytearray(raw)
            damaged[rng.randrange(wire.HEADER)] ^= 1 << rng.randrange(8)
            found = verdict(host, bytes(damaged))
            assert found == verdict(board, bytes(damaged))
            heads.add(found if isinstance(found, str) else "")
        cut = raw[: rng.randrange(len(raw))]
        assert verdict(host, cut) == verdict(board, cut)
    assert heads == {"", "magic", "version", "incompatible", "length"}


def test_a_frame_of_too_many_bytes_is_refused_before_anything_else() -> None:
    with pytest.raises(FrameError, match="long: 4097 bytes, 4096 at most"):
        head_of(bytes(wire.FRAME_MAX_COLLECTOR + 1))


def test_a_header_names_its_frame_and_its_boot() -> None:
    head = head_of(compose_log(KEY, 7, 8, 9, "hello"))
    assert head.frame_id == FrameId(7, 8, 9) == (7, 8, 9)
    assert head.boot_id == head.frame_id.of_boot == BootId(7, 8)
    assert str(head.frame_id) == "00000007/8/9"


def test_sections_follow_each_other_without_a_gap() -> None:
    for _, raw, _ in all_frames():
        head = head_of(raw)
        at = 0
        body = raw[wire.HEADER : head.end]
        for tag, start, end in sections(body):
            assert (tag, start) == (body[at], at + 3)
            at = end
        assert at == len(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x05", "section"),
        (b"\x05\0", "section"),
        (b"\x05\x01\0", "section"),
        (b"\x05\0\0" * 65, "sections"),
    ],
)
def test_a_body_that_does_not_add_up_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        sections(memoryview(body))
    assert refused.value.reason == reason
    assert len(sections(b"\x05\0\0" * 64)) == wire.SECTIONS_MAX


def test_the_checker_s_tag_is_the_board_s() -> None:
    checker = TagChecker()
    for seed, raw in enumerate(hostile(2)):
        if seed == 300:
            break
        key = pack("<I", seed % 7) * 8
        tagged = raw + Mac(key).tag(raw)[: wire.TAG_BYTES]
        assert checker.holds(tagged, len(raw), key)
        assert not checker.holds(tagged, len(raw), KEY)
        assert not checker.holds(tagged[:-1] + bytes([tagged[-1] ^ 1]), len(raw), key)
