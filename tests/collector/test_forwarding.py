"""The forwarder under everything that can happen to it, drawn from a seed, held to its books.

A network that remembers all that it stored loses answers, refuses, is away; the disk fails, also
so that nobody knows what it kept; the collector is stopped and killed, frames are replayed, expire
and are removed. When all is well again, each reading is accounted for, once.
"""

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from collector.archive import archive
from collector.archive.writer import WriteFailed
from collector.forward import book_tables, lanes
from collector.forward.book_tables import POSSIBLE_DUPLICATE
from collector.forward.books import Books, _Page
from collector.forward.forwarder import Forwarder
from collector.forward.selection import Policy
from collector.forward.sending import Sender
from collector.forward.states import EXPIRABLE, TABLE, Event, Frames, State
from collector.forward.windows import FrameAtSink, Windows
from collector.housekeeping import Housekeeping, Keep, look_ahead, remove
from collector.operate.accounts import accounts
from collector.ranges import Ranges
from collector.readings.observation import Channel, Observation
from collector.sinks.base import (
    ACCEPTED,
    Capabilities,
    Failed,
    NoAnswer,
    NotSent,
    Outcome,
    Rejected,
    Retry,
    Sink,
    Unknown,
)
from collector.storage.archive_view import ArchiveView
from simulator.late_writer import Killed, LateWriter
from simulator.upstream.street import (
    BOOT,
    START_MS,
    FixedTimeline,
    Street,
    frozen_times,
    renderer_for,
    street_nodes,
)
from simulator.virtual_loop import VirtualClock, VirtualLoop, run
from tests.collector.parcels import FATES, Disk

NODES = street_nodes(2)
ROWS = 3
A_FRAME = ROWS * 8
NAME = "network"
STEPS = 50
SEEDS = range(4)
TRAITS: dict[str, dict[str, Any]] = {
    "blind": {},
    "left": {},
    "reads back": {"reads_back": True, "readback_delay_s": 0.1},
    "idempotent": {"idempotent": True},
    "oldest first": {"reads_back": True, "readback_delay_s": 0.1, "oldest_first": True},
    "one in five minutes": {"interval_s": 300.0},
}

Key = tuple[int, int]


class Network:
    """What the network stored, and how often; `unanswered` are readings whose answer got lost."""

    def __init__(self, chance: random.Random, traits: dict[str, Any]) -> None:
        self.chance = chance
        self.capabilities = Capabilities(largest_batch=2 * A_FRAME + 5, **traits)
        self.held: Counter[Key] = Counter()
        self.unanswered = 0
        self.unwell = 1.0

    def bad(self, reading: Observation) -> bool:
        """Refused for ever: a few readings, of channels of which others are taken."""
        return reading.frame.id % 7 == 3 and reading.reading == 5

    def store(self, readings: Sequence[Observation]) -> None:
        self.held.update((o.frame.id, o.reading) for o in readings)


class Door(Sink):
    """One process's way to the network."""

    name = NAME

    def __init__(self, network: Network) -> None:
        self.network = network
        self.capabilities = network.capabilities
        self.dead = False

    def upstream_name(self, channel: Channel) -> str | None:
        return channel.key

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        network, chance = self.network, self.network.chance
        network.unanswered += len(batch)
        stored_first = chance.random() < 0.5
        good = [o for o in batch if not network.bad(o)]
        mood = chance.random() / network.unwell if network.unwell else 1.0
        if mood > 0.4 and stored_first and not self.dead:
            network.store(good)
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        if self.dead:
            raise asyncio.CancelledError
        if mood > 0.4:
            network.unanswered -= len(batch)
            if not stored_first:
                network.store(good)
            return [Rejected("bad: no") if network.bad(o) else ACCEPTED for o in batch]
        if mood < 0.1:
            if stored_first:
                network.store(good)
            raise NoAnswer("cut")
        network.unanswered -= len(batch)
        if mood < 0.15:
            raise NotSent("busy", chance.uniform(0.0, 30.0))
        if mood < 0.18:
            raise Failed("status 500")
        return [self._one(o) for o in batch]

    def _one(self, reading: Observation) -> Outcome:
        network, chance = self.network, self.network.chance
        if network.bad(reading):
            return Rejected("bad: no")
        drawn = chance.random()
        if drawn < 0.1:
            return Retry("later", chance.uniform(0.1, 60.0))
        if drawn < 0.2:
            network.unanswered += 1
            if drawn < 0.15:
                network.store([reading])
            return Unknown("who knows")
        network.store([reading])
        return ACCEPTED

    async def read_back(self, batch: Sequence[Observation]) -> Sequence[bool] | None:
        await asyncio.sleep(0.05)
        if self.network.chance.random() < 0.2 * self.network.unwell:
            return None
        return [(o.frame.id, o.reading) in self.network.held for o in batch]


class Run(NamedTuple):
    """What is tried of everything."""

    replays: bool = False
    expires: bool = False
    kills: bool = True


class World:
    """A collector's forwarder, its archive and its network, in virtual time."""

    def __init__(self, loop: VirtualLoop, path: Path, seed: int, kind: str, tried: Run) -> None:
        self.chance = random.Random(f"{seed}/{kind}/{tried}")
        self.path = path
        self.tried = tried
        self.clock = VirtualClock(loop, START_MS + 100 * 720_000)
        self.network = Network(self.chance, TRAITS[kind])
        self.policy = Policy(
            on_unknown="leave" if kind == "left" else "resend",
            backlog_frames=25 if tried.expires else 1_000_000,
        )
        self.street = Street(NODES, rows=ROWS)
        self.timeline = FixedTimeline()
        self.disk = Disk(lambda: archive.open_archive(path, durable=False))
        self.left_claimed = 0
        self.faults: list[BaseException] = []
        self._removing = asyncio.Lock()
        self._open()

    def _open(self) -> None:
        self.writer = LateWriter(
            self.disk.open,
            lambda: archive.open_reader(self.path),
            chance=self.chance,
            interval_s=self.chance.choice((0.0, 0.05, 0.5)),
        )
        self.door = Door(self.network)
        self.forwarder = Forwarder(
            self.door,
            self.writer,
            renderer_for(self.door, NODES, self.policy),
            frozen_times(self.timeline),
            self.clock,
            self.policy,
            nodes=NODES,
            chance=self.chance,
            window_readings=3 * A_FRAME,
        )
        self.house = Housekeeping(
            SimpleNamespace(writer=self.writer, timeline=None),  # type: ignore[arg-type]
            self.clock,
            Keep(days=1, drop_undelivered=self.tried.expires, sinks=(NAME,)),
            lambda: [self.forwarder],
        )
        self._task = asyncio.create_task(self._supervised())

    async def _supervised(self) -> None:
        while True:
            try:
                await self.forwarder.run()
            except BaseExceptionGroup as group:
                if not group.subgroup(Killed):
                    self.faults.append(group)
                return
            except (WriteFailed, sqlite3.Error):
                await asyncio.sleep(1.0)
            except Exception as fault:
                self.faults.append(fault)
                return

    async def add(self, frames: int) -> None:
        rows = self.street.frames(frames)
        with suppress(WriteFailed):
            await self.writer.write(lambda connection: archive.append_many(connection, rows))
        self.forwarder.wake()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.writer.close()
        self._go_on()

    async def kill(self) -> None:
        self.door.dead = True
        self.writer.abandon()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._go_on()

    def _go_on(self) -> None:
        """Another process begins; what is claimed by then nobody can know."""
        with closing(sqlite3.connect(self.path)) as connection:
            if book_tables.has_books(connection):
                state = book_tables.load(connection, NAME)
                for first, last in (ids for claim in state.claims.values() for ids in claim):
                    for frame in range(first, last + 1):
                        self.left_claimed += A_FRAME - state.settled(frame, A_FRAME)
        self._open()

    async def replay(self) -> None:
        first = self.chance.randint(1, 40)
        with suppress(WriteFailed):
            await self.forwarder.replay(first, first + self.chance.randint(0, 20))

    async def remove(self) -> None:
        keep, due = self.house._keep, self.chance.randint(1, 15)
        async with self._removing:
            await self._remove(keep, due)

    async def _remove(self, keep: Keep, due: int) -> None:
        with suppress(WriteFailed, sqlite3.Error):
            step = await self.writer.read(partial(look_ahead, due=due, keep=keep))
            if keep.drop_undelivered:
                step = await self.house._given_up(step)
            await self.writer.write(partial(remove, step=step, keep=keep))

    async def undated(self) -> None:
        self.timeline.undated ^= {BOOT}
        self.forwarder.look_again()

    async def disk_fails(self) -> None:
        """For a moment, or until something else happens."""
        self.disk.fate = self.chance.choice(FATES)
        if self.chance.random() < 0.7:
            await asyncio.sleep(self.chance.choice((0.05, 0.3, 2.0, 10.0)))
            self.disk.fate = "kept"

    async def storm(self) -> None:
        steps = [
            self.add,
            self.add,
            self.add,
            self.stop,
            self.disk_fails,
            self.disk_fails,
            self.undated,
        ]
        steps += [self.kill] * self.tried.kills + [self.replay] * (2 * self.tried.replays)
        steps += [self.remove] * self.tried.expires
        beside: list[asyncio.Task[None]] = []
        for _ in range(STEPS):
            step: Callable[..., Any] = self.chance.choice(steps)
            if step == self.add:
                beside.append(asyncio.create_task(self.add(self.chance.randint(1, 5))))
            elif step in (self.replay, self.remove):
                beside.append(asyncio.create_task(step()))
            else:
                await step()
            await asyncio.sleep(self.chance.choice((0.0, 0.01, 0.1, 1.0, 20.0)))
        self.timeline.undated.clear()
        self.disk.fate = "kept"
        await asyncio.sleep(10)
        self.forwarder.look_again()
        await asyncio.gather(*beside, return_exceptions=True)

    async def calm(self) -> None:
        """Everything is well again, and new frames come, until nothing is left to do."""
        self.network.unwell = 0.0
        for _ in range(600):
            if self.faults:
                raise self.faults[0]
            await self.add(2)
            self._be_fresh()
            await asyncio.sleep(300)
            if self.forwarder.status().open_frames == 0:
                break
        else:
            raise AssertionError(f"nothing moves any more: {self.forwarder.status()}")
        await self.forwarder.idle()
        await self.stop()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.writer.close()

    def _be_fresh(self) -> None:
        """The newest frames are of just now, so that they are live's."""
        newest_ms = START_MS + self.street.seq // len(NODES) * ROWS * self.street.period_ms
        self.clock.step_ms += newest_ms - self.clock.unix_ms()

    def judge(self) -> None:
        with closing(archive.open_reader(self.path)) as connection:
            links = [node.link for node in NODES]
            found = [a.sinks[NAME] for a in accounts(ArchiveView(connection), [NAME], links)]
            state = book_tables.load(connection, NAME)
            newest = archive.newest_id(connection)
            counts = book_tables.counts(connection, NAME).get(NAME, {})
        books: Counter[str] = Counter()
        for count, readings in counts.items():
            books[count.outcome] += readings
        wrong = [(each.unaccounted, each.surplus, each.to_send) for each in found]
        assert wrong == [(0, 0, 0)] * 2, f"unaccounted, surplus, to be sent: {wrong}"
        assert list(state.done) == [(1, newest)], "done is exactly what is settled"
        assert (state.claims, state.partial) == ({}, {})
        assert all(readings >= 0 for readings in counts.values())
        held = self.network.held
        refused = {(id, 5) for id in range(1, newest + 1) if id % 7 == 3}
        assert not set(held) & refused
        if not self.tried.replays:
            settled = sum(books[outcome] for outcome in book_tables.SETTLING)
            assert settled == newest * A_FRAME, "each reading is counted once"
            assert books["delivered"] <= len(held) or self.policy.on_unknown == "leave"
            exact = self.policy.on_unknown == "resend" and not self.network.capabilities.interval_s
            if exact and not self.tried.expires:
                assert books["delivered"] == len(held), "delivered is what the network has"
                assert len(held) + books["rejected"] + books["left_out"] == newest * A_FRAME
            self._judge_duplicates(books)

    def _judge_duplicates(self, books: Counter[str]) -> None:
        twice = sum(self.network.held.values()) - len(self.network.held)
        possible = books[POSSIBLE_DUPLICATE]
        traits = self.network.capabilities
        if traits.reads_back:
            assert (twice, possible) == (0, 0)
        elif traits.idempotent:
            assert possible == 0
        else:
            assert twice <= possible, "no fewer than there are"
            assert possible <= self.network.unanswered + self.left_claimed


def play(path: Path, seed: int, kind: str, tried: Run) -> None:
    async def story(loop: VirtualLoop) -> None:
        world = World(loop, path, seed, kind, tried)
        await world.storm()
        await world.calm()
        world.judge()

    path.unlink(missing_ok=True)
    run(story)


@pytest.fixture(autouse=True)
def stops_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that some requests outlive them."""
    monkeypatch.setattr(lanes, "STOP_S", 0.1)


EVERYTHING = (Run(), Run(replays=True), Run(expires=True), Run(replays=True, expires=True))


@pytest.mark.parametrize("kind", TRAITS)
@pytest.mark.parametrize("tried", EVERYTHING, ids=["", "replays", "expires", "both"])
def test_each_reading_is_accounted_for_once(tmp_path: Path, kind: str, tried: Run) -> None:
    for seed in SEEDS:
        try:
            play(tmp_path / "archive.db", seed, kind, tried)
        except BaseException as fault:
            fault.add_note(f"seed {seed}")
            raise


RARE = {
    (State.TAKEN, Event.RETRY),
    (State.HELD, Event.REOPENED),
    *((state, Event.GONE) for state in EXPIRABLE),
}
"""Moves that these stories have no part for, or seldom."""


def test_the_stories_meet_every_row_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {(m.state, m.event) for m in TABLE if m.event is not Event.RESTART} - RARE
    happened = Frames.happened

    def noted(frames: Frames, event: Event, ids: Ranges, lane: Any = "live") -> None:
        wanted.difference_update(
            [key for key in wanted if key[1] is event and frames.those(key[:1], ids)]
        )
        happened(frames, event, ids, lane)

    monkeypatch.setattr(Frames, "happened", noted)
    for seed in range(20):
        for kind in ("reads back", "left", "blind"):
            play(tmp_path / "archive.db", seed, kind, EVERYTHING[3])
            if not wanted:
                return
    raise AssertionError(f"never met: {wanted}")


def patched(
    owner: type, name: str, made: Callable[..., Any]
) -> Callable[[pytest.MonkeyPatch], None]:
    real = getattr(owner, name)

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        def mistaken(*arguments: Any, **options: Any) -> Any:
            return made(real, *arguments, **options)

        monkeypatch.setattr(owner, name, mistaken)

    return patch


def lets_claims_go_at_a_stop(real: Any, windows: Windows) -> None:
    for claim in windows.unknown:
        windows._books.released(claim)
    real(windows)


def counts_twice(real: Any, books: Books, node: int, readings: int) -> None:
    real(books, node, readings + (readings == A_FRAME))


MISTAKES = {
    "a claim is let go at a stop": patched(Windows, "close_rest", lets_claims_go_at_a_stop),
    "done is one too far": patched(
        Books, "done", lambda real, books, ids: real(books, Ranges((a, b + 1) for a, b in ids))
    ),
    "what is settled of a frame is lost": patched(
        Books, "settled_in_part", lambda real, books, frame, settled: None
    ),
    "a delivery is counted twice": patched(Books, "delivered", counts_twice),
    "no possible duplicate is counted": patched(
        Books, "possible_duplicates", lambda real, books, readings: None
    ),
    "a failed page is taken for written": patched(
        _Page, "failed", lambda real, page: page.committed()
    ),
    "an unknown page is taken for written": patched(
        _Page, "unknown", lambda real, page: page.committed()
    ),
    "silence is taken for a refusal": patched(
        Sender, "presume", lambda real, sender, results: results.unknown.clear()
    ),
    "a waiting reading is settled": patched(
        FrameAtSink, "wait", lambda real, frame, due_s: setattr(frame, "open", 0)
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    MISTAKES[mistake](monkeypatch)
    for seed in range(20):
        for kind in ("blind", "reads back"):
            try:
                play(tmp_path / "archive.db", seed, kind, EVERYTHING[0])
            except Exception:
                return
    raise AssertionError("the net has a hole")
