"""mpremote's transport over a pty to the real MicroPython VM: install, provision, wipe."""

import json
import random
import stat
from pathlib import Path

import pytest

from collector.nodes import NodeError, parse_new_record
from hardware import care
from hardware.faults import BenchError, Exit
from hardware.install import install
from hardware.payload import Payload
from hardware.provision import (
    broker_entry,
    check_name,
    new_identity,
    provision,
    provisioned_as,
    verify,
)
from hardware.records import Identity, known
from hardware.session import check_version, session
from tests.hardware.conftest import BARE, MakeBoard

UUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
FILES = {f"firmware/part{n}.mpy": random.Random(n).randbytes(3000) for n in range(12)}
SMALL = Payload("x64", FILES, {"main.py": b"while True:\n    pass\n"})


def test_running_code_is_interrupted_and_the_board_starts_anew(plug_in: MakeBoard) -> None:
    with plug_in() as board:
        with session(board.path) as opened:
            install(opened, SMALL, BARE)
            opened.soft_reset()
            assert opened.value("1 + 1") == 2
        with session(board.path, run_main=True) as opened:
            assert opened.run("import machine\nprint(len(machine.unique_id()))").strip() == "6"


def test_files_arrive_whole_whatever_their_bytes(plug_in: MakeBoard) -> None:
    content = bytes(range(256)) * 9 + b"\x03\x04\x00>OK\r\n"
    with plug_in() as board, session(board.path) as opened:
        opened.put("deep/in/a/folder.bin", content)
        assert (board.folder / "flash/deep/in/a/folder.bin").read_bytes() == content
        assert opened.files("deep") == ["deep/in/a/folder.bin"]


def test_a_second_install_carries_nothing(plug_in: MakeBoard) -> None:
    with plug_in() as board, session(board.path) as opened:
        first = install(opened, SMALL, BARE)
        assert not first.in_place
        assert first.carried_bytes >= sum(map(len, FILES.values()))
        assert install(opened, SMALL, BARE).carried_bytes == 0


def test_strangers_in_the_slot_are_removed(plug_in: MakeBoard) -> None:
    with plug_in() as board, session(board.path) as opened:
        opened.put("a/firmware/old.mpy", b"old")
        install(opened, SMALL, BARE)
        assert not [path for path in opened.files("a") if path.endswith("old.mpy")]


@pytest.mark.parametrize("after_bytes", [3_000, 40_000, 80_000])
def test_after_a_pulled_cable_the_same_command_goes_on(
    plug_in: MakeBoard, after_bytes: int
) -> None:
    with plug_in() as board:
        board.unplug_after(after_bytes)
        with pytest.raises(BenchError) as failure, session(board.path) as opened:
            install(opened, SMALL, BARE)
        assert failure.value.advice.code in (Exit.INTERRUPTED, Exit.BOARD_SILENT)
    with plug_in() as board, session(board.path) as opened:
        carried = install(opened, SMALL, BARE).carried_bytes
        assert install(opened, SMALL, BARE).carried_bytes == 0
    assert carried <= sum(map(len, FILES.values())) + 200
    for name, content in FILES.items():
        assert (board.folder / "flash/a" / name).read_bytes() == content


def test_a_full_flash_is_told_in_plain_words(plug_in: MakeBoard) -> None:
    with plug_in() as board, session(board.path) as opened:
        with pytest.raises(BenchError, match="osn-board wipe"):
            opened.run("raise OSError(28)")
        assert opened.value("2") == 2


def test_a_micropython_for_another_chip_is_refused(plug_in: MakeBoard) -> None:
    with plug_in() as board, session(board.path) as opened:
        with pytest.raises(BenchError) as failure:
            check_version(opened, "xtensawin")
        assert failure.value.advice.code is Exit.WRONG_CHIP
        assert check_version(opened, "x64")["architecture"] == "x64"


def test_a_silent_port_is_named_so(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as failure, session(str(tmp_path / "ttyUSB9")):
        pass
    assert failure.value.advice.code is Exit.NO_PORT


@pytest.fixture(scope="module")
def firmware() -> Payload:
    from hardware.payload import payload

    return payload("x64", ())


def test_provisioning_gives_an_identity_and_proves_it(
    plug_in: MakeBoard, tmp_path: Path, firmware: Payload
) -> None:
    records = tmp_path / "boards.jsonl"
    with plug_in() as board, session(board.path) as opened:
        install(opened, firmware, BARE)
        assert provisioned_as(opened) is None
        identity = provision(
            opened, records_path=records, name="Street 1", board="bare", settings={"window": 4}
        )
        assert provisioned_as(opened) == identity.address
        with pytest.raises(BenchError) as failure:
            provision(opened, records_path=records, name="x", board="bare", settings={})
        assert failure.value.advice.code is Exit.ALREADY_PROVISIONED
        another = Identity(identity.node, identity.uuid, bytes(32), identity.boot)
        with pytest.raises(BenchError, match="not authentic"):
            verify(opened, another, "bare")
        (entry,) = known(records)
        assert entry["key"] == identity.key.hex()
        assert stat.S_IMODE(records.stat().st_mode) == 0o600
        flash = board.folder / "flash"
        given = json.loads((flash / "provision.json").read_text())
        assert given == {"window": 4} | broker_entry(identity)
        assert identity.key.hex() not in (board.folder / "console.log").read_text()
        assert care.wipe(opened) >= 1
        assert provisioned_as(opened) is None


def test_an_address_is_never_used_twice() -> None:
    draws = iter([b"\1\0\0\0", b"\0\0\0\0", b"\2\0\0\0", bytes(16), bytes(32)])
    identity = new_identity({"00000001"}, lambda count: next(draws))
    assert identity.address == "00000002"


def test_a_damaged_record_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "boards.jsonl"
    path.write_text('{"node": "00000001"}\n{"node": \n')
    with pytest.raises(BenchError, match="line 2 is damaged"):
        list(known(path))


@pytest.mark.parametrize(
    "name",
    ["Plaça 😀 7", "Κήπος", "x" * 80, "", "x" * 81, "a\nb", "a\u202eb", "=1+1", "-x"],
)
def test_a_site_has_a_name_that_the_collector_takes(name: str) -> None:
    record = {"node": "a1b2c3d4", "uuid": UUID, "name": name}
    try:
        parse_new_record(record)
    except NodeError:
        with pytest.raises(BenchError, match="no name for a site"):
            check_name(name)
    else:
        check_name(name)
