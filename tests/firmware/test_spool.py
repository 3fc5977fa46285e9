"""The spool: what is durable is found again, in order, whenever the power goes."""

import itertools
from collections.abc import Callable

import pytest

from firmware.drops import Drops
from firmware.spool import Spool
from protocol import wire
from protocol.frame import FrameBuilder, open_frame
from protocol.mac import Mac
from simulator.faults.filesystem import (
    CHANGES,
    Behaviour,
    Faults,
    MemoryFiles,
    Outcome,
    PowerCut,
)

MAC = Mac(b"k" * 32)
SEGMENT_BYTES = 1_024
LIMIT_BYTES = 4 * SEGMENT_BYTES
CUTS = list(itertools.product(Behaviour, Outcome))

Name = tuple[int, int]


def make_frame(boot: int, seq: int, size: int = 200, kind: int = wire.T_DATA) -> bytes:
    builder = FrameBuilder(wire.FRAME_MAX, MAC)
    builder.begin(kind, 1, boot, seq)
    builder.open(0x40)
    builder.raw(bytes((boot * 31 + seq * 7 + index) & 255 for index in range(size - 27)))
    builder.close()
    return bytes(builder.buf[: builder.finish()])


def is_whole(frame: memoryview) -> bool:
    try:
        open_frame(frame, MAC)
    except wire.FrameError:
        return False
    return True


def make_spool(
    files: MemoryFiles, settled: Callable[[int, int], bool] = lambda boot, seq: False
) -> Spool:
    drops = Drops(files, "drops")
    return Spool(files, "spool", drops, is_whole, settled, LIMIT_BYTES, SEGMENT_BYTES, 4)


def contents(spool: Spool) -> dict[Name, bytes]:
    """All readable frames, which must be unique and in order."""
    found: dict[Name, bytes] = {}
    position = [0, 0]
    buffer = memoryview(bytearray(wire.FRAME_MAX))
    while length := spool.read(position, buffer):
        frame = bytes(buffer[:length])
        peeked = spool.peek(position)
        assert peeked is not None
        name = (peeked[1], peeked[2])
        assert name not in found
        assert not found or name > max(found)
        found[name] = frame
        position[1] += 2 + length
    return found


def test_frames_come_back_after_a_restart() -> None:
    files = MemoryFiles()
    spool = make_spool(files)
    spool.start()
    frames = {(5, seq): make_frame(5, seq) for seq in range(1, 11)}
    for frame in frames.values():
        assert spool.append(frame)
    assert spool.sync()
    assert contents(spool) == frames
    again = make_spool(files)
    again.start()
    assert contents(again) == frames
    assert again.boots == [[5, 1, 10]]


def test_nothing_is_readable_before_it_is_durable() -> None:
    spool = make_spool(MemoryFiles())
    spool.start()
    spool.append(make_frame(5, 1))
    assert contents(spool) == {}
    spool.sync()
    assert list(contents(spool)) == [(5, 1)]


def test_several_boots_share_a_segment_and_are_listed_from_the_scan() -> None:
    files = MemoryFiles()
    for boot in range(10, 14):
        spool = make_spool(files)
        spool.start()
        for seq in (1, 2):
            spool.append(make_frame(boot, seq, 60))
        spool.sync()
    assert len(files.listdir("spool")) == 1
    again = make_spool(files)
    again.start()
    assert again.boots == [[boot, 1, 2] for boot in range(10, 14)]


def test_when_full_the_oldest_goes_and_is_counted_in_flash_first() -> None:
    files = MemoryFiles()
    spool = make_spool(files)
    spool.start()
    for seq in range(1, 31):
        spool.append(make_frame(7, seq))
        spool.sync()
    kept = contents(spool)
    assert list(kept) == [(7, seq) for seq in range(31 - len(kept), 31)]
    told = Drops(files, "drops")
    assert told.counts[wire.DROP_SPOOL_FULL - 1] == 30 - len(kept)
    assert told.left == [(7, 30 - len(kept))]


def test_acknowledged_segments_go_first_and_are_not_counted() -> None:
    files = MemoryFiles()
    settled = {seq: seq <= 12 for seq in range(1, 31)}
    spool = make_spool(files, lambda boot, seq: settled[seq])
    spool.start()
    for seq in range(1, 13):
        spool.append(make_frame(7, seq))
    spool.sync()
    position = [0, 0]
    buffer = memoryview(bytearray(wire.FRAME_MAX))
    while length := spool.read(position, buffer):
        position[1] += 2 + length
    spool.settle(position, 0, 0)
    for seq in range(13, 21):
        spool.append(make_frame(7, seq))
        spool.sync()
    assert Drops(files, "drops").counts == [0] * 8
    assert max(contents(spool)) == (7, 20)


def test_resend_takes_done_segments_as_kept_again() -> None:
    files = MemoryFiles()
    spool = make_spool(files, lambda boot, seq: True)
    spool.start()
    for seq in range(1, 11):
        spool.append(make_frame(7, seq))
    spool.sync()
    spool.settle(spool.end(), 0, 0)
    before = set(files.listdir("spool"))
    start = spool.resend(7, 2, 3)
    assert start is not None
    assert spool.peek(start) is not None
    assert set(files.listdir("spool")) != before
    assert spool.resend(7, 100, 200) is None or spool.resend(7, 100, 200) >= [spool.last, 0]


def test_a_damaged_frame_is_counted_and_the_others_are_read() -> None:
    files = MemoryFiles()
    spool = make_spool(files)
    spool.start()
    for seq in range(1, 4):
        spool.append(make_frame(7, seq))
    spool.sync()
    (name,) = (f"spool/{entry}" for entry in files.listdir("spool"))
    damaged = bytearray(files.content[name])
    damaged[202 + 100] ^= 1
    files.content[name] = bytes(damaged)
    assert [seq for _, seq in contents(spool)] == [1, 3]
    assert Drops(files, "drops").counts[wire.DROP_CORRUPT - 1] == 1


def test_log_and_hello_keep_to_their_share() -> None:
    spool = make_spool(MemoryFiles())
    spool.start()
    log = make_frame(7, 1, 40, wire.T_LOG)
    assert spool.append(log, True)
    assert not spool.append(make_frame(7, 2, 40, wire.T_LOG), True)
    assert spool.append(make_frame(7, 2))


def test_the_share_of_log_holds_over_restarts() -> None:
    files = MemoryFiles()
    taken = 0
    for boot in range(1, 40):
        spool = make_spool(files)
        spool.start()
        taken += spool.append(make_frame(boot, 1, 40, wire.T_HELLO), True)
        spool.sync()
    assert taken == 1


def test_unwritable_flash_is_reported_and_recovers() -> None:
    files = MemoryFiles()
    spool = make_spool(files)
    spool.start()
    files.faults.refused = CHANGES
    assert not spool.append(make_frame(7, 1))
    assert spool.failed
    files.faults.refused = frozenset()
    assert spool.append(make_frame(7, 2))
    assert spool.sync()
    assert not spool.failed
    assert list(contents(spool)) == [(7, 2)]


def test_a_newer_builds_segments_are_neither_read_nor_deleted() -> None:
    files = MemoryFiles()
    files.mkdir("spool")
    files.content["spool/0000000700000001.s2"] = b"of another format"
    spool = make_spool(files)
    spool.start()
    for seq in range(1, 41):
        spool.append(make_frame(8, seq))
        spool.sync()
    assert files.content["spool/0000000700000001.s2"] == b"of another format"


class Story:
    """Writes, acknowledges, overfills and restarts a spool, and knows what must be true."""

    def __init__(self, files: MemoryFiles) -> None:
        self.files = files
        self.written: dict[Name, bytes] = {}
        self.durable: set[Name] = set()
        self.acked: set[Name] = set()
        self.gone: set[Name] = set()

    def run(self) -> None:
        for boot in (100, 101):
            spool = make_spool(self.files, lambda b, s: (b, s) in self.acked)
            spool.start()
            self._write(spool, boot, 1, 9, None)
            self._acknowledge(spool, boot, 6)
            self._write(spool, boot, 10, 22, spool)

    def _write(self, spool: Spool, boot: int, first: int, last: int, watched: object) -> None:
        for seq in range(first, last + 1):
            frame = make_frame(boot, seq)
            self.written[boot, seq] = frame
            before = set(contents(spool))
            assert spool.append(frame)
            spool.sync()
            self.durable.add((boot, seq))
            self.gone |= before - set(contents(spool))

    def _acknowledge(self, spool: Spool, boot: int, upto: int) -> None:
        names = contents(spool)
        self.acked |= {name for name in names if name <= (boot, upto)}
        position = [0, 0]
        while True:
            spool.read(position, memoryview(bytearray(wire.FRAME_MAX)))
            peeked = spool.peek(position)
            if peeked is None or (peeked[1], peeked[2]) not in self.acked:
                break
            position[1] += 2 + peeked[0]
        assert peeked is not None
        spool.settle(position, peeked[1], peeked[2])


def count_operations(behaviour: Behaviour) -> int:
    files = MemoryFiles(behaviour)
    Story(files).run()
    return files.operations


@pytest.mark.parametrize(("behaviour", "outcome"), CUTS)
def test_a_power_cut_at_any_operation_loses_at_most_the_frame_being_written(
    behaviour: Behaviour, outcome: Outcome
) -> None:
    total = count_operations(behaviour)
    assert total > 150
    for cut_at in range(1, total + 1):
        files = MemoryFiles(behaviour, Faults(cut_at, outcome))
        story = Story(files)
        with pytest.raises(PowerCut):
            story.run()
        check_survivors(story, files.survivors(), f"cut at {cut_at}")


def check_survivors(story: Story, files: MemoryFiles, when: str) -> None:
    spool = make_spool(files)
    spool.start()
    found = contents(spool)
    for name, frame in found.items():
        assert story.written[name] == frame, when
    dropped = Drops(files, "drops").counts[wire.DROP_SPOOL_FULL - 1]
    missing = story.durable - story.acked - set(found)
    assert len(missing) <= dropped, f"{when}: {sorted(missing)} of which {dropped} counted"
    if missing:
        kept = [name for name in found if name not in story.acked]
        assert not kept or max(missing) < min(kept), when
    assert spool.append(make_frame(200, 1)), when
    assert spool.sync()
    assert (200, 1) in contents(spool), when
    for boot, lowest, highest in spool.boots:
        held = [seq for known, seq in contents(spool) if known == boot]
        assert lowest <= min(held), when
        assert highest >= max(held), when


def test_counted_drops_are_exact_without_a_cut() -> None:
    files = MemoryFiles()
    story = Story(files)
    story.run()
    lost = story.gone - story.acked
    assert Drops(files, "drops").counts[wire.DROP_SPOOL_FULL - 1] == len(lost) > 0
