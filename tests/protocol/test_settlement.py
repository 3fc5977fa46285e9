"""What an ACK may cover: the cases on the pure machine and on the collector's ledger."""

import random
from typing import Any

import pytest

from collector.archive.identity import Identity
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_boot import Verdict as LedgerVerdict
from protocol.sections import SpoolBoot, State
from protocol.spec.settlement import Settlement
from tests.protocol.settlement_cases import CASES

SAME = {
    LedgerVerdict.NEW: "store",
    LedgerVerdict.PENDING: "pending",
    LedgerVerdict.DUPLICATE: "again",
    LedgerVerdict.CONFLICT: "conflict",
    LedgerVerdict.ERASED: "erased",
    LedgerVerdict.TOO_FAR: "too far",
    LedgerVerdict.TOO_SCATTERED: "too scattered",
    LedgerVerdict.TOO_MANY_CONFLICTS: "too many conflicts",
}


class Pure:
    """The pure machine behind the events of the cases."""

    def __init__(self) -> None:
        self.machine = Settlement()

    def frame(self, boot: int, seq: int, trailer: str) -> str:
        return self.machine.receive(boot, seq, trailer.encode().ljust(8)).value

    def commit(self) -> None:
        self.machine.commit()

    def fail(self) -> None:
        self.machine.fail()

    def live(
        self, boots: list[list[int]], drops: int, unlisted: int, ours: bool
    ) -> list[list[int]]:
        entries = [(boot, lowest, highest) for boot, lowest, highest in boots]
        return [list(lost) for lost in self.machine.live(entries, drops, unlisted, ours)]

    def erase(self, boot: int, first: int, last: int) -> None:
        self.machine.erase(boot, first, last)

    def decide(self, boot: int) -> None:
        self.machine.decide(boot)

    def ack(self, boot: int) -> list[int]:
        return list(self.machine.ack(boot))


class Real:
    """The collector's ledger behind the same events, with the trailers that intake would read."""

    NODE = 7

    def __init__(self) -> None:
        self.ledger = Ledger(Identity(1))
        self.waiting: list[tuple[int, int, bytes, bool]] = []
        self.stored: dict[tuple[int, int], bytes] = {}
        self.counter = 0

    def frame(self, boot: int, seq: int, trailer: str) -> str:
        tag = trailer.encode().ljust(8)
        book = self.ledger.boot(self.NODE, boot, 0)
        verdict = book.judge(seq, tag)
        if verdict is LedgerVerdict.UNSURE:
            same = self.stored[boot, seq] == tag
            verdict = LedgerVerdict.DUPLICATE if same else book.judge_different(seq, tag)
        if verdict is LedgerVerdict.NEW:
            book.wait(seq, tag)
            self.waiting.append((boot, seq, tag, False))
        elif verdict is LedgerVerdict.CONFLICT:
            book.waiting_conflicts.add((seq, tag))
            self.waiting.append((boot, seq, tag, True))
        return SAME[verdict]

    def commit(self) -> None:
        for boot, seq, tag, conflict in self.waiting:
            book = self.ledger.boot(self.NODE, boot, 0)
            if conflict:
                book.commit_conflict(seq, tag)
            else:
                book.commit(seq, tag, 0)
                self.stored[boot, seq] = tag
        self.waiting.clear()

    def fail(self) -> None:
        for boot, seq, tag, conflict in self.waiting:
            book = self.ledger.boot(self.NODE, boot, 0)
            if conflict:
                book.waiting_conflicts.discard((seq, tag))
            else:
                book.discard(seq)
        self.waiting.clear()

    def live(
        self, boots: list[list[int]], drops: int, unlisted: int, ours: bool
    ) -> list[list[int]]:
        self.counter += 1
        entries = tuple(SpoolBoot(*entry) for entry in boots)
        dropped = ((1, drops),) if drops else ()
        state = State(1000 * self.counter, 0, 0, int(ours), 0, unlisted, entries, dropped)
        newest = max((entry.boot for entry in entries), default=0)
        alarms = self.ledger.observe(self.NODE, newest, self.counter, state, 0)
        return [[alarm.boot, *each] for alarm in alarms for each in alarm.ranges]

    def erase(self, boot: int, first: int, last: int) -> None:
        book = self.ledger.boot(self.NODE, boot, 0)
        book.received.remove(first, last)
        book.give_up(first, last, book.erased)

    def decide(self, boot: int) -> None:
        self.ledger.boot(self.NODE, boot, 0).resolve_conflicts()

    def ack(self, boot: int) -> list[int]:
        return list(self.ledger.boot(self.NODE, boot, 0).ack())


@pytest.mark.parametrize("machine", [Pure, Real])
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_case(case: dict[str, Any], machine: type[Pure | Real]) -> None:
    under_test = machine()
    for event, *arguments in case["events"]:
        if event in ("frame", "live"):
            *given, expected = arguments
            assert getattr(under_test, event)(*given) == expected, (event, arguments)
        elif event == "ack":
            boot, *expected = arguments
            assert under_test.ack(boot) == expected
        else:
            getattr(under_test, event)(*arguments)


@pytest.mark.parametrize("seed", range(60))
def test_ledger_follows_the_rules_through_any_history(seed: int) -> None:
    """A board that issues, drops and resends; frames and LIVE are lost and come twice."""
    rng = random.Random(seed)
    pure, real = Pure(), Real()
    issued, lowest, drops = 0, 1, 0
    for _ in range(150):
        action = rng.random()
        issued += action < 0.4
        if action < 0.7 and issued:
            seq = rng.randint(max(1, issued - 40), issued)
            trailer = "x" if rng.random() < 0.01 else f"t{seq}"
            assert pure.frame(10, seq, trailer) == real.frame(10, seq, trailer)
        elif action < 0.85:
            for machine in (pure, real):
                machine.commit()
        elif action < 0.88:
            for machine in (pure, real):
                machine.fail()
        else:
            step = rng.randint(0, max(0, min(5, issued + 1 - lowest)))
            lowest += step
            drops += rng.randint(0, step)
            boots = [[10, lowest, issued]]
            ours = rng.random() < 0.5
            assert pure.live(boots, drops, 0, ours) == real.live(boots, drops, 0, ours)
        assert pure.ack(10) == real.ack(10)


def test_gaps_that_a_board_made_before_it_heard_any_collector_are_drops() -> None:
    machine = Settlement()
    assert machine.live([(10, 1, 4)], 1, ours=False, amid=1) == []
    ledger = Ledger(Identity(1))
    state = State(1000, 0, 0, 0, 0, 0, (SpoolBoot(10, 1, 4),), ((2, 1),))
    assert ledger.observe(7, 10, 1, state, 0) == []
    for seq in (1, 2, 4):
        machine.receive(10, seq, b"")
        ledger.boot(7, 10, 0).wait(seq, b"")
        ledger.boot(7, 10, 0).commit(seq, b"", 0)
    machine.commit()
    assert machine.live([(10, 5, 4)], 1) == []
    later = State(2000, 0, 0, 1, 0, 0, (SpoolBoot(10, 5, 4),), ((2, 1),))
    assert ledger.observe(7, 10, 2, later, 0) == []
    assert machine.ack(10) == ledger.boot(7, 10, 0).ack() == (4, 0)
