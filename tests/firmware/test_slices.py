"""Code in place: what boot.py chooses, how slices are filled, bundles for slices and folders."""

import io
from hashlib import sha256
from struct import pack
from typing import Any

import pytest

from firmware import boot, slices
from firmware import bundle as board_bundle
from firmware.slots import Slots
from firmware.update import message
from hardware import bundle, romfs
from protocol import wire
from simulator.faults.filesystem import MemoryFiles
from tests.firmware import boards
from tests.firmware.test_update import FILES, KEY, NEW, Server, installed, start, with_key

IMAGE = romfs.image(FILES, bundle.ENTRY)
OTHER = romfs.image({"firmware/application.py": b"other"}, bundle.ENTRY)
SLICE_BYTES = 16_384


class Flash:
    """A board's slices and NVS, with images in slots a and b where they are named."""

    def __init__(self, a: bytes = b"", b: bytes = b"", folders: str = "") -> None:
        self.files = MemoryFiles()
        self.rom = boards.MemoryRom(self.files, bytes(2 * SLICE_BYTES))
        self.nvs = boards.MemoryNvs()
        self.folders = folders
        for slot, image in (("a", a), ("b", b)):
            if image:
                slices.fill(self.rom, self.nvs, slot, io.BytesIO(image))

    def choose(self, woken: bool = False) -> tuple[str, bool, bytes | None]:
        slot, trial, image = boot.choose(
            self.nvs, self.rom.view, woken, lambda slot: slot in self.folders
        )
        return slot, trial, None if image is None else bytes(image)

    def record(self) -> bytes:
        return self.nvs.durable["slot"]

    def set_record(self, good: str, trial: str = "", left: int = 0, id: int = 0) -> None:
        record = pack("<BBBH", ord(good), ord(trial) if trial else 0, left, id)
        self.nvs.set_blob("slot", record)
        self.nvs.commit()

    def rot(self, slot: str) -> None:
        self.rom.content[(0 if slot == "a" else SLICE_BYTES) + 10] ^= 4


def test_boot_and_the_firmware_speak_of_the_same_notes() -> None:
    flash = Flash(IMAGE)
    assert flash.nvs.durable == {slices.KEY + "a": pack("<I", len(IMAGE)) + sha256(IMAGE).digest()}
    assert slices.capacity(flash.rom) == SLICE_BYTES


def test_the_good_slots_slice_is_chosen() -> None:
    flash = Flash(IMAGE, OTHER)
    assert flash.choose() == ("a", False, IMAGE)
    flash.set_record("b")
    assert flash.choose() == ("b", False, OTHER)


def test_a_slot_without_slice_runs_its_folder() -> None:
    assert Flash(folders="a").choose() == ("a", False, None)
    flash = Flash(IMAGE, folders="b")
    flash.set_record("b")
    assert flash.choose() == ("b", False, None)


def test_an_image_without_mapped_flash_runs_folders_whatever_notes_say() -> None:
    flash = Flash(IMAGE, OTHER, folders="a")
    assert boot.choose(flash.nvs, None, False, lambda slot: slot == "a") == ("a", False, None)


def test_a_slice_that_rots_is_given_up_for_the_other_slot_which_becomes_the_good_one() -> None:
    flash = Flash(IMAGE, OTHER)
    flash.rot("a")
    assert flash.choose() == ("b", False, OTHER)
    assert flash.record() == b"b\0\0\0\0"


def test_a_slice_that_rots_on_trial_ends_the_trial_which_is_still_to_be_told() -> None:
    flash = Flash(IMAGE, OTHER)
    flash.set_record("a", "b", 3, 7)
    flash.rot("b")
    assert flash.choose() == ("a", False, IMAGE)
    assert flash.record() == pack("<BBBH", ord("a"), 0, 0, 7)


def test_a_folder_that_is_gone_is_given_up_too() -> None:
    flash = Flash(folders="b")
    assert flash.choose() == ("b", False, None)
    assert flash.record() == b"b\0\0\0\0"


def test_a_board_without_any_code_changes_nothing() -> None:
    flash = Flash()
    assert flash.choose() == ("a", False, None)
    assert flash.nvs.durable == {}


def test_waking_from_deep_sleep_spares_the_hash() -> None:
    flash = Flash(IMAGE, OTHER)
    flash.rot("a")
    slot, _, image = flash.choose(woken=True)
    assert slot == "a"
    assert image is not None
    assert image != IMAGE


@pytest.mark.parametrize("length", [0, SLICE_BYTES + 1, 2**32 - 1])
def test_a_note_that_cannot_be_is_no_image(length: int) -> None:
    flash = Flash(IMAGE, OTHER)
    flash.nvs.durable["rom_a"] = pack("<I", length) + bytes(32)
    assert flash.choose(woken=True) == ("b", False, OTHER)


def test_an_image_that_does_not_fit_leaves_the_slot_empty_and_the_other_as_it_is() -> None:
    flash = Flash(IMAGE, OTHER)
    with pytest.raises(OSError, match="too small"):
        slices.fill(flash.rom, flash.nvs, "a", io.BytesIO(bytes(SLICE_BYTES + 1)))
    assert not slices.holds(flash.nvs, "a")
    assert flash.choose() == ("b", False, OTHER)


def test_flash_that_does_not_take_what_is_written_is_found_by_reading_it_back() -> None:
    flash = Flash(b="".join(map(str, range(9))).encode())
    write = flash.rom.write

    def worn(block: int, data: bytes, offset: int) -> None:
        write(block, data[:-1] + b"\x00", offset)

    flash.rom.write = worn  # type: ignore[method-assign]
    with pytest.raises(OSError, match="cannot be written"):
        slices.fill(flash.rom, flash.nvs, "a", io.BytesIO(IMAGE))
    assert not slices.holds(flash.nvs, "a")


def board(**changes: Any) -> boards.MemoryHal:
    """A board whose slot a is a slice."""
    hal = boards.MemoryHal(with_key(MemoryFiles()))
    hal.mapped = boards.MemoryRom(hal.files, bytes(2 * SLICE_BYTES))
    slices.fill(hal.mapped, hal.nvs, "a", io.BytesIO(OTHER))
    return hal


def test_an_update_over_the_link_goes_into_the_other_slice() -> None:
    hal = board()
    hal.files.folders |= {"b", "b/firmware"}
    hal.files.content["b/firmware/application.py"] = b"older"
    node = start(hal)
    boards.run(node, 1_000)
    server = Server(node)
    server.ack(0)
    server.offer()
    server.serve(120_000)
    assert hal.resets == 1
    assert server.statuses() == [(5, wire.R_PENDING)]
    assert installed(hal.files, "b") == {}
    assert Slots(hal).filled("b")
    assert hal.mapped is not None
    chosen = boot.choose(hal.nvs, hal.mapped.view, False, lambda slot: False)
    assert chosen == ("b", True, IMAGE)


def test_a_bundle_for_a_larger_slice_is_refused_before_it_is_fetched() -> None:
    hal = board()
    node = start(hal)
    boards.run(node, 1_000)
    size = SLICE_BYTES + 1
    server = Server(node)
    server.ack(0)
    signature = KEY.sign(message(size, NEW.sha256, NEW.version))
    server.offer(size=size, signature=signature)
    boards.run(node, 1_000)
    assert server.statuses() == [(5, wire.R_FAILED)]
    assert node.downlink.update is None


def unpacked(content: bytes) -> dict[str, bytes]:
    files = MemoryFiles(content={"update.bin": content})
    board_bundle.unpack_into(files, "update.bin", "b")
    return installed(files, "b")


def test_a_folder_gets_all_files_of_an_image() -> None:
    deep = {"firmware/a/b/c.py": b"", "protocol/wire.py": bytes(70_000), **FILES}
    assert unpacked(bundle.compose("", "1", deep)) == deep


def test_the_entry_ends_the_image() -> None:
    names = {"a.py": b"", "firmware/node.py": b"", "zoo/x.py": b"", "firmware/application.py": b"#"}
    assert romfs.image(names, bundle.ENTRY)[-1:] == b"#"
    with pytest.raises(ValueError, match="one firmware/application"):
        romfs.image({"firmware/node.py": b""}, bundle.ENTRY)


def test_a_damaged_bundle_is_refused_and_never_fills_a_folder() -> None:
    whole = bundle.compose("", "1", FILES)
    files = MemoryFiles()
    for cut in range(len(whole) - 1):
        files.content["update.bin"] = whole[:cut]
        with pytest.raises(board_bundle.BundleError):
            board_bundle.unpack_into(files, "update.bin", "b")
        assert (
            "b/firmware/application.py" not in files.content
            or files.content["b/firmware/application.py"] != FILES["firmware/application.py"]
        )


@pytest.mark.parametrize("name", ["../../boot.py", "/boot.py", ".."])
def test_a_path_that_leaves_the_folder_is_refused(name: str) -> None:
    content = bundle.compose("", "1", {"firmware/application.py": b"#", "x" * len(name): b"!"})
    with pytest.raises(board_bundle.BundleError, match="leaves the folder"):
        unpacked(content.replace(b"x" * len(name), name.encode()))


def test_a_bundle_for_another_chip_is_refused_before_anything_is_erased() -> None:
    hal = board()
    hal.files.content["update.bin"] = bundle.compose("xtensawin", "1", FILES)
    assert hal.mapped is not None
    with pytest.raises(board_bundle.BundleError, match="for xtensawin"):
        board_bundle.fill_slice(hal.files, "update.bin", hal.mapped, hal.nvs, "a")
    assert slices.holds(hal.nvs, "a")
