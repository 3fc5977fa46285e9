"""Virtual time: exact, instant, and never stuck silently."""

import asyncio
import time

import pytest

from simulator.virtual_loop import Stalled, VirtualClock, VirtualLoop, run


def test_a_week_passes_at_once() -> None:
    async def week(loop: VirtualLoop) -> int:
        await asyncio.sleep(7 * 86_400)
        return loop.now_ms

    started = time.perf_counter()
    assert run(week) == 604_800_000
    assert time.perf_counter() - started < 5


def test_timers_fire_in_order_and_on_their_millisecond() -> None:
    async def main(loop: VirtualLoop) -> list[int]:
        seen: list[int] = []
        for when_ms in (86_400_001, 7, 1_000, 86_400_000):
            loop.call_at_ms(when_ms, lambda: seen.append(loop.now_ms))
        await asyncio.sleep(90_000)
        return seen

    assert run(main) == [7, 1_000, 86_400_000, 86_400_001]


def test_waiting_for_what_cannot_happen_is_an_error() -> None:
    async def forever(loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(Stalled):
        run(forever)


def test_executor_work_happens_in_the_loop_and_keeps_its_exception() -> None:
    async def main(loop: VirtualLoop) -> int:
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        return await loop.run_in_executor(None, lambda: 41 + 1)

    assert run(main) == 42


def test_the_clock_can_be_stepped_and_drift_while_monotonic_time_does_not() -> None:
    async def main(loop: VirtualLoop) -> None:
        clock = VirtualClock(loop, 1_700_000_000_000)
        await asyncio.sleep(1_000)
        assert clock.unix_ms() == 1_700_001_000_000
        clock.step_ms = -5_000
        clock.drift_ppm = 40
        assert clock.unix_ms() == 1_700_001_000_000 - 5_000 + 40
        assert clock.monotonic_ms() == 1_000_000
        assert clock.true_unix_ms() == 1_700_001_000_000

    run(main)


def test_calls_of_one_moment_happen_in_the_order_in_which_they_were_scheduled() -> None:
    async def main(loop: VirtualLoop) -> list[int]:
        seen: list[int] = []
        for number in range(50):
            if number % 2:
                loop.call_at_ms(500, seen.append, number)
            else:
                loop.call_later(0.5, seen.append, number)
        await asyncio.sleep(1)
        return seen

    assert run(main) == list(range(50))


def test_what_a_timer_raises_ends_the_run() -> None:
    def broken() -> None:
        raise ValueError("a fault of the network model")

    async def main(loop: VirtualLoop) -> None:
        loop.call_at_ms(10, broken)
        await asyncio.sleep(60)

    with pytest.raises(ValueError, match="network model"):
        run(main)


def test_a_cancelled_timer_does_not_fire_and_does_not_stay() -> None:
    async def main(loop: VirtualLoop) -> int:
        for number in range(10_000):
            loop.call_at_ms(1_000_000 + number, pytest.fail, "was cancelled").cancel()
        await asyncio.sleep(2_000)
        return len(loop._timers)

    assert run(main) < 200
