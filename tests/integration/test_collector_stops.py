"""A few of the stops that `python -m tests.integration.stops 300` makes."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.stops import BLIND, READS_BACK, stopped_again_and_again


@pytest.mark.parametrize("seed", [9])
@pytest.mark.parametrize("traits", [BLIND, READS_BACK], ids=["blind", "reads back"])
async def test_stops_and_kills_against_a_slow_network(
    tmp_path: Path, traits: dict[str, Any], seed: int
) -> None:
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/bin") is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    result = await stopped_again_and_again(tmp_path, 4, seed, traits, slowest_s=3.0, stop_s=0.3)
    if traits == BLIND:
        assert result.twice <= result.possible == result.unanswered
    else:
        assert (result.twice, result.possible) == (0, 0)
