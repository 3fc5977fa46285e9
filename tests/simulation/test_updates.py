"""A firmware's way to fifty boards: bad builds stop at the first, a good one reaches all."""

from random import Random
from typing import Any

import pytest

from simulator.scenario import find, load
from simulator.simulation import RunOptions, simulate
from simulator.updates import FAULTS, NEW, OLD, UpdateError, build


def roll_out(name: str, nodes: int, seed: int = 3) -> dict[str, Any]:
    """A scenario's roll-out; nothing may be unaccounted for."""
    verdict, report = simulate(load(find(name), Random(seed)), RunOptions(seed, nodes=nodes))
    assert report["findings"] == []
    assert verdict.unaccounted == 0
    assert verdict.frames_stored == verdict.frames_durable
    (outcome,) = report["updates"]
    return dict(outcome)


@pytest.mark.parametrize(
    ("name", "nodes"), [("bad_update_start", 50), ("bad_update", 10), ("bad_update_resets", 10)]
)
def test_a_bad_build_is_stopped_at_the_first_board_which_goes_back_by_itself(
    name: str, nodes: int
) -> None:
    outcome = roll_out(name, nodes)
    assert outcome["stage"] == 0
    assert outcome["states"] == {"failed": 1, "waiting": nodes - 1}
    assert outcome["runs"] == {OLD: nodes}
    assert outcome["stopped"].endswith(f"tried it and went back to {OLD}")


def test_a_good_build_reaches_all_over_a_bad_line_and_a_restart_of_the_collector() -> None:
    outcome = roll_out("good_update", 12)
    assert outcome["restarts"] == 1
    assert outcome["states"] == {"good": 12}
    assert outcome["runs"] == {NEW: 12}


def test_the_oracle_notices_a_bad_build_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAULTS, "resets", "")
    _, report = simulate(load(find("bad_update_resets"), Random(3)), RunOptions(3, nodes=3))
    assert any("after a bad build boards run" in finding for finding in report["findings"])


def test_a_build_that_is_not_known_is_named() -> None:
    with pytest.raises(UpdateError, match="there are good, does_not_boot"):
        build("splendid")
