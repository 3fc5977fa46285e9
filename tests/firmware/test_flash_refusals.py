"""Flash that refuses a call at any moment: every number is stored, kept, or counted as dropped."""

import itertools

import pytest

from firmware.identity import Identity
from firmware.outbox import Outbox
from firmware.settings import Settings
from firmware.spool import Spool
from firmware.uplink import Uplink
from protocol import wire
from protocol.frame import parse_header
from protocol.spec.settlement import Settlement
from simulator.faults.filesystem import CHANGES, Behaviour, Call, Faults, MemoryFiles, Outcome
from tests.firmware import boards

SEGMENT_BYTES = 512
LIMIT_BYTES = 4 * SEGMENT_BYTES
FRAME_BYTES = 120
STEP_MS = 1_000
SETTLE_MAX_S = 200


class Board:
    """An outbox over a small spool, and a collector that stores what it is sent.

    Numbers are issued by the outbox alone; the collector follows protocol/spec/settlement.py.
    """

    def __init__(self, files: MemoryFiles) -> None:
        self.hal = boards.MemoryHal(files)
        self.collector = Settlement()
        self.stored: dict[tuple[int, int], bytes] = {}
        self.issued: dict[int, int] = {}
        self.lost: list[tuple[int, int, int]] = []
        self.now_ms = 0
        self.boot = 100
        self.start()
        self.report()

    def start(self) -> None:
        """As after a reset: nothing is known but what flash holds."""
        self.boot += 1
        identity = Identity(boards.NODE, self.boot, boards.UUID, boards.KEY)
        outbox = self.outbox = Outbox(self.hal, identity, Settings())
        outbox.spool = Spool(
            self.hal.files,
            "spool",
            outbox.drops,
            outbox._whole,
            outbox.settled.covers,
            LIMIT_BYTES,
            SEGMENT_BYTES,
            4,
        )
        outbox.uplink = Uplink(
            outbox.spool, outbox.settled, self.hal.random_bits, outbox.builder.view
        )
        outbox.sync_ms = 3_000
        outbox.start()

    def build(self, frames: int) -> None:
        """A frame a second."""
        for _ in range(frames):
            builder = self.outbox.begin(wire.T_DATA)
            builder.open(0x40)
            builder.raw(bytes(FRAME_BYTES - 27))
            builder.close()
            self.outbox.commit()
            self.pass_time(1)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_ms += STEP_MS
            self.outbox.step(self.now_ms)
            self.issued[self.boot] = self.outbox.issued

    def report(self, seconds: int = 1) -> None:
        """A new link: LIVE, what is to be sent, and an ACK each second."""
        self.outbox.uplink.connected(self.now_ms)
        self.serve(seconds)

    def serve(self, seconds: int = 1) -> None:
        """The same over a link that stands."""
        for _ in range(seconds):
            self.pass_time(1)
            listed = [(boot, low, high) for boot, low, high in self.outbox.boots()]
            dropped = sum(self.outbox.drops.counts)
            self.lost += self.collector.live(listed, dropped, self.outbox.spool.unlisted)
            while (frame := self.outbox.uplink.next(self.now_ms)) is not None:
                self._store(bytes(frame))
                self.outbox.uplink.mark_sent(self.now_ms)
            self.collector.commit()
            for boot, _, _ in listed:
                self.outbox.uplink.acknowledge(boot, *self.collector.ack(boot), self.now_ms)
            self.outbox.uplink.settle()

    def _store(self, raw: bytes) -> None:
        _, _, _, _, boot, seq = parse_header(raw)
        assert self.stored.setdefault((boot, seq), raw) == raw
        self.collector.receive(boot, seq, raw[-8:])

    def restart(self) -> None:
        """A reset, as the node does it."""
        self.outbox.end()
        self.issued[self.boot] = self.outbox.issued
        self.start()

    def live(self) -> None:
        """Frames on line and off line until the oldest go, a restart with a backlog, a command."""
        self.build(3)
        self.report(2)
        self.build(18)
        self.report(2)
        self.build(4)
        self.restart()
        self.report(2)
        self.build(6)
        self.report(2)
        self.build(3)

    def settle(self) -> None:
        """Nothing refuses any more: all that is kept arrives."""
        self.hal.files.faults = Faults()
        self.build(2)
        self.report()
        for _ in range(SETTLE_MAX_S):
            self.serve()
            kept = any(low <= high for _, low, high in self.outbox.boots())
            if not kept and not self.outbox.spool.unlisted:
                break
        self.serve(2)

    def judge(self, when: str, lied: bool = False) -> None:
        """Every number is stored, or counted as dropped, once; the collector lost none.

        lied: flash did what it refused, and then refused to be looked at, so the board counts
        frames that are there all the same.
        """
        numbers = {(boot, seq) for boot, top in self.issued.items() for seq in range(1, top + 1)}
        missing = numbers - set(self.stored)
        counted = sum(self.outbox.drops.counts)
        right = counted >= len(missing) if lied else counted == len(missing)
        assert right, f"{when}: {counted} counted, missing {sorted(missing)}"
        assert not self.lost, f"{when}: lost {self.lost}"
        for boot, top in self.issued.items():
            upto, _ = self.collector.ack(boot)
            assert upto == top or boot != self.boot, f"{when}: {upto} of {top} settled"


def run(faults: Faults, behaviour: Behaviour = Behaviour.COPY_ON_WRITE) -> Board:
    """A board's story under faults that begin with its first frame."""
    files = MemoryFiles(behaviour)
    board = Board(files)
    files.calls = 0
    files.faults = faults
    board.live()
    calls = files.calls
    board.settle()
    lied = faults.outcome is not Outcome.NOTHING and faults.refuse_count > 1
    board.judge(f"{behaviour}, {faults}", lied)
    files.calls = calls
    return board


def test_without_a_refusal_only_a_full_spool_drops() -> None:
    board = run(Faults())
    counts = board.outbox.drops.counts
    assert counts[wire.DROP_SPOOL_FULL - 1] == sum(counts) > 0
    assert board.hal.files.calls > 150  # type: ignore[attr-defined]


@pytest.mark.parametrize(("behaviour", "outcome"), list(itertools.product(Behaviour, Outcome)))
@pytest.mark.parametrize("count", [1, 6])
def test_whatever_call_is_refused_no_number_vanishes(
    behaviour: Behaviour, outcome: Outcome, count: int
) -> None:
    for refuse_at in itertools.count(1):
        faults = Faults(outcome=outcome, refuse_at=refuse_at, refuse_count=count)
        board = run(faults, behaviour)
        if board.hal.files.calls < refuse_at:  # type: ignore[attr-defined]
            break


@pytest.mark.parametrize("refused", [frozenset({call}) for call in Call] + [CHANGES])
@pytest.mark.parametrize("behaviour", Behaviour)
def test_a_kind_of_call_that_is_refused_for_long_loses_no_number(
    refused: frozenset[Call], behaviour: Behaviour
) -> None:
    run(Faults(refused=refused), behaviour)


def test_full_flash_loses_no_number() -> None:
    run(Faults(full=True))
