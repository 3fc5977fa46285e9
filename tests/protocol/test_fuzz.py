"""Hostile bytes: nothing but the documented refusal, and nothing above the limits."""

import random
import tracemalloc
from itertools import islice
from struct import pack

import pytest

from protocol import reasons
from protocol.decoder import decode_body, open_frame
from protocol.explain import explain
from protocol.serial_stream import CHUNK_MAX, LINE_MAX, RawFrame, SerialStream, stuffed
from protocol.wire import FrameError
from tests.protocol import agreement, fuzz
from tests.protocol.good_frames import UP, all_frames
from tests.protocol.lines import BOOT_LOG, TRACEBACK
from tests.protocol.mutations import hostile
from tests.protocol.refusals import KEY, samples, sealed


def test_hostile_frames_are_refused_with_a_known_reason() -> None:
    found = fuzz.seeded(30_000, 0, seed=11)
    assert set(found) <= {"accepted", *reasons.ALL}
    assert found["accepted"] > 1000
    assert len(found) > 30


@pytest.mark.parametrize("seed", range(4))
def test_decoders_agree_on_hostile_frames(seed: int) -> None:
    for frame in islice(hostile(seed), 500):
        agreement.check(frame, KEY)


def test_no_flipped_bit_and_no_truncation_of_a_signed_frame_is_accepted() -> None:
    frame = next(
        frame for name, frame, _ in all_frames() if name == "DATA with two SAMPLES and a clock"
    )
    for bit in range(len(frame) * 8):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            open_frame(bytes(damaged), UP)
    for length in range(len(frame)):
        with pytest.raises(FrameError):
            open_frame(frame[:length], UP)


def bomb(columns: int, rows: int, bands: int) -> bytes:
    heads = [bytes([quantity, 0x2F, 0, bands, 0]) for quantity in range(1, columns + 1)]
    return sealed(samples(heads, rows=rows))


@pytest.mark.parametrize(
    ("columns", "rows", "bands"), [(64, 255, 255), (2, 255, 255), (64, 255, 2)]
)
def test_a_bomb_is_refused_before_there_is_room_made_for_it(
    columns: int, rows: int, bands: int
) -> None:
    frame = bomb(columns, rows, bands)
    tracemalloc.start()
    with pytest.raises(FrameError, match="values"):
        decode_body(open_frame(frame, KEY))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_the_largest_frame_takes_bounded_memory() -> None:
    frame = bomb(64, 255, 1)
    tracemalloc.start()
    decode_body(open_frame(frame, KEY))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_explain_never_raises() -> None:
    for frame in islice(hostile(5), 2000):
        assert explain(frame, KEY).split("\n\n")[-1].startswith(("accepted", "refused"))


def test_every_undamaged_frame_is_found_on_a_bad_line_and_none_is_invented() -> None:
    rng = random.Random(3)
    frames = [frame for _, frame, key in all_frames() if key == UP and len(frame) <= 1024]
    wire = bytearray(b"\0")
    sent = []
    for _ in range(2000):
        kind = rng.random()
        if kind < 0.1:
            wire += rng.choice((BOOT_LOG, TRACEBACK))
        elif kind < 0.15:
            wire += bytes(rng.randrange(1, 256) for _ in range(rng.randrange(1, 200)))
        data = bytearray(stuffed(rng.choice(frames)))
        if kind > 0.9:
            del data[rng.randrange(1, len(data) - 1) :]
        elif kind > 0.8:
            data[rng.randrange(1, len(data) - 1)] ^= 1 << rng.randrange(8)
        else:
            sent.append(bytes(data))
        wire += data
    assert received(bytes(wire), rng) == sent


def received(wire: bytes, rng: random.Random) -> list[bytes]:
    line = SerialStream(verify)
    found = []
    at = 0
    while at < len(wire):
        size = rng.randrange(1, 700)
        for item in line.feed(wire[at : at + size]):
            if isinstance(item, RawFrame):
                found.append(stuffed(item.raw))
            else:
                assert len(item.text) <= LINE_MAX
        at += size
    return found


def verify(raw: bytes) -> bool:
    try:
        open_frame(raw, UP)
    except FrameError:
        return False
    return True


def test_a_line_without_zeros_keeps_to_its_room() -> None:
    line = SerialStream()
    head = b"\0\x05\xa1"
    for _ in range(100):
        line.feed(head + bytes([7]) * 1000)
        head = b""
        assert len(line._chunk) <= CHUNK_MAX


def test_a_flood_of_tiny_sections_is_refused() -> None:
    body = b"".join(pack("<BH", 0x3A, 0) for _ in range(1300))
    with pytest.raises(FrameError, match="sections"):
        decode_body(open_frame(sealed(body), KEY))
