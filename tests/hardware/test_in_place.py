"""Code in place: the technician's tool, and boot.py on the VM, with a partition that is mapped."""

import io
from pathlib import Path

import pytest

from firmware import slices as board_slices
from hardware import bench, boardfile, romfs, slices
from hardware.bench import Plan
from hardware.bundle import ENTRY
from hardware.commands import common
from hardware.faults import BenchError
from hardware.install import Installed, install
from hardware.payload import Payload
from hardware.session import session
from simulator.faults.filesystem import MemoryFiles
from simulator.pty_board import PtyBoard
from tests.firmware import boards
from tests.hardware.conftest import BARE, MakeBoard

ROM_BYTES = 262_144
WHOLE = "import sys\nprint(sys.path[0], __import__('firmware.application') is not None)"
APPLICATION = b"WHERE = __file__\n"
FILES = {
    **{f"firmware/part{n}.py": f"N = {n}\n".encode() * 900 for n in range(4)},
    "firmware/application.py": APPLICATION,
}
SMALL = Payload(
    "x64", FILES, {"boot.py": (Path(board_slices.__file__).parent / "boot.py").read_bytes()}
)


def with_flash(board: PtyBoard, size: int = ROM_BYTES) -> PtyBoard:
    """The board with a partition romfs, erased unless it has one."""
    board.folder.mkdir(parents=True, exist_ok=True)
    flash = board.folder / "romfs.bin"
    if not flash.exists():
        flash.write_bytes(b"\xff" * size)
    return board


def where(board: PtyBoard) -> str:
    """From where the board's own boot code has the application loaded."""
    with session(board.path) as opened:
        opened.soft_reset()
        return opened.run("from firmware.application import WHERE\nprint(WHERE)").strip()


def test_both_halves_speak_of_the_same_slices() -> None:
    assert slices.BLOCK_BYTES == board_slices.BLOCK_BYTES
    assert slices.NOTE_BYTES == board_slices.NOTE_BYTES
    assert board_slices.KEY == "rom_"


def test_code_is_put_into_slice_a_and_runs_from_there(plug_in: MakeBoard) -> None:
    with with_flash(plug_in()) as board:
        with session(board.path) as opened:
            done = install(opened, SMALL, BARE)
        image = romfs.image(FILES, ENTRY)
        assert done.in_place
        assert done.carried_bytes > len(image)
        assert (board.folder / "romfs.bin").read_bytes()[: len(image)] == image
        assert not (board.folder / "flash/a/firmware").exists()
        assert where(board) == "/rom/firmware/application.py"


def test_the_tool_notes_an_image_as_the_board_does(plug_in: MakeBoard) -> None:
    nvs, image = boards.MemoryNvs(), romfs.image(FILES, ENTRY)
    rom = boards.MemoryRom(MemoryFiles(), bytes(ROM_BYTES))
    board_slices.fill(rom, nvs, "a", io.BytesIO(image))
    with with_flash(plug_in()) as board, session(board.path) as opened:
        install(opened, SMALL, BARE)
        opened.run(slices.BEGIN)
        assert opened.run("print(note('rom_a'))").strip() == nvs.durable["rom_a"].hex()


def test_a_second_installation_carries_only_the_blocks_that_differ(plug_in: MakeBoard) -> None:
    changed = {**FILES, "firmware/part3.py": FILES["firmware/part3.py"][:-2] + b"4\n"}
    with with_flash(plug_in()) as board, session(board.path) as opened:
        install(opened, SMALL, BARE)
        assert install(opened, SMALL, BARE) == Installed(0, True)
        newer = Payload("x64", changed, SMALL.root)
        assert install(opened, newer, BARE).carried_bytes <= 4096
        assert install(opened, newer, BARE) == Installed(0, True)


def test_after_a_pulled_cable_a_slice_is_not_whole_and_the_same_command_goes_on(
    plug_in: MakeBoard,
) -> None:
    image = romfs.image(FILES, ENTRY)
    with with_flash(plug_in()) as board:
        board.unplug_after(14_000)
        with pytest.raises(BenchError), session(board.path) as opened:
            install(opened, SMALL, BARE)
    with with_flash(plug_in()) as board:
        with session(board.path) as opened:
            opened.run(slices.BEGIN)
            assert opened.run("print(note('rom_a'))").strip() == bytes(36).hex()
            assert install(opened, SMALL, BARE).carried_bytes < len(image)
        assert where(board) == "/rom/firmware/application.py"


def test_an_image_that_does_not_fit_goes_into_the_folder(plug_in: MakeBoard) -> None:
    with with_flash(plug_in(), 16_384) as board:
        with session(board.path) as opened:
            assert not install(opened, SMALL, BARE).in_place
        assert where(board).endswith("/flash/a/firmware/application.py")


def test_a_folder_of_before_is_removed_once_the_slice_is_whole(plug_in: MakeBoard) -> None:
    with plug_in() as board, session(board.path) as opened:
        assert not install(opened, SMALL, BARE).in_place
    with with_flash(plug_in()) as board:
        with session(board.path) as opened:
            assert install(opened, SMALL, BARE).in_place
        assert not list((board.folder / "flash/a").rglob("*.py"))


def test_slot_b_is_left_and_slot_a_starts_again(plug_in: MakeBoard) -> None:
    with with_flash(plug_in()) as board:
        with session(board.path) as opened:
            install(opened, SMALL, BARE)
            slices.put(opened, "b", romfs.image({"firmware/application.py": b"WHERE = 'b'"}, ENTRY))
            opened.run("nvs.set_blob('slot', b'b' + bytes(4))\nnvs.commit()")
        assert where(board) == "b"
        with session(board.path) as opened:
            install(opened, SMALL, BARE)
        assert where(board) == "/rom/firmware/application.py"


def test_a_street_board_is_installed_in_place_and_lives(plug_in: MakeBoard, tmp_path: Path) -> None:
    plan = Plan(boardfile.load("classic"), records=tmp_path / "boards.jsonl")
    with with_flash(plug_in(board=plan.board.board_json())) as board:
        assert bench.put_firmware(board.path, plan).in_place
        bench.give_identity(board.path, plan, "Carrer Gran 7")
        with session(board.path) as opened:
            opened.soft_reset()
            assert opened.run(WHOLE).strip() == "/rom True"


def test_the_technician_is_told_where_code_runs() -> None:
    assert common.told(Installed(9, True)) == "9 bytes of firmware installed, runs in place"
    assert "hardware/board_images" in common.told(Installed(9, False))
