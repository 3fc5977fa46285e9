"""Runs first on the board: finds the code to run, that of slot a or of slot b, and puts it first.

NVS "slot" is 5 bytes: the good slot, the slot on trial (or 0), how many starts the trial has left,
and the u16 id of its update. The starts are counted down before the trial starts, so that a build
that cannot live ends by itself; waking from deep sleep is no start.

A slot's code is an image in its half of flash partition "romfs", where NVS "rom_a" or "rom_b"
tells its length (u32) and SHA-256; or else the folder of the slot's name. From an image code runs
in place, from a folder it is loaded into the heap.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from firmware.types import Nvs

DEEPSLEEP_RESET = 4
on_trial = False  # main.py looks at it


def pick(nvs: "Nvs", woken: bool) -> "tuple[str, bool]":
    """(slot to run, whether it is on trial), after counting a start of a trial."""
    record = bytearray(5)
    try:
        nvs.get_blob("slot", record)
    except OSError:
        return "a", False
    good, trial, left = record[0], record[1], record[2]
    if not trial:
        return chr(good), False
    if woken:
        return chr(trial), True
    if left:
        record[2] = left - 1
    else:
        record[1] = 0
    nvs.set_blob("slot", record)
    nvs.commit()
    return chr(trial if left else good), left > 0


def settle(nvs: "Nvs", slot: str) -> None:
    """Make a slot the good one and end a trial; its id stays, for its end is still to be told."""
    record = bytearray(5)
    try:
        nvs.get_blob("slot", record)
    except OSError:
        pass
    record[0] = ord(slot)
    record[1] = record[2] = 0
    nvs.set_blob("slot", record)
    nvs.commit()


def image_of(nvs: "Nvs", rom: "memoryview | None", slot: str, woken: bool) -> "memoryview | None":
    """A slot's image in mapped flash, None unless it is whole; its hash is spared when woken."""
    from hashlib import sha256

    record = bytearray(36)
    try:
        nvs.get_blob("rom_" + slot, record)
    except OSError:
        return None
    length = int.from_bytes(record[:4], "little")
    half = len(rom) // 8192 * 4096 if rom is not None else 0
    if rom is None or not 0 < length <= half:
        return None
    first = 0 if slot == "a" else half
    image = rom[first : first + length]
    return image if woken or sha256(image).digest() == bytes(record[4:]) else None


def choose(
    nvs: "Nvs", rom: "memoryview | None", woken: bool, filled: "Callable[[str], bool]"
) -> "tuple[str, bool, memoryview | None]":
    """(slot to run, whether it is on trial, its image or None for its folder).

    filled tells whether a slot's folder holds firmware. A slot without whole code is given up for
    the other one, so that what runs is always the good slot or the one on trial.
    """
    slot, trial = pick(nvs, woken)
    for each in (slot, "b" if slot == "a" else "a"):
        image = image_of(nvs, rom, each, woken)
        if image is not None or filled(each):
            if each != slot:
                settle(nvs, each)
            return each, trial and each == slot, image
    return slot, trial, None


def mapped(vfs: "Any") -> "memoryview | None":
    """Partition romfs in memory; None where the image cannot map one, or has none."""
    try:
        return memoryview(vfs.rom_ioctl(2, 0))
    except (AttributeError, OSError, TypeError):
        return None


def filled(slot: str) -> bool:
    """Whether a slot's folder holds firmware."""
    for suffix in (".mpy", ".py"):
        try:
            os.stat(slot + "/firmware/application" + suffix)
            return True
        except OSError:
            pass
    return False


def start() -> None:
    """Put the code to run before all other folders."""
    global on_trial
    import esp32
    import machine
    import vfs as file_systems

    vfs: "Any" = file_systems
    woken = machine.reset_cause() == DEEPSLEEP_RESET
    nvs: "Any" = esp32.NVS("osn")
    slot, on_trial, image = choose(nvs, mapped(vfs), woken, filled)
    try:
        vfs.umount("/rom")  # MicroPython mounts the partition's start by itself: that is slot a
    except OSError:
        pass
    if image is None:
        sys.path.insert(0, os.getcwd().rstrip("/") + "/" + slot)
    else:
        vfs.mount(vfs.VfsRom(image), "/rom")
        sys.path.insert(0, "/rom")


if __name__ == "__main__":
    start()
    # main.py runs in the same module: their room is the firmware's.
    del pick, settle, image_of, choose, mapped, filled, start
