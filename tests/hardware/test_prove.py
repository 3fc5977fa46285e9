"""What `osn-board prove` measures, on a simulated board: the form, not the figures."""

import json
from pathlib import Path

from hardware import bench, boardfile
from hardware.bench import Plan
from hardware.prove import prove
from tests.hardware.conftest import MakeBoard


def test_it_measures_every_part_and_names_nobody(plug_in: MakeBoard, tmp_path: Path) -> None:
    plan = Plan(board=boardfile.load("noise"), records=tmp_path / "boards.jsonl")
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        identity = bench.give_identity(board.path, plan, "Carrer Gran 7")
        found = prove(board.path, 0.02, frames=300)
    assert found["board"] == "noise"
    assert found["serial"]["arrived_whole"] == 300
    assert found["meter_block"]["us"] >= 0
    assert found["flash_us"]["longest"] >= found["flash_us"]["mean"] > 0
    assert found["power_cut"] == "passed"
    assert abs(found["clock_ppm"]) < 50_000
    text = json.dumps(found)
    for secret in (identity.key.hex(), identity.address, identity.uuid, "Carrer"):
        assert secret not in text
