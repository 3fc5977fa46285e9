"""The demonstration starts everything, ends by itself, and its ledger adds up."""

import io
import sqlite3
from pathlib import Path

from rich.console import Console

from simulator.demo.ledger import Account, BoardAccount, flash_frames, take_account
from simulator.demo.run import DemoOptions, demonstrate


async def test_the_ledger_of_a_short_demonstration_adds_up(tmp_path: Path) -> None:
    said = io.StringIO()
    options = DemoOptions(seconds=6, keep=tmp_path / "demo")
    account = await demonstrate(options, Console(file=said, width=100))
    assert account.adds_up, said.getvalue()
    assert "It adds up." in said.getvalue()
    assert {board.name for board in account.boards.values()} == {
        "Main street",
        "School lane",
        "Cargo bike",
    }
    assert all(board.readings_stored >= 10 for board in account.boards.values())
    archive = sqlite3.connect(tmp_path / "demo" / "collector" / "data" / "archive.db")
    stored = archive.execute("SELECT count(*) FROM frame").fetchone()[0]
    archive.close()
    assert stored == sum(len(board.stored) for board in account.boards.values())
    for name in ("street", "classic", "mobile"):
        assert flash_frames(tmp_path / "demo" / "boards" / name / "flash")


def board(readings: int = 10, delivered: int = 10) -> BoardAccount:
    account = BoardAccount("one", {(1, 1), (1, 2)}, {(1, 1), (1, 2)})
    account.readings_produced = account.readings_stored = readings
    account.settled["delivered"] = delivered
    return account


def test_an_account_that_lacks_anything_does_not_add_up(tmp_path: Path) -> None:
    assert Account({1: board()}, held=10).adds_up
    assert not Account({1: board()}, held=9).adds_up
    assert not Account({1: board()}, held=10, doubled=1).adds_up
    assert not Account({1: board(delivered=9)}, held=9).adds_up
    lost = board()
    lost.stored.remove((1, 2))
    assert not Account({1: lost}, held=10).adds_up
    assert not Account({}).adds_up
    issued = {7: {(1, 1)}}
    nothing = take_account(tmp_path / "none.db", "network", {7: ("x", tmp_path)}, issued)
    assert not nothing.adds_up
