"""Commands and settings on their way to a board that may sleep, and its answers."""

import asyncio

import pytest

from collector.app import Collector
from collector.boards.orders import Order, OrderError
from protocol import wire
from protocol.compose import compose_live, compose_result
from protocol.decoder import Frame, decode, open_frame
from protocol.mac import derive
from tests.collector.house import BOOT, KEYS, MOBILE, STREET, House, Script

UP, DOWN = derive(KEYS[STREET], b"up"), derive(KEYS[STREET], b"dn")


class Bench:
    """One board under the test's hand, and what the collector sends it."""

    def __init__(self, transport: Script, collector: Collector) -> None:
        self.transport = transport
        self.collector = collector
        self._live = 0
        self._seq = 0

    def live(self) -> None:
        self._live += 1
        live = compose_live(UP, STREET, BOOT, self._live, self._live * 60_000, [(BOOT, 1, 0)])
        self.transport.receive(STREET, live)

    async def answer(self, order: Order, status: int, data: bytes = b"") -> None:
        self._seq += 1
        raw = compose_result(
            UP, STREET, BOOT, self._seq, order.type, order.id, order.code, status, data
        )
        self.transport.receive(STREET, raw)
        await asyncio.sleep(2)

    def sent(self, type: int) -> list[Frame]:
        frames = []
        for _, raw in self.transport.sent:
            open_frame(raw, DOWN)
            if (frame := decode(raw)).type == type:
                frames.append(frame)
        return frames


def test_a_command_waits_for_the_board_and_is_repeated_until_it_answers(bare_house: House) -> None:
    async def play(transport: Script, collector: Collector) -> None:
        bench = Bench(transport, collector)
        order = collector.orders.command(STREET, "identify")
        await asyncio.sleep(1)
        assert bench.sent(wire.T_COMMAND) == []
        assert order.state == "waiting"
        for _ in range(3):
            bench.live()
            await asyncio.sleep(1)
        sent = bench.sent(wire.T_COMMAND)
        assert len(sent) == 3
        assert {frame.command.id for frame in sent} == {order.id}  # type: ignore[union-attr]
        assert len({frame.seq for frame in sent}) == 3, "each has a number of its own"
        await bench.answer(order, wire.R_DONE, b"blinking")
        assert (order.state, order.answer) == ("done", "done: blinking")
        bench.live()
        await asyncio.sleep(1)
        assert len(bench.sent(wire.T_COMMAND)) == 3

    bare_house.live(play)


def test_a_stale_command_goes_out_again_under_another_id(bare_house: House) -> None:
    async def play(transport: Script, collector: Collector) -> None:
        bench = Bench(transport, collector)
        bench.live()
        await asyncio.sleep(1)
        order = collector.orders.command(STREET, "drop-spool")
        await asyncio.sleep(1)
        (first,) = bench.sent(wire.T_COMMAND)
        assert first.command is not None
        assert first.command.arguments == (1).to_bytes(4, "little")
        await bench.answer(order, wire.R_STALE)
        assert not order.over
        bench.live()
        await asyncio.sleep(1)
        second = bench.sent(wire.T_COMMAND)[-1].command
        assert second is not None
        assert second.id != first.command.id
        assert second.arguments == (2).to_bytes(4, "little")
        await bench.answer(order, wire.R_DONE, b"12")
        assert order.answer == "done: 12"

    bare_house.live(play)


def test_settings_are_sent_and_a_wrong_one_is_named(bare_house: House) -> None:
    async def play(transport: Script, collector: Collector) -> None:
        bench = Bench(transport, collector)
        bench.live()
        await asyncio.sleep(1)
        order = collector.orders.configure(STREET, [(2, 60), (33, "broker.example")])
        await asyncio.sleep(1)
        (frame,) = bench.sent(wire.T_CONFIG)
        assert frame.config is not None
        await bench.answer(order, wire.R_PENDING)
        assert not order.over, "the board tries network settings before it says more"
        await bench.answer(order, wire.R_INVALID, b"setting 33: text of at most 64 bytes")
        assert (order.state, order.answer) == (
            "failed",
            "invalid: setting 33: text of at most 64 bytes",
        )
        with pytest.raises(OrderError):
            collector.orders.configure(STREET, [(33, "x" * 300)])
        with pytest.raises(OrderError, match="no settings"):
            collector.orders.configure(STREET, [])

    bare_house.live(play)


def test_what_cannot_be_ordered_is_refused(bare_house: House) -> None:
    async def play(transport: Script, collector: Collector) -> None:
        orders = collector.orders
        with pytest.raises(OrderError, match="known are"):
            orders.command(STREET, "explode")
        with pytest.raises(OrderError, match="no key"):
            orders.command(0xDEAD, "hello")
        with pytest.raises(OrderError, match="resend takes"):
            orders.command(STREET, "resend")
        for _ in range(16):
            orders.command(MOBILE, "hello")
        with pytest.raises(OrderError, match="16 orders wait"):
            orders.command(MOBILE, "hello")

    bare_house.live(play)


def test_an_order_expires_after_a_day(bare_house: House) -> None:
    async def play(transport: Script, collector: Collector) -> None:
        bench = Bench(transport, collector)
        order = collector.orders.command(STREET, "reboot")
        await asyncio.sleep(86_401)
        bench.live()
        await asyncio.sleep(1)
        assert order.state == "expired"
        assert bench.sent(wire.T_COMMAND) == []

    bare_house.live(play)
