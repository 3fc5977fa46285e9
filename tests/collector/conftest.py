"""Fixtures of the collector's room."""

from pathlib import Path

import pytest

from tests.collector.house import House, an_hour, make_house


@pytest.fixture
def bare_house(tmp_path: Path) -> House:
    """A configuration and two nodes; nothing received yet."""
    return make_house(tmp_path)


@pytest.fixture
def house(bare_house: House) -> House:
    """The same after an hour of readings."""
    bare_house.live(an_hour)
    return bare_house
