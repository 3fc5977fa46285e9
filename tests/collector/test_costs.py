"""What one authentic frame may cost: work is counted, whatever the frame says, and stays bounded.

Frames are made by structure, with every number at its ends and beyond, under a valid key. A frame
that costs more than these bounds is found here before somebody sends it.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.archive import hour_index
from collector.archive.archive import UNDECODED
from collector.intake.intake import IntakeLimits
from collector.ledger import ledger as ledgers
from collector.timeline.timeline_fit import DRIFT_PPM
from protocol import compose, frame_bounds, wire
from protocol.registry import by_name
from protocol.samples import Batch, Channel
from protocol.sections import ClockSet
from tests.collector.core import BOOT, START_MS, Bench, Board

HOUR_MS = 3_600_000
U32, U48 = (1 << 32) - 1, (1 << 48) - 1
PM2_5 = by_name("pm2_5").id
FRAMES = 60
FITS_PER_KNOT = 2
GENEROUS = IntakeLimits(node_frames_per_s=10**9, node_burst=10**9)

Section = tuple[int, bytes]


def uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def samples(t0_ms: int, period_ms: int, rows: int) -> Section:
    """One column that is always the same."""
    column = bytes([PM2_5, 15, 2])
    head = t0_ms.to_bytes(6, "little") + uvarint(period_ms) + bytes([rows, 1])
    return wire.S_SAMPLES, head + column


def any_time(chance: random.Random) -> int:
    """An uptime: near, far, at an end, or anything."""
    now_ms = (START_MS // 1000 - BOOT) * 1000
    return min(
        U48,
        chance.choice(
            (
                0,
                U48,
                now_ms,
                frame_bounds.UPTIME_MAX_MS + chance.randrange(-2, 3),
                chance.randrange(now_ms),
                chance.randrange(now_ms) // HOUR_MS * HOUR_MS,
                chance.getrandbits(48),
                chance.randrange(400) * HOUR_MS,
            )
        ),
    )


def any_samples(chance: random.Random) -> Section:
    rows = chance.choice((1, 2, 12, 255))
    span_ms = frame_bounds.SPAN_MAX_MS
    period_ms = chance.choice(
        (0, 1, 10_000, HOUR_MS, 4_700_000, span_ms // max(1, rows - 1), U32, chance.getrandbits(32))
    )
    return samples(any_time(chance), period_ms, rows)


def any_clock(chance: random.Random) -> Section:
    uptime_ms = any_time(chance)
    unix_ms = chance.choice(
        (0, U48, START_MS, BOOT * 1000 + uptime_ms, START_MS - chance.randrange(10**10))
    )
    limit_ms = frame_bounds.CLOCK_ERROR_MAX_MS
    error_ms = chance.choice((0, 1, 1_000, limit_ms, limit_ms + 1, 4_000_000_000, U32))
    return compose.clock_section(
        ClockSet(uptime_ms, min(U48, unix_ms), error_ms, chance.randrange(6))
    )


def any_sections(chance: random.Random) -> list[Section]:
    kinds: list[Callable[[random.Random], Section]] = [any_samples, any_clock]
    count = chance.choice((0, 1, 1, 2, 4, 5, 63))
    favourite = chance.choice(kinds)
    return [
        (favourite if chance.random() < 0.8 else chance.choice(kinds))(chance) for _ in range(count)
    ]


class Storm:
    """A board gone wild: frames by number, each with boots and types as they come."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.board = Board()

    def frames(self) -> Iterator[tuple[list[Section], bytes]]:
        for seq in range(1, FRAMES + 1):
            sections = any_sections(self.chance)
            boot = BOOT + self.chance.choice((0, 0, 0, 1, seq))
            kind = self.chance.choice((wire.T_DATA, wire.T_DATA, wire.T_HELLO, wire.T_LOG))
            try:
                raw = compose.compose(kind, self.board.node, boot, seq, sections, self.board.up)
            except ValueError:
                continue  # longer than a frame may be
            yield sections, raw


def knots_of(bench: Bench) -> int:
    return sum(len(known.knots) for known in bench.storage.timeline._boots.values())


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("seed", range(12))
async def test_what_a_frame_costs_is_bounded(tmp_path: Path, seed: int, dated: bool) -> None:
    storm = Storm(seed)
    bench = Bench(tmp_path, [storm.board], limits=GENEROUS)
    if dated:
        await bench.take(storm.board.live((START_MS // 1000 - BOOT) * 1000))
    timeline, hours = bench.storage.timeline, bench.storage.hours
    stored = 0
    for _, raw in storm.frames():
        rows, knots, fits = len(hours), knots_of(bench), timeline.fits
        (word,) = await bench.take(raw)
        if word != "accepted":
            assert word in ("too_many_boots",), word
            continue
        stored += 1
        assert len(hours) - rows <= frame_bounds.HOURS_MAX
        assert knots_of(bench) - knots <= frame_bounds.CLOCKS_MAX
        assert timeline.fits == fits, "a time is computed when somebody asks, not for each section"
    assert len(bench.stored()) == stored > 10, "nothing authentic is lost"
    fits, knots = timeline.fits, knots_of(bench)
    assert await bench.storage.snapshot()
    boots = len(timeline._boots)
    blocks = (len(bench.inline.connection.execute("SELECT hour FROM hour").fetchall()) + knots) * 4
    assert timeline.fits - fits <= blocks + boots
    again = await bench.again([storm.board], clean=False)
    assert len(again.stored()) == stored
    await again.storage.close()


@pytest.mark.parametrize("seed", range(4))
async def test_memory_is_written_out_when_it_is_full_and_a_start_goes_on(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same table of hours comes out whether memory was ample, small, or lost on the way."""
    tables: list[list[tuple[int, ...]]] = []
    for rows_max, clean in ((10_000, True), (10, True), (10, False)):
        monkeypatch.setattr(hour_index, "ROWS_MAX", rows_max)
        monkeypatch.setattr(ledgers, "NEW_BOOTS_PER_HOUR", 10_000)
        folder = tmp_path / f"{rows_max}-{clean}"
        folder.mkdir()
        storm = Storm(seed)
        bench = Bench(folder, [storm.board], limits=GENEROUS)
        most = 0
        for _, raw in storm.frames():
            await bench.take(raw)
            most = max(most, len(bench.storage.hours))
        assert most <= rows_max + frame_bounds.HOURS_MAX
        again = await bench.again([storm.board], clean=clean)
        assert len(again.storage.hours) <= rows_max + frame_bounds.HOURS_MAX
        assert await again.storage.snapshot(everything=True)
        query = "SELECT hour, node, boot, first_seq, last_seq, ids FROM hour ORDER BY 1, 2, 3"
        tables.append(again.inline.connection.execute(query).fetchall())
        await again.storage.close()
    assert tables[0] == tables[1] == tables[2]
    assert len(tables[0]) > 20


async def test_an_interrupted_start_does_not_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collector.storage import storage as storages

    class Stop(Exception):
        """As a signal makes it."""

    board = Board()
    bench = Bench(tmp_path, [board])
    await bench.take(*(board.data(seq) for seq in range(1, 51)))
    await bench.storage.writer.close()
    await bench.storage.quarantine_writer.close()
    monkeypatch.setattr(storages, "REPLAY_FRAMES", 10)
    told: list[int] = []

    def going_on(frames: int) -> None:
        told.append(frames)
        raise Stop

    def start(**more: object) -> storages.Storage:
        return storages.open_storage(
            tmp_path / "archive.db", tmp_path / "quarantine.db", bench.clock,
            threaded=False, durable=False, **more,
        )  # type: ignore[arg-type] # fmt: skip

    for _ in range(3):
        with pytest.raises(Stop):
            start(going_on=going_on)
    assert told == [10, 10, 10]
    rest = start()
    assert rest.replayed == 20
    assert rest.ledger.account(board.node).stored == 50
    await rest.close()


async def test_frames_beyond_a_bound_are_stored_acknowledged_counted_and_not_decoded(
    tmp_path: Path,
) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    span = frame_bounds.SPAN_MAX_MS
    clock = compose.clock_section(ClockSet(0, START_MS, 100, wire.CLOCK_GPS))
    bodies = {
        "span": [samples(0, span + 1, 2)],
        "clocks": [clock] * (frame_bounds.CLOCKS_MAX + 1),
        "uptime": [samples(frame_bounds.UPTIME_MAX_MS, 1, 2)],
    }
    fitting = [
        [samples(0, span, 2)],
        [clock] * frame_bounds.CLOCKS_MAX,
        [samples(frame_bounds.UPTIME_MAX_MS - 1, 1, 2)],
    ]
    for seq, sections in enumerate([*bodies.values(), *fitting], 1):
        raw = compose.compose(wire.T_DATA, board.node, BOOT, seq, sections, board.up)
        assert await bench.take(raw) == ["accepted"]
    assert bench.acked() == (6, 0)
    assert bench.storage.indexing.undecoded == dict.fromkeys(bodies, 1)
    states = bench.inline.connection.execute("SELECT state FROM frame ORDER BY id").fetchall()
    assert [state == UNDECODED for (state,) in states] == [True] * 3 + [False] * 3
    assert (await bench.take(board.live(frame_bounds.UPTIME_MAX_MS + 1))) == ["live_uptime"]
    again = await bench.again([board], clean=False)
    assert again.storage.indexing.undecoded == dict.fromkeys(bodies, 1)
    await again.storage.close()


def test_the_span_is_what_a_boards_batch_holds() -> None:
    batch = Batch([Channel(PM2_5)], 3)
    batch.start(0, 60_000)
    assert batch.add_row(0) == 0
    assert batch.add_row(frame_bounds.SPAN_MAX_MS) == 1
    assert batch.add_row(frame_bounds.SPAN_MAX_MS + 1) == -1


def test_a_board_that_slept_a_year_is_still_believed() -> None:
    from firmware.clock import SLEEP_PPM

    year_ms = frame_bounds.YEAR_MS
    assert year_ms * SLEEP_PPM // 1_000_000 <= frame_bounds.CLOCK_ERROR_MAX_MS * 1.05
    assert DRIFT_PPM < SLEEP_PPM
