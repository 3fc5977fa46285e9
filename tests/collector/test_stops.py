"""Stopped at any moment: the books say what was done, and what nobody can know.

Every wait of the forwarder takes its own time here, and a stop comes at each of them: before a
write is begun, while it is under way, and in the very moment in which it ends.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from collector.archive import archive
from collector.forward import book_tables, lanes
from collector.forward.selection import Policy
from collector.intake.decision import Kind
from collector.intake.intake import IntakeLimits
from collector.ranges import Ranges
from collector.readings.observation import Observation
from collector.sinks.base import Accepted, Outcome
from collector.storage import storage as storage_module
from collector.storage.storage import Storage, open_storage
from simulator.late_writer import LateWriter
from simulator.upstream.street import START_MS
from simulator.virtual_loop import VirtualLoop, run
from tests.collector.core import BOOT, NODE, Bench, Board
from tests.collector.test_forwarder import A_FRAME, NOW_MS, Key, Pretended, Rig, play

STEP_S = 0.005
STOPS = 70
FRAMES = 6
STOP_S = 0.08
FILES = ["archive.db", "archive.db.witness", "quarantine.db"]


class Slow(Pretended):
    """Stores a request as it comes and answers later: sooner or later than a stop waits."""

    def __init__(self, answers_s: Sequence[float], **traits: Any) -> None:
        super().__init__(readback_delay_s=0.02, **traits)
        self._answers_s = answers_s
        self.answered: list[Key] = []
        self.unanswered: list[Key] = []
        self.kept: set[int] = set()

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        keys = [(o.frame.id, o.reading) for o in batch]
        self.held += keys
        number = len(self.requests)
        self.requests.append((asyncio.get_running_loop().time(), keys))
        self.unanswered += keys
        await asyncio.sleep(self._answers_s[number % len(self._answers_s)])
        del self.unanswered[-len(keys) :]
        self.answered += keys
        return [Accepted()] * len(batch)

    async def read_back(self, batch: Sequence[Observation]) -> Sequence[bool] | None:
        await asyncio.sleep(0.02)
        return await super().read_back(batch)


class StoppedRig(Rig):
    """A rig on a writer that commits later, stopped and started again."""

    def _open(self) -> LateWriter:
        return late_writer(
            lambda: archive.open_archive(self.path, durable=False),
            lambda: archive.open_reader(self.path),
        )

    async def stop_and_go_on(self, at_s: float) -> None:
        self.start()
        await asyncio.sleep(at_s)
        await self.stop()
        await self.writer.close()
        self.writer = self._open()
        self.forwarder = self._forwarder()


def books(rig: Rig) -> dict[str, int]:
    rows = rig.ask("SELECT outcome, sum(readings) FROM delivery_count GROUP BY outcome")
    return dict(rows)


TRAITS = {"blind": {}, "reads back": {"reads_back": True}, "idempotent": {"idempotent": True}}


@pytest.mark.parametrize("answers_s", [(0.05,), (0.3, 0.02)], ids=["quick", "slow"])
@pytest.mark.parametrize("traits", TRAITS.values(), ids=TRAITS)
def test_a_stop_at_any_moment_keeps_the_books_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traits: dict[str, bool],
    answers_s: tuple[float, ...],
) -> None:  # fmt: skip
    monkeypatch.setattr(lanes, "STOP_S", STOP_S)
    unanswered = 0

    async def stopped(loop: VirtualLoop, folder: Path, at_s: float) -> tuple[Rig, Slow]:
        sink = Slow(answers_s, largest_batch=96, **traits)
        rig = StoppedRig(loop, folder / "archive.db", sink, window=2 * A_FRAME)
        await rig.add(FRAMES)
        await rig.stop_and_go_on(at_s)
        rig.start()
        await asyncio.sleep(0.1)
        await rig.add(1)
        await rig.idle()
        await rig.stop()
        await rig.writer.close()
        return rig, sink

    for stop in range(STOPS):
        folder = tmp_path / str(stop)
        folder.mkdir()
        rig, sink = run(lambda loop, folder=folder, stop=stop: stopped(loop, folder, stop * STEP_S))
        every = (FRAMES + 1) * A_FRAME
        where = f"stopped at {stop * STEP_S:.3f} s: {books(rig)}"
        assert len(set(sink.held)) == every, f"lost, {where}"
        assert books(rig)["delivered"] == every, where
        assert rig.ask("SELECT first_id, last_id FROM done") == [(1, FRAMES + 1)], where
        assert rig.ask("SELECT * FROM inflight") == [], where
        twice = len(sink.held) - every
        possible = books(rig).get("possible_duplicate", 0)
        unanswered += len(sink.unanswered)
        if traits.get("reads_back"):
            assert (twice, possible) == (0, 0), where
        elif traits.get("idempotent"):
            assert possible == 0, where
        else:
            assert twice <= possible == len(sink.unanswered), where
    assert (unanswered > 0) == (max(answers_s) > STOP_S), "stops that wait too short were met"


CHOICES: dict[str, tuple[dict[str, Any], Policy]] = {
    "every reading": ({}, Policy()),
    "the newest": ({"latest_only": True}, Policy()),
    "one in five minutes": ({"interval_s": 300.0}, Policy()),
    "fresh ones": ({}, Policy(fresh_s=(NOW_MS - START_MS) / 1000 - 4 * 60)),
}


@pytest.mark.parametrize(("traits", "policy"), CHOICES.values(), ids=CHOICES)
@pytest.mark.parametrize("on_unknown", ["resend", "leave"])
def test_after_a_kill_only_what_was_handed_over_may_be_there_twice(
    tmp_path: Path,
    traits: dict[str, Any],
    policy: Policy,
    on_unknown: Literal["resend", "leave"],
) -> None:
    async def story(rig: Rig) -> None:
        rig.sink.take_s = 1.0
        await rig.add(4)
        rig.start()
        await asyncio.sleep(0.5)
        await rig.kill()
        rig.sink.take_s = 0.0
        rig.start()
        await rig.idle()
        await rig.stop()

    sink = Pretended(largest_batch=1_000, **traits)
    rig = play(tmp_path, sink, story, policy=replace(policy, on_unknown=on_unknown))
    (_, handed), *_ = sink.requests
    assert 0 < len(handed) <= 4 * A_FRAME
    assert rig.count("possible_duplicate") == len(handed)
    counted = sum(rig.count(outcome) for outcome in book_tables.SETTLING)
    assert counted == 4 * A_FRAME
    if on_unknown == "leave":
        assert rig.count("delivered") == len(handed)


def late_writer(*openers: Callable[[], sqlite3.Connection], **options: Any) -> LateWriter:
    """One that waits for no second operation."""
    return LateWriter(*openers, interval_s=0.0, **options)


def open_late(*arguments: Any, **options: Any) -> Storage:
    """Storage whose writer commits later."""
    return open_storage(*arguments, **{**options, "threaded": True, "make_writer": late_writer})


def test_a_stop_at_any_moment_of_taking_in_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's rows, the index and the knots are taken for a snapshot, then written."""
    monkeypatch.setattr(storage_module, "SNAPSHOT_INTERVAL_S", 0.055)
    monkeypatch.setattr(storage_module, "SNAPSHOT_FRAMES", 1)
    frames = 12

    async def stopped(loop: VirtualLoop, folder: Path, at_s: float) -> int:
        board = Board()
        limits = IntakeLimits(group_interval_s=0.02)
        bench = Bench(folder, [board], limits=limits, open_=open_late)
        raws = [board.data(seq) for seq in range(1, frames + 1)]

        async def feed() -> None:
            for seq, raw in enumerate(raws, 1):
                bench.receive(board.live(seq * 3_600_000, [(BOOT, 1, seq)]), raw)
                bench.clock.pass_ms(3_600_000)
                await asyncio.sleep(0.02)

        running = [
            asyncio.create_task(part) for part in (feed(), bench.intake.run(), bench.storage.run())
        ]
        await asyncio.sleep(at_s)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await bench.intake.flush()
        received = bench.intake.counters.decisions[Kind.ACCEPTED]
        await bench.storage.close()
        assert files(folder) == FILES

        again = Bench(folder, [board], bench.clock)
        rows = again.stored()
        assert len(rows) == len(set(rows)) == received, "what was received is committed at a stop"
        assert again.storage.ledger.account(NODE).stored == len(rows)
        words = await again.take(*raws[:received])
        assert set(words) <= {"unsure", "duplicate"}
        assert again.stored() == rows, "a resend is known"
        await again.storage.close()
        with closing(archive.open_reader(folder / "archive.db")) as connection:
            for seq in range(1, received + 1):
                assert seq in indexed(connection), "the index has it"
            hours = connection.execute("SELECT count(*) FROM knot").fetchone()[0]
        assert hours >= received
        return received

    most = 0
    for stop in range(60):
        folder = tmp_path / str(stop)
        folder.mkdir()
        at_s = stop * STEP_S
        most = max(most, run(lambda loop, f=folder, at_s=at_s: stopped(loop, f, at_s)))
    assert most == frames


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def indexed(connection: sqlite3.Connection) -> Ranges:
    found = Ranges()
    for (ids,) in connection.execute("SELECT ids FROM hour"):
        found.update(Ranges.decode(ids))
    return found
