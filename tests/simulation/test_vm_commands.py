"""Every COMMAND, from the collector's orders to a board on the MicroPython VM and back."""

import asyncio
from pathlib import Path

import pytest

from tests.simulation.test_vm_update import NODE, Field, in_field, newer, slot

__all__ = ["newer", "slot"]  # fixtures

pytestmark = pytest.mark.usefixtures("vm")


async def answer(field: Field, name: str, *numbers: int) -> str:
    """What the operator is told, within two minutes of the board's time."""
    assert field.host.collector is not None
    order = field.host.collector.orders.command(NODE, name, numbers)
    for _ in range(120):
        await asyncio.sleep(1)
        if order.over:
            return f"{order.state}: {order.answer}"
    raise AssertionError(f"{name} was not answered: {order.state}")


def test_each_command_is_done_and_answered(tmp_path: Path, slot: dict[str, bytes]) -> None:
    async def act(field: Field) -> None:
        await asyncio.sleep(150)
        boot = next(iter(field.host.storage.ledger.nodes[NODE].boots))
        assert await answer(field, "identify") == "done: done"
        tested = await answer(field, "self-test")
        assert tested.startswith("done: done: flash+ heap=")
        assert tested.endswith("sensors=+")
        assert await answer(field, "hello") == "done: done"
        assert await answer(field, "resend", boot, 1, 1) == "done: done"
        assert await answer(field, "other-slot") == "failed: failed: the other slot is empty"
        assert await answer(field, "reboot") == "done: done"
        await asyncio.sleep(30)
        assert field.node.starts == 2
        assert await answer(field, "safe-mode") == "done: done"
        await asyncio.sleep(30)
        assert field.node.starts == 3
        tested = await answer(field, "self-test")
        assert tested.endswith("sensors=")  # none is loaded in safe mode
        assert (await answer(field, "drop-spool")).startswith("done: done: ")

    in_field(tmp_path, slot, act)


def test_other_slot_runs_the_build_that_was_there_before(
    tmp_path: Path, slot: dict[str, bytes], newer: dict[str, bytes]
) -> None:
    async def act(field: Field) -> None:
        for name, content in newer.items():
            target = field.flash / "b" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        await asyncio.sleep(10)
        assert await answer(field, "other-slot") == "done: done"
        await asyncio.sleep(30)
        assert field.record[:2] == b"b\0"
        assert field.runs() == "9.9.9"

    in_field(tmp_path, slot, act)
