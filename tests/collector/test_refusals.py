"""Whom a refusal is about: the reading, its channel, its address, the network, or our own code."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from collector.doctor.worries import worries
from collector.forward.limits import RequestSize
from collector.readings.observation import Channel, Observation
from collector.sinks.base import (
    ACCEPTED,
    Failed,
    Outcome,
    Refused,
    Rejected,
    TimedOut,
)
from tests.collector.test_forwarder import A_FRAME, NODES, ByNode, Pretended, Rig, play

HOUR_S = 3600.0


def refusing(sink: Pretended, bad: Callable[[Observation], bool], error: Exception) -> None:
    """The network refuses every request that holds such a reading."""
    accept = sink.send

    async def send(batch: Sequence[Observation]) -> Sequence[Outcome]:
        if any(bad(o) for o in batch):
            sink.requests.append((asyncio.get_running_loop().time(), []))
            raise error
        return await accept(batch)

    sink.send = send  # type: ignore[method-assign]


def test_a_network_that_refuses_everything_buries_nothing_and_is_asked_seldom(
    tmp_path: Path,
) -> None:
    sink = Pretended(idempotent=True)
    broken = True

    async def story(rig: Rig) -> None:
        refusing(sink, lambda o: broken, Refused("status 400: no"))
        await rig.add(50)
        rig.start()
        await asyncio.sleep(24 * HOUR_S)
        assert len(sink.requests) < 0.05 * 50 * A_FRAME
        assert "status 400" in rig.forwarder.status().blocked_reason
        assert rig.count("rejected") == 0
        nonlocal broken
        broken = False
        await rig.idle()
        assert rig.forwarder.status().blocked_reason == ""

    rig = play(tmp_path, sink, story)
    assert rig.count("delivered") == 50 * A_FRAME
    assert len(sink.held) == len(set(sink.held))


def test_a_network_that_begins_to_refuse_in_the_middle_buries_nothing(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)

    async def story(rig: Rig) -> None:
        refusing(sink, lambda o: len(sink.requests) % 1000 > 500, Refused("status 400: no"))
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        refusing(sink, lambda o: 7 < now_s() - began_s < 600, Refused("status 400: no"))
        sink.take_s = 1.0
        await rig.add(40)
        rig.start()
        await rig.idle()

    rig = play(tmp_path, sink, story)
    assert rig.count("rejected") == 0
    assert rig.count("delivered") == 40 * A_FRAME


def test_it_breaks_again_as_soon_as_it_was_mended(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)

    async def story(rig: Rig) -> None:
        now_s = asyncio.get_running_loop().time
        refusing(sink, lambda o: now_s() % 120 < 100, Refused("status 400: no"))
        sink.take_s = 2.0
        await rig.add(20)
        rig.start()
        for _ in range(60):
            await asyncio.sleep(HOUR_S)
            if not rig.forwarder.status().open_frames:
                break
        await rig.stop()

    rig = play(tmp_path, sink, story)
    assert rig.count("rejected") == 0


def test_one_reading_alone_is_held_until_others_have_got_through(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)
    others: list[bool] = []

    async def story(rig: Rig) -> None:
        rig.start()
        await asyncio.sleep(1)
        refusing(sink, lambda o: o.frame.id == 1 and o.reading == 5, Refused("status 422: bad"))
        refusing(sink, lambda o: o.frame.id == 1 and not others, Refused("status 422: bad"))
        await rig.add(1)
        await asyncio.sleep(6 * HOUR_S)
        assert rig.count("rejected") == 0
        assert rig.forwarder.status().open_frames == 1
        others.append(True)
        await rig.add(4)
        await rig.idle()

    rig = play(tmp_path, sink, story)
    assert rig.ask("SELECT frame, reading, reason FROM rejected") == [(1, 5, "status 422: bad")]
    assert rig.count("delivered") == 5 * A_FRAME - 1


def test_a_quantity_that_is_refused_waits_and_the_others_go(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)
    broken = True

    def bad(o: Observation) -> bool:
        return broken and o.channel.key == "pm2_5"

    async def story(rig: Rig) -> None:
        refusing(sink, bad, Refused("status 422: field type conflict"))
        await rig.add(40)
        rig.start()
        await asyncio.sleep(12 * HOUR_S)
        assert len(set(sink.held)) == 40 * A_FRAME * 7 // 8
        assert rig.count("rejected") == 0
        held = rig.forwarder.status().closed_addresses
        assert set(held) == {f"{node.name} pm2_5" for node in NODES}
        assert "field type conflict" in str(held)
        nonlocal broken
        broken = False
        await rig.idle()

    rig = play(tmp_path, sink, story)
    assert rig.count("delivered") == 40 * A_FRAME


def test_readings_from_the_future_are_not_buried_though_older_ones_pass(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)

    async def story(rig: Rig) -> None:
        refusing(
            sink,
            lambda o: o.time_ms > rig.clock.unix_ms() - 98 * 720_000,
            Refused("status 422: bad time"),
        )
        await rig.add(8)
        rig.start()
        await asyncio.sleep(HOUR_S)
        await rig.idle()

    rig = play(tmp_path, sink, story)
    assert rig.count("rejected") == 0
    assert rig.count("delivered") == 8 * A_FRAME


def test_an_address_that_refuses_everything_holds_up_no_other(tmp_path: Path) -> None:
    sink = ByNode(idempotent=True)

    async def story(rig: Rig) -> None:
        refusing(sink, lambda o: o.channel.node is NODES[0], Refused("status 400: no such pin"))
        await rig.add(20)
        rig.start()
        await asyncio.sleep(2 * HOUR_S)
        assert len(sink.held) == 10 * A_FRAME
        assert rig.count("rejected") == 0
        assert NODES[0].hex in rig.forwarder.status().closed_addresses
        await rig.stop()

    play(tmp_path, sink, story)


def test_rejections_in_an_answer_are_believed_when_others_like_them_passed(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)

    async def story(rig: Rig) -> None:
        accept = sink.send

        async def send(batch: Sequence[Observation]) -> Sequence[Outcome]:
            await accept(batch)
            return [
                Rejected("row: no") if o.channel.key == "pm1" or o.reading == 3 else ACCEPTED
                for o in batch
            ]

        sink.send = send  # type: ignore[method-assign]
        await rig.add(6)
        rig.start()
        await asyncio.sleep(6 * HOUR_S)
        assert rig.count("rejected") == 6, "one of each frame; of pm1 nothing passed"
        assert rig.forwarder.status().open_frames == 6
        await rig.stop()

    play(tmp_path, sink, story)


@pytest.mark.parametrize("traits", [{"idempotent": True}, {"reads_back": True}, {}])
def test_what_our_own_code_fails_on_costs_that_reading_only(
    tmp_path: Path, traits: dict[str, bool]
) -> None:
    sink = Pretended(**traits)

    async def story(rig: Rig) -> None:
        refusing(sink, lambda o: (o.frame.id, o.reading) == (2, 17), KeyError("topic"))
        await rig.add(6)
        rig.start()
        await rig.idle()

    rig = play(tmp_path, sink, story)
    ((frame, reading, reason),) = rig.ask("SELECT frame, reading, reason FROM rejected")
    assert (frame, reading) == (2, 17)
    assert reason.startswith("crashed: KeyError")
    assert len(set(sink.held)) == 6 * A_FRAME - 1


def test_a_sink_whose_code_fails_on_everything_is_held_up_and_says_so(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)

    async def story(rig: Rig) -> None:
        refusing(sink, lambda o: True, RecursionError())
        await rig.add(6)
        rig.start()
        await asyncio.sleep(HOUR_S)
        assert "crashed: RecursionError" in rig.forwarder.status().blocked_reason
        assert rig.count("rejected") == 0
        await rig.stop()

    play(tmp_path, sink, story)


@pytest.mark.parametrize("method", ["provision", "split"])
def test_a_node_that_the_sinks_code_fails_on_costs_no_other(tmp_path: Path, method: str) -> None:
    sink = Pretended(idempotent=True)
    real: Any = getattr(sink, method)

    def check(channels: Sequence[Channel]) -> None:
        if any(channel.node is NODES[0] for channel in channels):
            raise UnicodeError("a name")

    async def provision(channels: Sequence[Channel]) -> None:
        check(channels)

    def split(observations: Sequence[Observation]) -> Any:
        check([o.channel for o in observations])
        return real(observations)

    async def story(rig: Rig) -> None:
        setattr(sink, method, {"provision": provision, "split": split}[method])
        await rig.add(10)
        rig.start()
        await asyncio.sleep(HOUR_S)
        assert len(sink.held) == 5 * A_FRAME
        await rig.stop()

    play(tmp_path, sink, story)


@pytest.mark.parametrize("bad", [{"pm1"}, {"pm1", "pm10", "laeq"}, {"pm2_5", "temperature"}])
def test_a_quantity_that_cannot_be_provisioned_holds_up_no_other(
    tmp_path: Path, bad: set[str]
) -> None:
    sink = Pretended(idempotent=True)
    taken: list[set[str]] = [bad]
    asked: list[int] = []

    async def provision(channels: Sequence[Channel]) -> None:
        asked.append(len(channels))
        if any(channel.key in taken[0] for channel in channels):
            raise Refused("status 400: no such type")

    async def story(rig: Rig) -> None:
        sink.provision = provision  # type: ignore[method-assign]
        await rig.add(10)
        rig.start()
        await asyncio.sleep(24 * HOUR_S)
        assert len(set(sink.held)) == len(sink.held) == 10 * A_FRAME * (8 - len(bad)) // 8
        assert rig.count("rejected") == 0
        status = rig.forwarder.status()
        assert status.closed_addresses == {
            f"{node.name} {key}": "status 400: no such type" for node in NODES for key in bad
        }
        assert len(asked) < 50 + 24 * 6 * len(bad), "an hour apart"
        taken[0] = set()
        await asyncio.sleep(2 * HOUR_S)
        await rig.idle()
        assert not rig.forwarder.status().closed_addresses

    rig = play(tmp_path, sink, story)
    assert rig.count("delivered") == 10 * A_FRAME
    assert len(sink.held) == 10 * A_FRAME


def test_a_network_that_provisions_nothing_is_asked_seldom_and_named(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True)
    asked: list[int] = []

    async def provision(channels: Sequence[Channel]) -> None:
        asked.append(len(channels))
        raise Refused("status 400: no")

    async def story(rig: Rig) -> None:
        sink.provision = provision  # type: ignore[method-assign]
        await rig.add(10)
        rig.start()
        await asyncio.sleep(HOUR_S)
        status = rig.forwarder.status()
        assert (status.blocked_reason, status.closed_addresses) == ("status 400: no", {})
        assert len(asked) < 400
        await rig.stop()

    play(tmp_path, sink, story)


def test_old_readings_that_the_server_fails_on_cost_few_requests_while_new_ones_pass(
    tmp_path: Path,
) -> None:
    sink = Pretended(idempotent=True)
    old = 50

    async def story(rig: Rig) -> None:
        refusing(sink, lambda o: o.frame.id <= old, Failed("status 500"))
        await rig.add(old)
        rig.start()
        await asyncio.sleep(1)
        for number in range(360):
            rig.street.seq = 200 + number
            await rig.add(1)
            await asyncio.sleep(10)
        failed = sum(not keys for _, keys in sink.requests)
        assert failed < 200, "in an hour"
        assert len(set(sink.held)) == 360 * A_FRAME
        assert rig.count("rejected") == 0
        await rig.stop()

    play(tmp_path, sink, story)


def test_requests_shrink_until_they_are_answered_in_time_and_grow_again(tmp_path: Path) -> None:
    sink = Pretended(idempotent=True, largest_batch=1000)

    async def story(rig: Rig) -> None:
        accept = sink.send

        async def send(batch: Sequence[Observation]) -> Sequence[Outcome]:
            if len(batch) > 130:
                raise TimedOut("no answer within 30 s")
            return await accept(batch)

        sink.send = send  # type: ignore[method-assign]
        await rig.add(40)
        rig.start()
        await rig.idle()

    play(tmp_path, sink, story)
    assert len(set(sink.held)) == 40 * A_FRAME
    assert max(len(keys) for _, keys in sink.requests) > 100


def test_a_request_size_halves_and_doubles() -> None:
    size = RequestSize(1000)
    assert size.limit is None
    size.timed_out(1000)
    size.too_large(500)
    assert size.limit == 250
    for _ in range(100):
        size.timed_out(size.limit or 0)
    assert size.limit == 15, "silence may have other reasons"
    size.too_large(15)
    size.too_large(1)
    assert size.limit == 1
    for _ in range(200):
        size.succeeded(size.limit or 1000)
    assert size.limit is None


def test_an_answer_that_cannot_be_read_back_is_no_end(tmp_path: Path) -> None:
    sink = Pretended(reads_back=True)

    async def story(rig: Rig) -> None:
        real = sink.read_back

        async def read_back(batch: Sequence[Observation]) -> Sequence[bool] | None:
            if any(o.reading == 9 for o in batch):
                raise AttributeError("list has no get")
            return await real(batch)

        sink.read_back = read_back  # type: ignore[method-assign]
        sink.plan = ["lost"]
        await rig.add(2)
        rig.start()
        await rig.idle()

    rig = play(tmp_path, sink, story)
    assert rig.count("delivered") == 2 * A_FRAME
    twice = len(sink.held) - len(set(sink.held))
    assert 0 < twice == rig.count("possible_duplicate")


def test_status_says_when_many_readings_are_rejected() -> None:
    sink = {"name": "city", "rejected_share": 0.02, "rejected_reason": "status 422: too loud"}
    found = {
        "alarms": [], "running": True, "collector": {"accepting": True}, "transports": [],
        "nodes": [], "sinks": [sink],
    }  # fmt: skip
    assert worries(found) == ["city rejects 2% of the latest readings: status 422: too loud"]
    sink["rejected_share"] = 0.001
    assert not worries(found)


def test_a_bad_reading_holds_up_no_other_of_a_channel_that_has_fallen_silent(
    tmp_path: Path,
) -> None:
    """The channel was held as a whole; now only its newest reading is refused, and none comes."""
    sink = Pretended(idempotent=True)
    broken = True
    newest_ms: dict[str, int] = {}

    def bad(o: Observation) -> bool:
        if o.channel.key != "pm2_5":
            return False
        name = o.channel.node.name
        newest_ms[name] = max(newest_ms.get(name, 0), o.time_ms)
        return broken or o.time_ms == newest_ms[name]

    async def story(rig: Rig) -> None:
        refusing(sink, bad, Refused("status 400: no"))
        await rig.add(1)
        rig.start()
        await asyncio.sleep(2 * HOUR_S)
        assert len(set(sink.held)) == A_FRAME * 7 // 8
        nonlocal broken
        broken = False
        await asyncio.sleep(12 * HOUR_S)
        assert len(set(sink.held)) == A_FRAME - 1

    play(tmp_path, sink, story)
