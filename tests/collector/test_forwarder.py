"""The forwarder in virtual time: claims before sending, lanes, waits, bisection, expiry, replay."""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from collector.archive import archive
from collector.archive.inline_writer import InlineWriter
from collector.archive.writer import WriteFailed, Writer
from collector.forward import book_tables
from collector.forward.book_tables import Count
from collector.forward.forwarder import Forwarder
from collector.forward.selection import Policy
from collector.readings.observation import Channel, Observation
from collector.sinks.base import (
    ACCEPTED,
    AccessDenied,
    Capabilities,
    Failed,
    Group,
    NoAnswer,
    NotSent,
    Outcome,
    Rate,
    Refused,
    Rejected,
    Sink,
)
from protocol import compose, wire
from protocol.registry import by_name
from simulator.upstream.street import (
    START_MS,
    FixedTimeline,
    Street,
    frozen_times,
    renderer_for,
    street_nodes,
)
from simulator.virtual_loop import VirtualClock, VirtualLoop, run
from tests.collector.core import InATurn

NODES = street_nodes(2)
A_FRAME = 12 * 8
NOW_MS = START_MS + 100 * 720_000

Key = tuple[int, int]


class Pretended(Sink):
    """A network in memory that does as `plan` says for each request, then accepts."""

    name = "pretended"

    def __init__(self, **traits: Any) -> None:
        self.capabilities = Capabilities(**({"largest_batch": 100} | traits))
        self.held: list[Key] = []
        self.requests: list[tuple[float, list[Key]]] = []
        self.plan: list[Any] = []
        self.bad: Callable[[Observation], bool] = lambda reading: False
        self.can_read = True
        self.take_s = 0.0

    def upstream_name(self, channel: Channel) -> str | None:
        return channel.key

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        keys = [(o.frame.id, o.reading) for o in batch]
        self.requests.append((asyncio.get_running_loop().time(), keys))
        await asyncio.sleep(self.take_s)
        step = self.plan.pop(0) if self.plan else None
        if step == "lost":
            self.held += keys
            raise NoAnswer("cut after it was stored")
        if isinstance(step, Exception):
            raise step
        if any(self.bad(o) for o in batch):
            raise Refused("bad: something in it")
        self.held += keys
        return [ACCEPTED] * len(batch)

    async def read_back(self, batch: Sequence[Observation]) -> Sequence[bool] | None:
        if not self.can_read:
            return None
        held = set(self.held)
        return [(o.frame.id, o.reading) in held for o in batch]


class ByNode(Pretended):
    """Each node is an address of its own."""

    def split(self, observations: Sequence[Observation]) -> Any:
        for node in NODES:
            mine = [o for o in observations if o.channel.node is node]
            if mine:
                yield Group(node.hex, mine)


class Rig:
    """An archive, a sink, a forwarder; can be killed and started again."""

    def __init__(self, loop: VirtualLoop, path: Path, sink: Pretended, **more: Any) -> None:
        self.clock = VirtualClock(loop, NOW_MS)
        self.path = path
        self.sink = sink
        self.street = Street(NODES)
        self.timeline = FixedTimeline()
        self.more = more
        self.writer = self._open()
        self.forwarder = self._forwarder()
        self._task: asyncio.Task[None] | None = None

    def _open(self) -> Writer:
        return InlineWriter(lambda: archive.open_archive(self.path, durable=False))

    def _forwarder(self) -> Forwarder:
        policy = self.more.get("policy", Policy())
        return Forwarder(
            self.sink,
            self.writer,
            renderer_for(self.sink, NODES, policy),
            frozen_times(self.timeline),
            self.clock,
            policy,
            nodes=NODES,
            chance=random.Random(1),
            window_readings=self.more.get("window"),
        )

    async def add(self, frames: int, *, wake: bool = True, received_ms: int | None = None) -> None:
        rows = self.street.frames(frames, received_ms)
        await self.writer.write(lambda connection: archive.append_many(connection, rows))
        if wake:
            self.forwarder.wake()

    def start(self) -> None:
        self._task = asyncio.create_task(self.forwarder.run())

    async def idle(self, frames_open: int = 0) -> None:
        for _ in range(20_000):
            await asyncio.sleep(1)
            if self.forwarder.status().open_frames <= frames_open:
                await self.forwarder.idle()
                return
        raise AssertionError(self.forwarder.status())

    async def kill(self) -> None:
        """Ends as SIGKILL does: nothing more reaches the disk."""
        assert self._task is not None

        async def dead(*_: Any, **__: Any) -> Any:
            raise WriteFailed("killed")

        self.writer.write = dead  # type: ignore[method-assign, assignment]
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.writer.close()
        self.writer = self._open()
        self.forwarder = self._forwarder()

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def ask(self, question: str) -> list[Any]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(question).fetchall()
        finally:
            connection.close()

    def count(self, outcome: str, reason: str | None = None) -> int:
        rows = self.ask("SELECT outcome, reason, readings FROM delivery_count")
        return sum(n for o, r, n in rows if o == outcome and reason in (None, r))


Story = Callable[[Rig], Coroutine[Any, Any, None]]


def play(path: Path, sink: Pretended, story: Story, **more: Any) -> Rig:
    """Runs a story in virtual time."""

    async def main(loop: VirtualLoop) -> Rig:
        rig = Rig(loop, path / "archive.db", sink, **more)
        await story(rig)
        return rig

    return run(main)


def test_everything_once_and_one_range(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.add(30)
        rig.start()
        await rig.idle()
        await rig.add(5)
        await rig.idle()

    sink = Pretended(idempotent=True)
    rig = play(tmp_path, sink, story)
    assert len(sink.held) == len(set(sink.held)) == 35 * A_FRAME
    assert rig.ask("SELECT first_id, last_id FROM done") == [(1, 35)]
    assert rig.ask("SELECT * FROM inflight") == []
    assert rig.count("delivered") == 35 * A_FRAME


def test_nothing_is_sent_that_was_not_claimed(tmp_path: Path) -> None:
    claimed: list[set[int]] = []
    sink = Pretended(idempotent=True)

    async def story(rig: Rig) -> None:
        async def looked(batch: Sequence[Observation]) -> Sequence[Outcome]:
            rows = rig.ask("SELECT first_id, last_id FROM inflight")
            known = {frame for first, last in rows for frame in range(first, last + 1)}
            claimed.append({o.frame.id for o in batch} - known)
            return [ACCEPTED] * len(batch)

        sink.send = looked  # type: ignore[method-assign]
        await rig.add(20)
        rig.start()
        await rig.idle()

    play(tmp_path, sink, story)
    assert claimed
    assert not any(claimed)


@pytest.mark.parametrize(
    ("traits", "duplicates"),
    [({"idempotent": True}, None), ({"reads_back": True}, 0), ({}, 1)],
    ids=["idempotent", "read back", "blind"],
)
def test_a_crash_between_acceptance_and_the_books(
    tmp_path: Path, traits: dict[str, bool], duplicates: int | None
) -> None:
    async def story(rig: Rig) -> None:
        rig.sink.take_s = 1.0
        await rig.add(4)
        rig.start()
        await asyncio.sleep(1.5)
        assert len(rig.sink.requests) == 2
        await rig.kill()
        rig.start()
        await rig.idle()

    sink = Pretended(**traits)
    rig = play(tmp_path, sink, story, window=96)
    assert len(set(sink.held)) == 4 * A_FRAME, "nothing is lost"
    twice = len(sink.held) - len(set(sink.held))
    if duplicates is not None:
        assert twice <= rig.count("possible_duplicate")
    if duplicates == 0:
        assert twice == 0


def test_an_answer_that_got_lost_is_read_back_later_when_it_cannot_be_now(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.sink.plan = ["lost"]
        rig.sink.can_read = False
        await rig.add(3)
        rig.start()
        await asyncio.sleep(60)
        requests = len(rig.sink.requests)
        await asyncio.sleep(600)
        assert rig.forwarder.status().unknown_frames == 2
        assert len(rig.sink.requests) == requests, "nothing is sent again before that is known"
        rig.sink.can_read = True
        await rig.idle()

    sink = Pretended(reads_back=True)
    play(tmp_path, sink, story)
    assert len(sink.held) == len(set(sink.held)) == 3 * A_FRAME


def test_half_a_batch_is_remembered_by_frame_and_reading(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.sink.plan = [None, NotSent("away", after_s=5000)]
        await rig.add(2)
        rig.start()
        await asyncio.sleep(60)
        await rig.kill()
        assert rig.ask("SELECT count(*) FROM partial") == [(1,)]
        rig.start()
        await rig.idle()

    sink = Pretended(idempotent=True, largest_batch=50)
    rig = play(tmp_path, sink, story)
    assert len(sink.held) == len(set(sink.held)) == 2 * A_FRAME
    assert rig.ask("SELECT * FROM partial") == []


def test_live_goes_first_while_a_backlog_drains(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.sink.take_s = 1.0
        await rig.add(100)
        rig.start()
        await asyncio.sleep(5.5)
        rig.street.seq = 200
        await rig.add(2)
        await asyncio.sleep(6)
        first_live = next(at for at, keys in rig.sink.requests if keys[0][0] > 100)
        assert first_live < 9
        assert rig.forwarder.status().open_frames > 50
        await rig.idle()

    sink = Pretended(idempotent=True)
    play(tmp_path, sink, story)
    assert len(set(sink.held)) == 102 * A_FRAME


def test_what_arrives_late_counts_as_backlog(tmp_path: Path) -> None:
    """A board's spool of last week must not hold up today's readings."""

    async def story(rig: Rig) -> None:
        rig.start()
        await asyncio.sleep(1)
        rig.sink.take_s = 1.0
        await rig.add(40)
        rig.street.seq = 200
        await rig.add(1)
        await rig.idle()

    sink = Pretended(idempotent=True)
    play(tmp_path, sink, story)
    order = [keys[0][0] for _, keys in sink.requests]
    assert order.index(41) <= 2


def unsent(frame: archive.StoredFrame) -> archive.StoredFrame:
    """The same frame with as many readings as one may hold, none of which is good."""
    column = bytes([15 | 1 << 4 | 1 << 6])  # constant, with an instance and a quality
    columns = b"".join(
        bytes([by_name("pm2_5").id]) + column + bytes([instance, 1, 255, 1, 2])
        for instance in range(64)
    )
    rows = compose.u48(frame.first_ms) + compose.uvarint(1_000) + bytes([255, 64])
    sections = [(wire.S_SAMPLES, rows + columns)]
    raw = compose.compose(wire.T_DATA, frame.node, frame.boot, frame.seq, sections, None)
    return frame._replace(raw=raw)


@pytest.mark.parametrize("lane", ["live", "backlog"])
def test_frames_without_a_reading_to_send_leave_others_their_turn(
    tmp_path: Path, lane: str
) -> None:
    async def story(rig: Rig) -> None:
        frames = [unsent(frame) for frame in rig.street.frames(40)]
        rendering = InATurn(rig.forwarder._reader.render)
        rig.forwarder._reader.render = rendering  # type: ignore[method-assign]
        if lane == "live":
            rig.start()
            await rig.idle()
        await rig.writer.write(lambda connection: archive.append_many(connection, frames))
        rig.forwarder.wake()
        if lane == "backlog":
            rig.start()
        await rig.idle()
        assert rendering.calls >= 40
        assert rendering.most <= 2

    rig = play(tmp_path, Pretended(), story)
    assert rig.count("left_out") == 40 * 255 * 64


def test_oldest_first_where_the_network_wants_it(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.add(60)
        rig.start()
        await asyncio.sleep(0.1)
        await rig.add(5)
        await rig.idle()

    sink = Pretended(idempotent=True, oldest_first=True)
    play(tmp_path, sink, story)
    frames = [frame for _, keys in sink.requests for frame, _ in keys]
    assert frames == sorted(frames)


def test_one_bad_reading_is_found_by_halving(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.sink.bad = lambda o: o.frame.id == 2 and o.reading == 17
        await rig.add(3)
        rig.start()
        await rig.idle()

    sink = Pretended(idempotent=True)
    rig = play(tmp_path, sink, story)
    assert len(sink.held) == 3 * A_FRAME - 1
    assert rig.count("rejected", "bad") == 1
    assert rig.ask("SELECT frame, reading, channel, reason FROM rejected") == [
        (2, 17, "pm2_5", "bad: something in it")
    ]


def test_halving_goes_on_where_a_busy_network_stopped_it(tmp_path: Path) -> None:
    class Busy(Pretended):
        """Refuses what holds the bad reading, and has no time for every second request."""

        async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
            if len(self.requests) % 2:
                self.plan.insert(0, NotSent("busy", 5.0))
            return await super().send(batch)

    async def story(rig: Rig) -> None:
        rig.sink.bad = lambda o: (o.frame.id, o.reading) == (1, 0)
        await rig.add(5)
        rig.start()
        await rig.idle()

    sink = Busy(idempotent=True, largest_batch=1000)
    rig = play(tmp_path, sink, story)
    assert rig.count("rejected") == 1
    assert len(sink.held) == len(set(sink.held)) == 5 * A_FRAME - 1
    assert len(sink.requests) < 50, "480 readings take 9 halvings, 2 requests each, twice"
    assert len(rig.forwarder._sender._cuts) == 0


def test_one_failure_alone_condemns_no_reading(tmp_path: Path) -> None:
    class Moody(Pretended):
        """Fails for one reading seven times, then takes it."""

        moods = 7

        async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
            if self.moods and any((o.frame.id, o.reading) == (1, 40) for o in batch):
                self.moods -= len(batch) == 1 or self.moods > 1
                raise Failed("status 500")
            return await super().send(batch)

    async def story(rig: Rig) -> None:
        await rig.add(2)
        rig.start()
        await rig.idle()

    sink = Moody(idempotent=True)
    rig = play(tmp_path, sink, story)
    assert sink.moods == 0
    assert rig.count("rejected") == 0
    assert rig.count("delivered") == 2 * A_FRAME


def test_a_server_that_fails_for_one_reading_is_told_from_one_that_is_down(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)

    async def story(rig: Rig) -> None:
        accept = sink.send
        down = True

        async def send(batch: Sequence[Observation]) -> Sequence[Outcome]:
            if down or any((o.frame.id, o.reading) == (1, 40) for o in batch):
                raise Failed("status 500")
            return await accept(batch)

        sink.send = send  # type: ignore[method-assign]
        await rig.add(2)
        rig.start()
        await asyncio.sleep(4 * 3600)
        assert rig.count("rejected") == 0, "nobody is to blame while the server is down"
        down = False
        await rig.idle()

    rig = play(tmp_path, sink, story)
    assert rig.count("rejected") == 1
    assert rig.count("delivered") == 2 * A_FRAME - 1


def test_retry_after_is_kept_to(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.sink.plan = [NotSent("busy", after_s=77)]
        await rig.add(1)
        rig.start()
        await rig.idle()

    sink = Pretended(idempotent=True)
    play(tmp_path, sink, story)
    assert sink.requests[1][0] - sink.requests[0][0] >= 77


def test_rates_are_kept_to(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.add(20)
        rig.start()
        await rig.idle()

    sink = Pretended(idempotent=True, largest_batch=96, network_rate=Rate(per_s=0.1, burst=2))
    play(tmp_path, sink, story)
    at = [at for at, _ in sink.requests]
    assert all(later - earlier >= 9.9 for earlier, later in pairwise(at[1:]))


def test_a_refused_credential_pauses_and_an_address_pauses_alone(tmp_path: Path) -> None:
    sink = ByNode(idempotent=True)

    async def story(rig: Rig) -> None:
        accept = sink.send
        known = False

        async def send(batch: Sequence[Observation]) -> Sequence[Outcome]:
            if not known and batch[0].channel.node is NODES[0]:
                sink.requests.append((0, []))
                raise AccessDenied("no such node")
            return await accept(batch)

        sink.send = send  # type: ignore[method-assign]
        await rig.add(10)
        rig.start()
        await asyncio.sleep(600)
        assert len(sink.held) == 5 * A_FRAME, "the other node is not held up"
        assert rig.forwarder.status().closed_addresses == {NODES[0].hex: "no such node"}
        assert sum(not keys for _, keys in sink.requests) <= 5
        known = True
        await rig.idle()

    play(tmp_path, sink, story)
    assert len(sink.held) == 10 * A_FRAME


def test_the_oldest_expire_and_the_ledger_says_so(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.sink.plan = [NotSent("dead")] * 100_000
        await rig.add(50, received_ms=NOW_MS)
        rig.start()
        await asyncio.sleep(120)
        assert rig.forwarder.status().open_frames == 20
        rig.clock.step_ms = 400 * 86_400_000
        await asyncio.sleep(400)
        assert rig.forwarder.status().open_frames == 0
        await rig.stop()

    sink = Pretended(idempotent=True)
    rig = play(tmp_path, sink, story, policy=Policy(backlog_frames=20))
    assert rig.count("expired", "size") == 30 * A_FRAME
    assert rig.count("expired", "age") == 20 * A_FRAME
    assert rig.ask("SELECT first_id, last_id FROM done") == [(1, 50)]


def test_networks_without_a_backlog_get_what_is_fresh(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.clock.step_ms = START_MS - NOW_MS + 5 * 720_000
        await rig.add(10)
        rig.start()
        await rig.idle()

    sink = Pretended(idempotent=True, backlog=False)
    rig = play(tmp_path, sink, story, policy=Policy(fresh_s=600))
    assert 0 < rig.count("delivered") < 3 * A_FRAME
    assert rig.count("delivered") + rig.count("left_out", "too_old") == 10 * A_FRAME


def test_readings_between_the_interval_are_left_out(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.add(10)
        rig.start()
        await rig.idle()

    sink = Pretended(idempotent=True, interval_s=145.0)
    rig = play(tmp_path, sink, story)
    assert rig.count("left_out", "interval") == 10 * A_FRAME * 2 // 3
    assert rig.count("delivered") == 10 * A_FRAME // 3


def test_undated_frames_wait_for_their_time(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.timeline.undated = {1_764_000_000}
        await rig.add(5)
        rig.start()
        await asyncio.sleep(100)
        assert rig.forwarder.status().held_frames == 5
        assert not rig.sink.requests
        rig.timeline.undated = set()
        await rig.idle()

    sink = Pretended(idempotent=True)
    play(tmp_path, sink, story)
    assert len(sink.held) == 5 * A_FRAME


def test_a_replay_sends_again_at_the_same_times(tmp_path: Path) -> None:
    times: dict[Key, set[int]] = {}
    sink = Pretended(idempotent=True)

    async def story(rig: Rig) -> None:
        accept = sink.send

        async def send(batch: Sequence[Observation]) -> Sequence[Outcome]:
            for o in batch:
                times.setdefault((o.frame.id, o.reading), set()).add(o.time_ms)
            return await accept(batch)

        sink.send = send  # type: ignore[method-assign]
        await rig.add(10)
        rig.start()
        await rig.idle()
        await rig.kill()
        moved = rig.timeline.time_of
        rig.timeline.time_of = lambda *key: moved(*key)._replace(  # type: ignore[method-assign, union-attr]
            unix_ms=moved(*key).unix_ms + 4000  # type: ignore[union-attr]
        )
        await rig.writer.write(lambda c: book_tables.replay(c, "pretended", 3, 6))
        rig.start()
        await rig.idle()

    play(tmp_path, sink, story)
    assert len(sink.held) == 14 * A_FRAME
    assert all(len(found) == 1 for found in times.values()), "what was sent keeps its time"


def test_a_full_disk_stops_sending_and_loses_nothing(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        real = rig.writer.write
        full = True

        async def write(operation: Any, **more: Any) -> Any:
            if full:
                raise WriteFailed("disk full")
            return await real(operation, **more)

        await rig.add(5)
        rig.start()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        rig.writer.write = write  # type: ignore[method-assign, assignment]
        await asyncio.sleep(100)
        sent = len(rig.sink.requests)
        await asyncio.sleep(100)
        assert len(rig.sink.requests) == sent
        full = False
        await rig.idle()

    sink = Pretended(reads_back=True)
    rig = play(tmp_path, sink, story)
    assert len(sink.held) == len(set(sink.held)) == 5 * A_FRAME
    assert rig.count("delivered") == 5 * A_FRAME


def test_rejected_readings_do_not_come_again(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)

    async def story(rig: Rig) -> None:
        accept = sink.send

        async def send(batch: Sequence[Observation]) -> Sequence[Outcome]:
            said = list(await accept(batch))
            said[0] = Rejected("row refused: no")
            return said

        sink.send = send  # type: ignore[method-assign]
        await rig.add(2)
        rig.start()
        await rig.idle()
        await rig.kill()
        rig.start()
        await rig.idle()

    rig = play(tmp_path, sink, story)
    requests = len(sink.requests)
    assert rig.count("rejected") == requests
    assert rig.count("delivered") + requests == 2 * A_FRAME


def test_counts_are_kept_by_node(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.add(7)
        rig.start()
        await rig.idle()

    rig = play(tmp_path, Pretended(idempotent=True), story)
    connection = sqlite3.connect(rig.path)
    found = book_tables.counts(connection)["pretended"]
    connection.close()
    assert found == {
        Count("delivered", "", NODES[0].link): 4 * A_FRAME,
        Count("delivered", "", NODES[1].link): 3 * A_FRAME,
    }
