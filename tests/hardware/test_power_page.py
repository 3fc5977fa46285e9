"""docs/power.md says what the computation says, from the one table of currents."""

from pathlib import Path

import pytest

from benchmarks import power as computed
from firmware.power import AWAKE_MA, LINK_MA, SLEEP_UA

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
