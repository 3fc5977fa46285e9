"""Limits that a board has to keep: size of the code, and two weeks without a network."""

from pathlib import Path

from benchmarks.street import street_sensors
from firmware.node import Node
from firmware.settings import Settings
from hardware import boardfile
from hardware.cross import files_for, sizes
from simulator.faults.filesystem import MemoryFiles
from tests.firmware import boards

MPY_BYTES_MAX = 120_000
DAYS = 2


def test_every_file_compiles_and_every_board_fits(tmp_path: Path) -> None:
    """For the larger architecture; `make cross` does the other one too."""
    compiled = sizes(tmp_path, "xtensawin")
    for name in boardfile.names():
        drivers = [placed.driver for placed in boardfile.load(name).sensors]
        assert sum(compiled[path] for path in files_for(drivers)) <= MPY_BYTES_MAX, name


def test_fourteen_days_of_a_street_node_fit_in_flash() -> None:
    """Two days are run; a day's bytes do not depend on how many came before."""
    hal = boards.MemoryHal(MemoryFiles(capacity_blocks=512))
    hal.transport.accepts = False
    boards.provision(hal.nvs)
    node = Node(hal, {"board": "street"}, Settings(), sensors=street_sensors())  # type: ignore[arg-type]
    node.start()
    for minute in range(1, DAYS * 1440 + 1):
        hal.now_ms = minute * 60_000
        node.step()
        node.step()
    node.outbox.sync()
    stored = sum(len(data) for path, data in hal.files.content.items() if "spool/" in path)
    assert node.sampler is not None
    assert (node.sampler.rows, node.sampler.missed) == (DAYS * 1440, 0)
    assert stored * 14 // DAYS < 1_500_000
    assert node.outbox.spool.appends <= DAYS * 1440
