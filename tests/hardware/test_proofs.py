"""The page of boards that have run on silicon, from proof files."""

import json
from pathlib import Path

import pytest

from hardware import bench, boardfile, proofs
from hardware.bench import Plan
from hardware.prove import prove
from tests.hardware.conftest import MakeBoard

SILICON = {
    "board": "street",
    "machine": "Generic ESP32 module with ESP32",
    "micropython": {"version": "1.28.0", "platform": "esp32", "architecture": "xtensawin"},
    "heap": {"free": 41_000, "idf_free": 110_000, "idf_free_with_wifi": 64_000},
    "flash_us": {"mean": 9000, "longest": 61_000},
    "serial": {"frames": 10_000, "arrived_whole": 9_998, "frames_per_s": 210.0},
    "meter_block": {"failed": "no microphone answers"},
    "clock_ppm": 11.5,
    "power_cut": "passed",
}


def test_a_proof_from_the_vm_is_no_silicon(plug_in: MakeBoard, tmp_path: Path) -> None:
    plan = Plan(board=boardfile.load("classic"), records=tmp_path / "boards.jsonl")
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        measured = prove(board.path, 0.01, frames=100)
    (tmp_path / "vm.json").write_text(json.dumps(measured))
    (proof,) = proofs.read(tmp_path)
    assert not proof.on_silicon
    page = proofs.page([proof])
    assert "None yet." in page
    assert "vm.json" not in page


def test_a_proof_from_a_chip_becomes_a_row(tmp_path: Path) -> None:
    (tmp_path / "street.json").write_text(json.dumps(SILICON))
    page = proofs.page(proofs.read(tmp_path))
    assert "1: street." in page
    assert "None yet" not in page
    (row,) = [line for line in page.splitlines() if "street.json" in line]
    assert "| failed |" in row
    assert "| 9998 of 10000 |" in row
    assert "64000 B" in row


def test_what_strangers_write_cannot_leave_its_cell(tmp_path: Path) -> None:
    hostile = SILICON | {"board": "x | y](http://z) <script>", "machine": ["list"], "serial": 7}
    (tmp_path / "bad.json").write_text(json.dumps(hostile))
    page = proofs.page(proofs.read(tmp_path))
    (row,) = [line for line in page.splitlines() if "bad.json" in line]
    assert row.count("|") == len(proofs.HEAD) + 1
    assert "<script>" not in page


@pytest.mark.parametrize("text", ["[]", "{", '{"board": "street"}', " " * 70_000])
def test_a_file_that_is_no_proof_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(proofs.ProofError, match=r"^bad\.json: "):
        proofs.read(tmp_path)
