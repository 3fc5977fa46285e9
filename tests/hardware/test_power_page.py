"""docs/power.md says what the computation says, from the one table of currents."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import power as computed
from firmware.power import AWAKE_MA, LINK_MA, SLEEP_UA
from hardware import boardfile
from hardware.boardfile import Power

PAGE = Path(__file__).resolve().parents[2] / "docs" / "power.md"


def test_the_table_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    computed.main()
    printed = capsys.readouterr().out.splitlines()
    shown = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert shown == printed, "run python -m benchmarks.power and put its table into docs/power.md"


def test_the_page_names_the_currents_and_rows_that_it_was_computed_with() -> None:
    words = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"awake {AWAKE_MA} mA, with radio {LINK_MA} mA, asleep {SLEEP_UA / 1000:g} mA" in words
    assert f"reports of {computed.ROWS} rows, {computed.ON_LINE_S:g} s on line" in words


def test_a_board_file_that_says_what_the_board_draws_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    estimated, sensors = computed.currents_ma("indoor", 600)
    measured = Power(AWAKE_MA, LINK_MA, SLEEP_UA + 5000)
    board = replace(boardfile.load("indoor"), power=measured)
    assert board.board_json()["power"] == {
        "awake_ma": AWAKE_MA, "link_ma": LINK_MA, "sleep_ua": SLEEP_UA + 5000
    }  # fmt: skip
    monkeypatch.setattr(boardfile, "load", lambda name: board)
    given, same = computed.currents_ma("indoor", 600)
    assert same == sensors
    assert estimated + 4.5 < given < estimated + 5
