"""Readings, composing and explaining."""

import pytest

from protocol import compose, wire
from protocol.decoder import Samples, decode, open_frame
from protocol.explain import explain
from protocol.mac import UP, derive
from protocol.reading import readings
from protocol.samples import Channel
from protocol.sections import Chunk, Offer
from protocol.wire import FrameError
from tests.protocol.good_frames import NODE_KEY, all_frames
from tests.protocol.refusals import all_refusals, samples, sealed

KEY_UP = derive(NODE_KEY, UP)


def test_readings_are_scaled_and_named_by_their_origin() -> None:
    raw = compose.compose_data(
        KEY_UP, 7, 8, 9, [Channel(2), Channel(16, 1, -1)], [[13, 200], [14, None]], 1000, 500
    )
    first, second, third, fourth = readings(decode(raw))
    assert first.value == 1.3
    assert (first.node, first.boot, first.seq, first.column, first.sample) == (7, 8, 9, 0, 0)
    assert second.uptime_ms == 1500
    assert (third.value, third.exponent, third.instance, third.band) == (20.0, -1, 1, None)
    assert (fourth.quality, fourth.column, fourth.sample) == (wire.Q_MISSING, 1, 1)


def test_bands_of_a_vector_are_readings_with_a_band() -> None:
    head = bytes([0x42, 0x2F, 13, 3, 128, 1])
    found = list(readings(decode(sealed(samples([head], rows=2)))))
    assert [reading.band for reading in found] == [13, 14, 15] * 2
    assert [reading.sample for reading in found] == [0, 0, 0, 1, 1, 1]
    assert {reading.value for reading in found} == {32.0}


def test_columns_count_over_all_sections() -> None:
    two = samples([bytes([2, 15, 2])], rows=1) + samples([bytes([3, 15, 4])], rows=1)
    assert [reading.column for reading in readings(decode(sealed(two)))] == [0, 1]


def test_a_quantity_without_a_row_and_exponent_waits_in_the_frame() -> None:
    heads = [bytes([0x60, 15, 2]), bytes([0xC0, 0x8F, 0xFE, 4])]
    frame = decode(sealed(samples(heads, rows=1)))
    assert frame.samples[0].columns[0].values == [1]
    assert [(r.quantity, r.value) for r in readings(frame)] == [(0xC0, 0.02)]


def test_a_frame_names_its_sections() -> None:
    frames = {name: decode(frame) for name, frame, _ in all_frames()}
    assert len(frames["DATA with two SAMPLES and a clock"].samples) == 2
    assert len(frames["DATA with two SAMPLES and a clock"].clocks) == 1
    hello = frames["HELLO with everything"]
    assert hello.info is not None
    assert hello.info.board == "street"
    assert hello.info.key_switch == (1_763_000_000, 41)
    assert [channel.name for channel in hello.descriptors] == ["pms5003", "Außenluft", "rain"]
    live = frames["LIVE with 32 boots"].state
    assert live is not None
    assert len(live.boots) == 32
    assert live.dropped[0] == (1, 2**32 - 1)
    assert frames["LOG"].text == "sensor 0 silent for 60 s\n"
    outcome = frames["RESULT wants an offset"].outcome
    assert outcome is not None
    assert outcome.status == wire.R_WANTED
    assert frames["ACK of 17 boots"].ack is not None
    assert frames["TIME"].time is not None
    assert frames["CONFIG"].config is not None
    assert frames["COMMAND 7"].command is not None
    assert isinstance(frames["UPDATE offer"].update, Offer)
    assert isinstance(frames["UPDATE chunk"].update, Chunk)
    empty = frames["DATA without sections"]
    assert empty.text is None
    assert empty.state is empty.info is empty.ack is empty.time is empty.update is None


def test_without_samples_a_frame_has_all_its_other_sections() -> None:
    for _, raw, _ in all_frames():
        whole, rest = decode(raw), decode(raw, with_samples=False)
        assert rest.samples == ()
        others = tuple(part for part in whole.sections if not isinstance(part, Samples))
        assert rest.sections == others


def test_decode_does_not_claim_what_it_did_not_check() -> None:
    frame = next(frame for _, frame, key in all_frames() if key == KEY_UP)
    assert not decode(frame).authenticated
    assert open_frame(frame, KEY_UP).authenticated


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        (compose.compose_ack, (1, [(1, 1, 1)] * 18)),
        (compose.compose_config, (1, [(1, "x" * 230)])),
        (compose.compose_update, (Chunk(1, 0, bytes(compose.CHUNK_MAX + 1)),)),
        (compose.compose_update, (Offer(1, 1, bytes(31), "1", b""),)),
        (compose.compose_time, (2**48, 1, 1, 1)),
    ],
)
def test_what_does_not_fit_is_not_composed(what: object, arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match=r"longer|outside|32 bytes"):
        what(bytes(32), 1, 2, 3, *arguments)  # type: ignore[operator]


def test_a_node_outside_32_bits_is_not_composed() -> None:
    with pytest.raises(ValueError, match="outside"):
        compose.compose_log(None, 2**32, 1, 1, "")


def test_explain_shows_every_field_and_the_verdict() -> None:
    for name, frame, key in all_frames():
        text = explain(frame, NODE_KEY if key else None)
        shown = text.splitlines()
        assert shown[0] == f"{len(frame)} bytes"
        if name != "4,096 bytes" and key in (None, KEY_UP):
            assert shown[-1].startswith("accepted"), (name, shown[-1])


def test_explain_says_why_a_frame_is_refused() -> None:
    for name, reason, frame, key in all_refusals():
        if key != bytes(range(32)):
            continue
        last = explain(frame).split("\n\n")[-1]
        if reason in ("tag", "key", "downgrade", "crc"):
            continue
        assert last.startswith(f"refused: {reason} "), (name, last)


def test_explain_checks_the_tag_with_the_node_s_key() -> None:
    frame = next(frame for _, frame, key in all_frames() if key == KEY_UP)
    assert "tag was not checked" in explain(frame)
    assert "authentic: the tag holds" in explain(frame, NODE_KEY)
    assert "refused: tag" in explain(frame, bytes(32))
    bare = next(frame for _, frame, key in all_frames() if key is None)
    assert "the CRC holds" in explain(bare)
    assert "refused: downgrade" in explain(bare, NODE_KEY)


def test_frame_error_has_a_stable_reason_and_a_detail() -> None:
    error = FrameError("tag", "altered")
    assert error.reason == "tag"
    assert str(error) == "tag: altered"
    assert str(FrameError("tag")) == "tag"
