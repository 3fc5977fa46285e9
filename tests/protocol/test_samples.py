"""The board's batch and builder: rows, clamps, splitting, limits."""

import pytest

from protocol import wire
from protocol.builder import FrameBuilder, Overflow
from protocol.decoder import Samples, decode
from protocol.mac import Mac
from protocol.samples import Batch, Channel

PM, AIR = 2, 16


def frame_of(batch: Batch, size: int = 1024) -> Samples:
    builder = FrameBuilder(size, None)
    builder.begin(wire.T_DATA, 1, 2, 3)
    assert batch.encode(builder) == batch.rows
    return decode(bytes(builder.buf[: builder.finish()])).samples[0]


def batch_of(*values: int | None) -> Batch:
    batch = Batch([Channel(PM)], max(1, len(values)))
    batch.start(0, 1000)
    for row, value in enumerate(values):
        assert batch.add_row(1000 * row) == row
        batch.put(0, value)
    return batch


def test_numbers_outside_int32_are_clamped_and_flagged() -> None:
    samples = frame_of(batch_of(5, 2**31, -(2**31) - 1, 2**31 - 1, -(2**31)))
    assert samples.columns[0].values == [5, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31)]
    assert samples.columns[0].qualities == [0, wire.Q_ABOVE, wire.Q_BELOW, 0, 0]


def test_a_clamped_number_keeps_a_quality_of_its_own() -> None:
    batch = batch_of(5)
    batch.add_row(1000)
    batch = Batch([Channel(PM)], 2)
    batch.start(0, 1000)
    batch.add_row(0)
    batch.put(0, 2**35, wire.Q_FAULT)
    assert frame_of(batch).columns[0].qualities == [wire.Q_FAULT]


def test_a_row_that_is_never_put_is_missing_and_repeats() -> None:
    batch = batch_of(7)
    assert batch.full
    batch = Batch([Channel(PM), Channel(AIR)], 3)
    batch.start(0, 1000)
    for row in range(3):
        batch.add_row(1000 * row)
        if row != 1:
            batch.put(0, 40 + row)
    first, second = frame_of(batch).columns
    assert first.values == [40, 40, 42]
    assert first.qualities == [0, wire.Q_MISSING, 0]
    assert second.qualities == [wire.Q_MISSING] * 3


def test_putting_again_replaces() -> None:
    batch = batch_of(7)
    batch.put(0, None)
    batch.put(0, 9, wire.Q_STALE)
    batch.put(0, 8)
    samples = frame_of(batch)
    assert samples.columns[0].values == [8]
    assert samples.columns[0].qualities is None


def test_a_full_batch_takes_no_row() -> None:
    batch = batch_of(1, 2)
    assert batch.full
    assert batch.add_row(5000) == -1
    batch.drop_rows(2)
    assert not batch.full
    assert batch.add_row(5000) == 0


def test_a_row_too_long_after_the_first_waits_for_another_batch() -> None:
    batch = Batch([Channel(PM)], 4)
    batch.start(0, 1000)
    assert batch.add_row(0) == 0
    assert batch.add_row(2**30) == -1


def test_dropped_rows_leave_the_others_with_their_times() -> None:
    batch = batch_of(1, 2, 3, 4)
    batch.drop_rows(2)
    samples = frame_of(batch)
    assert samples.times_ms == (2000, 3000)
    assert samples.columns[0].values == [3, 4]
    batch.drop_rows(2)
    assert batch.rows == 0


def test_start_forgets_what_was_there() -> None:
    batch = batch_of(1, 2, 3)
    batch.start(70_000, 10)
    batch.add_row(70_000)
    batch.put(0, 5)
    samples = frame_of(batch)
    assert samples.times_ms == (70_000,)
    assert samples.columns[0].values == [5]


def test_an_empty_batch_writes_nothing() -> None:
    builder = FrameBuilder(100, None)
    builder.begin(wire.T_DATA, 1, 2, 3)
    assert Batch([Channel(PM)], 5).encode(builder) == 0
    assert builder.pos == wire.HEADER


def test_without_room_beside_other_sections_it_waits_for_the_next_frame() -> None:
    batch = batch_of(*range(10))
    builder = FrameBuilder(64, None)
    builder.begin(wire.T_DATA, 1, 2, 3)
    builder.open(wire.S_TEXT)
    builder.raw(bytes(30))
    builder.close()
    before = builder.pos
    assert batch.encode(builder) == 0
    assert builder.pos == before
    assert decode(bytes(builder.buf[: builder.finish()])).text is not None


def test_a_frame_too_small_for_anything_is_said() -> None:
    builder = FrameBuilder(30, None)
    builder.begin(wire.T_DATA, 1, 2, 3)
    with pytest.raises(Overflow):
        batch_of(1).encode(builder)


@pytest.mark.parametrize(
    ("channels", "rows"),
    [
        ([Channel(PM)], 0),
        ([Channel(PM)], 256),
        ([], 10),
        ([Channel(1 + q % 192, q // 192) for q in range(64)], 1),
        ([Channel(PM), Channel(PM)], 5),
        ([Channel(64, 0, None, 255)], 200),
    ],
)
def test_a_batch_that_cannot_be(channels: list[Channel], rows: int) -> None:
    with pytest.raises(ValueError, match=r"rows|channels"):
        Batch(channels, rows)


@pytest.mark.parametrize(
    "arguments",
    [(0,), (255,), (0xC0,), (2, 0, 10), (2, 0, -10), (64, 0, None, 257), (64, 0, None, 200, 100)],
)
def test_a_channel_that_cannot_be(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="quantity"):
        Channel(*arguments)


def test_builder_counts_past_its_limit_and_says_so_at_the_end() -> None:
    builder = FrameBuilder(40, Mac(bytes(32)))
    builder.begin(wire.T_LOG, 1, 2, 3)
    builder.open(wire.S_TEXT)
    builder.raw(bytes(100))
    builder.close()
    assert builder.room() == 40 - 8 - 16 - 3 - 100
    with pytest.raises(Overflow):
        builder.finish()
    builder.begin(wire.T_LOG, 1, 2, 4)
    assert builder.finish() == 24


def test_a_resend_is_the_same_bytes() -> None:
    batch = batch_of(3, 1, 4, 1, 5)
    builder = FrameBuilder(256, Mac(bytes(32)))
    frames = []
    for _ in range(2):
        builder.begin(wire.T_DATA, 1, 2, 3)
        batch.encode(builder)
        frames.append(bytes(builder.buf[: builder.finish()]))
    assert frames[0] == frames[1]
