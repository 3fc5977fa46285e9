"""A bit of the spool flips: every number is stored, kept, or counted as dropped, once."""

from collections.abc import Callable, Iterator

import pytest

from protocol import wire
from simulator.faults.filesystem import MemoryFiles
from tests.firmware.test_flash_refusals import Board

FRAME_BYTES = 29
RECORD_BYTES = 2 + FRAME_BYTES
SEGMENT_BYTES = 4 * RECORD_BYTES + 5
BOOTS = (6, 2, 1, 2)  # frames of each: two boots end and one passes within a segment
FIRST_FRAMES = {"first": 0, "middle": 1, "last": 2}  # of three segments


def told(board: Board) -> None:
    """The collector hears of all that is kept, and gets nothing of it."""
    board.pass_time(4)
    listed = [(boot, low, high) for boot, low, high in board.outbox.boots()]
    dropped = sum(board.outbox.drops.counts)
    board.lost += board.collector.live(listed, dropped, board.outbox.spool.unlisted)


def cut_off() -> Board:
    """A board whose frames of several boots wait in three segments."""
    board = Board(MemoryFiles(), SEGMENT_BYTES, FRAME_BYTES)
    for boot, frames in enumerate(BOOTS):
        if boot:
            board.restart()
        board.build(frames)
        told(board)
    return board


def segments(board: Board) -> list[str]:
    content: dict[str, bytes] = board.hal.files.content
    return sorted(path for path in content if path.startswith("spool/"))


def with_flipped(segment: int, bit: int) -> Board:
    """The same board with a bit flipped."""
    flipped = cut_off()
    path = segments(flipped)[segment]
    damaged = bytearray(flipped.hal.files.content[path])
    damaged[bit // 8] ^= 1 << bit % 8
    flipped.hal.files.content[path] = bytes(damaged)
    return flipped


def reset(board: Board) -> None:
    board.restart()


def unheard(board: Board) -> None:
    """What is damaged is found while no answer comes, and the board starts anew: twice."""
    for _ in range(2):
        board.restart()
        board.outbox.uplink.connected(board.now_ms)
        for _ in range(80):
            board.pass_time(1)
            if board.outbox.uplink.next(board.now_ms) is not None:
                board.outbox.uplink.mark_sent(board.now_ms)


def overflow(board: Board) -> None:
    """All that was kept has to go for newer frames."""
    board.restart()
    board.build(20)
    assert board.outbox.drops.counts[wire.DROP_SPOOL_FULL - 1]


def drop_all(board: Board) -> None:
    """An operator drops what is kept."""
    board.restart()
    board.outbox.drop_all()


def run_on(board: Board) -> None:
    """The board has not noticed: nothing was read of the damaged segment before."""


def bits(board: Board, segment: int, step: int) -> Iterator[int]:
    yield from range(0, 8 * len(board.hal.files.content[segments(board)[segment]]), step)


@pytest.mark.parametrize("segment", FIRST_FRAMES.values(), ids=FIRST_FRAMES)
@pytest.mark.parametrize(
    ("story", "step"), [(reset, 1), (run_on, 3), (unheard, 7), (overflow, 7), (drop_all, 5)]
)
def test_no_flipped_bit_makes_a_number_vanish_or_count_twice(
    story: Callable[[Board], None], step: int, segment: int
) -> None:
    for bit in bits(cut_off(), segment, step):
        board = with_flipped(segment, bit)
        story(board)
        board.settle()
        board.judge(f"bit {bit} of segment {segment}")
        board.restart()
        board.settle()
        board.judge(f"bit {bit} of segment {segment}, and a restart")
        if story in (reset, run_on, unheard):
            assert sum(board.outbox.drops.counts) == 1


def test_the_segments_are_what_the_story_wants() -> None:
    board = cut_off()
    sizes = [len(board.hal.files.content[path]) for path in segments(board)]
    assert sizes == [4 * RECORD_BYTES, 4 * RECORD_BYTES, 3 * RECORD_BYTES]
    assert len(set(board.issued)) == len(BOOTS)
