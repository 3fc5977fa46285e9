"""Every sink against the contract, at a size that a test run can afford."""

from pathlib import Path

import pytest

from collector.sinks import kinds
from tests.collector.sinks.contract import NETWORKS, try_out

FRAMES = 20


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kills", [0, 3], ids=["running", "killed"])
def test_every_reading_is_accepted_once_or_rejected(name: str, kills: int, tmp_path: Path) -> None:
    result = try_out(name, FRAMES, kills, tmp_path)
    assert result.readings == 1920


def test_every_kind_of_sink_is_in_the_suite() -> None:
    tried = {name.split(" ")[0] for name in NETWORKS}
    assert tried | {"postgres"} == set(kinds()), "postgres meets its real server instead"
