"""Every sink against the contract with 4,800 readings; `make contract-sinks` takes 100,000."""

from pathlib import Path

import pytest

from tests.collector.sinks.contract import NETWORKS, READINGS_A_FRAME, try_out

pytestmark = pytest.mark.integration
FRAMES = 50


@pytest.mark.parametrize("name", NETWORKS)
def test_readings_through_failing_servers(name: str, tmp_path: Path) -> None:
    assert try_out(name, FRAMES, 1, tmp_path).readings == FRAMES * READINGS_A_FRAME
