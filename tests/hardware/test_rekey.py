"""A board takes the next key that the collector made, by USB."""

import json
import secrets
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from collector.nodes import parse_record
from hardware import bench, boardfile, records
from hardware.bench import Plan
from hardware.faults import BenchError, Exit
from hardware.label import claim_code
from hardware.provision import broker_entry, verify
from hardware.records import Identity
from hardware.rekey import rekey
from hardware.session import session
from tests.hardware.conftest import MakeBoard


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(board=boardfile.load("classic"), records=tmp_path / "boards.jsonl")


def next_of(identity: Identity, uuid: str | None = None) -> Identity:
    return Identity(identity.node, uuid or identity.uuid, secrets.token_bytes(32), 0)


def test_the_board_keeps_all_but_its_key(plug_in: MakeBoard, plan: Plan) -> None:
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        identity = bench.give_identity(board.path, plan, "Carrer Gran 7")
        (board.folder / "flash/spool").mkdir(exist_ok=True)
        (board.folder / "flash/spool/kept").write_bytes(b"frames under the old key")
        wanted = next_of(identity)
        with session(board.path) as opened:
            rekey(opened, wanted)
            rekey(opened, wanted)
            verify(opened, wanted, "classic")
            with pytest.raises(BenchError, match="not authentic"):
                verify(opened, identity, "classic")
            boot = int(opened.run("print(identity.load(nvs).boot)"))
            read = "kept = bytearray(8)\nnvs.get_blob('switch', kept)\nprint(kept.hex())"
            switch = opened.run(read).strip()
        flash = board.folder / "flash"
        assert boot >= identity.boot
        assert switch == struct.pack("<II", identity.boot, 0xFFFFFFFF).hex()
        assert (flash / "spool/kept").read_bytes() == b"frames under the old key"
        assert json.loads((flash / "provision.json").read_text()) == broker_entry(wanted)
        assert wanted.key.hex() not in (board.folder / "console.log").read_text()


def test_a_record_for_another_node_changes_nothing(plug_in: MakeBoard, plan: Plan) -> None:
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        identity = bench.give_identity(board.path, plan, "Carrer Gran 7")
        other = Identity(identity.node ^ 1, identity.uuid, bytes(32), 0)
        with session(board.path) as opened:
            with pytest.raises(BenchError, match=f"the record is for node {other.address}"):
                rekey(opened, other)
            with pytest.raises(BenchError, match="another UUID"):
                rekey(opened, next_of(identity, "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"))
            verify(opened, identity, "classic")


@pytest.mark.parametrize("after_bytes", [150, 900, 1_600, 2_400])
def test_after_a_pulled_cable_the_same_record_finishes_it(
    plug_in: MakeBoard, plan: Plan, after_bytes: int
) -> None:
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        identity = bench.give_identity(board.path, plan, "Carrer Gran 7")
        wanted = next_of(identity)
        board.unplug_after(after_bytes)
        with pytest.raises(BenchError) as failure, session(board.path) as opened:
            rekey(opened, wanted)
        assert failure.value.advice.code in (Exit.INTERRUPTED, Exit.BOARD_SILENT, Exit.NO_PORT)
    with plug_in(board=plan.board.board_json()) as board, session(board.path) as opened:
        rekey(opened, wanted)


def test_the_command_takes_the_collectors_record_and_writes_a_new_label(
    plug_in: MakeBoard, plan: Plan, tmp_path: Path
) -> None:
    bench_file = tmp_path / "bench.toml"
    bench_file.write_text('join_address = "https://example.org/join"\n')
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        identity = bench.give_identity(board.path, plan, "Carrer Gran 7")
        wanted = next_of(identity)
        record = tmp_path / "next.jsonl"
        entry = {"node": wanted.address, "uuid": wanted.uuid, "name": "Carrer Gran 7"}
        assert parse_record(entry).node == wanted.node
        record.write_text(json.dumps({**entry, "key": wanted.key.hex()}) + "\n")
        done = subprocess.run(
            [sys.executable, "-m", "hardware.cli", "rekey", str(record), "--port", board.path,
             "--bench", str(bench_file)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert wanted.key.hex() not in done.stdout + done.stderr
    kept = records.newest(plan.records, wanted.address)
    assert kept is not None
    assert kept["key"] == wanted.key.hex()
    assert kept["board"] == "classic"
    label = (tmp_path / "sheets" / f"{wanted.address}.label.pdf").read_text("latin-1")
    assert "-".join(claim_code(wanted.key).split("-")[:3]) in label
