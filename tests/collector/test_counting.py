"""One rule for how many readings a frame is on the ledger with, whoever counts them."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from collector import housekeeping
from collector.archive import archive
from collector.archive.archive import CONFLICT, OK, UNDECODED, StoredFrame
from collector.forward.selection import Policy
from collector.housekeeping import Keep
from collector.operate.accounts import NodeAccount, accounts
from collector.readings.counting import readings_of
from collector.sinks.base import NotSent
from collector.storage.archive_view import ArchiveView
from protocol import wire
from protocol.compose import compose, compose_log
from simulator.upstream.street import BOOT
from tests.collector.test_forwarder import A_FRAME, NODES, Pretended, Rig, play

NODE = NODES[0].link


def odd_frames(ordinary: StoredFrame) -> list[StoredFrame]:
    """A frame that no decoder reads, evidence of a conflict, and one without readings."""
    torn = compose(wire.T_DATA, NODE, BOOT, 900, [(wire.S_SAMPLES, b"\xff\xff")], None)
    log = compose_log(None, NODE, BOOT, 902, "hello")
    return [
        ordinary._replace(seq=900, state=UNDECODED, raw=torn),
        ordinary._replace(state=CONFLICT),
        ordinary._replace(seq=902, type=wire.T_LOG, state=OK, raw=log),
    ]


async def fill(rig: Rig) -> None:
    """Three ordinary frames, two of them of the first node, and its odd ones."""
    rows = rig.street.frames(3)
    rows += odd_frames(rows[0])
    await rig.writer.write(lambda connection: archive.append_many(connection, rows))
    rig.forwarder.wake()


def ledger(rig: Rig) -> NodeAccount:
    with closing(archive.open_reader(rig.path)) as connection:
        (account,) = accounts(ArchiveView(connection), ["pretended"], [NODE])
    return account


def test_readings_of_a_frame(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        (ordinary,) = rig.street.frames(1)
        found = [readings_of(frame) for frame in (ordinary, *odd_frames(ordinary))]
        assert found == [A_FRAME, 1, 0, 0]

    play(tmp_path, Pretended(), story)


@pytest.mark.parametrize("sent_before", [0, 50])
@pytest.mark.parametrize("policy", [{"backlog_age_s": 1.0}, {"backlog_frames": 1}])
def test_what_expires_is_what_was_stored(
    tmp_path: Path, sent_before: int, policy: dict[str, float]
) -> None:
    async def story(rig: Rig) -> None:
        rig.sink.plan = [None] * (1 if sent_before else 0) + [NotSent("away", 1e6)] * 100
        await fill(rig)
        rig.start()
        await asyncio.sleep(200)
        await rig.stop()

    sink = Pretended(idempotent=True, largest_batch=50)
    rig = play(tmp_path, sink, story, policy=Policy(**policy))  # type: ignore[arg-type]
    account = ledger(rig)
    books = account.sinks["pretended"]
    assert account.readings == 2 * A_FRAME + 1
    assert books.expired + books.delivered + books.to_send == account.readings
    assert (books.unaccounted, books.surplus) == (0, 0)
    assert books.expired
    if "backlog_age_s" in policy:
        assert books.to_send == 0


@pytest.mark.parametrize("drop_undelivered", [False, True])
@pytest.mark.parametrize("replayed", [False, True])
def test_books_balance_after_replays_and_after_retention(
    tmp_path: Path, drop_undelivered: bool, replayed: bool
) -> None:
    async def story(rig: Rig) -> None:
        await fill(rig)
        rig.start()
        await rig.idle(frames_open=2)
        assert (ledger(rig).sinks["pretended"].delivered, len(rig.sink.held)) == (192, 288)
        if replayed:
            await rig.forwarder.replay(1, 2)
            await rig.idle(frames_open=2)
        assert ledger(rig).sinks["pretended"].delivered == 192 + 96 * replayed
        check(rig)
        keep = Keep(days=1, drop_undelivered=drop_undelivered, sinks=("pretended",))
        step = await rig.writer.read(lambda c: housekeeping.look_ahead(c, 4, keep))
        removed = await rig.writer.write(lambda c: housekeeping.remove(c, step, keep))
        assert removed.frames == (4 if drop_undelivered else 3)
        await rig.stop()

    rig = play(tmp_path, Pretended(idempotent=True), story)
    assert ledger(rig).readings == 1 - drop_undelivered
    check(rig)


def check(rig: Rig) -> None:
    books = ledger(rig).sinks["pretended"]
    assert (books.unaccounted, books.surplus) == (0, 0)
