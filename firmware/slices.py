"""Slices: code in place, in the halves of flash partition "romfs": slot a's image, then slot b's.

NVS "rom_a" and "rom_b" (length u32, SHA-256) say that a slice is whole; boot.py mounts it. They go
before a slice is erased, and come after it was read back.
"""

from hashlib import sha256
from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.types import File, Nvs, Rom

KEY = "rom_"
NOTE_BYTES = 36
BLOCK_BYTES = 4096
PIECE_BYTES = 512
ERASE = 6  # ioctl of block devices


class BoardRom:
    """firmware.types.Rom on a board: esp32.Partition, which MicroPython maps when asked."""

    def __init__(self, flash: "Any") -> None:
        self.view = memoryview(flash)
        self._flash = flash

    def erase(self, block: int) -> None:
        """Erase a block."""
        self._flash.ioctl(ERASE, block)

    def write(self, block: int, data: bytes, offset: int) -> None:
        """Write into an erased block."""
        self._flash.writeblocks(block, data, offset)


def find() -> "Rom | None":
    """The mapped partition; None where the image cannot map one, or has none."""
    import vfs

    ours: "Any" = vfs
    try:
        rom = BoardRom(ours.rom_ioctl(2, 0))
    except (AttributeError, OSError, TypeError):
        return None
    return rom if capacity(rom) else None


def capacity(rom: "Rom") -> int:
    """Bytes that a slice can hold."""
    return len(rom.view) // (2 * BLOCK_BYTES) * BLOCK_BYTES


def holds(nvs: "Nvs", slot: str) -> bool:
    """Whether a slot's slice was filled."""
    note = bytearray(NOTE_BYTES)
    try:
        nvs.get_blob(KEY + slot, note)
    except OSError:
        return False
    return any(note[:4])


def fill(rom: "Rom", nvs: "Nvs", slot: str, image: "File") -> None:
    """Write what is left of a file into a slot's slice, read it back, and note that it is whole.

    Raises OSError when it does not fit, or flash holds something else afterwards.
    """
    _note(nvs, slot, bytes(NOTE_BYTES))
    first = 0 if slot == "a" else capacity(rom)
    last = first + capacity(rom)
    total = sha256()
    at = first
    while True:
        piece = image.read(PIECE_BYTES)
        if not piece:
            break
        if at + len(piece) > last:
            raise OSError(28, "the slice is too small")
        if at % BLOCK_BYTES == 0:
            rom.erase(at // BLOCK_BYTES)
        rom.write(at // BLOCK_BYTES, piece, at % BLOCK_BYTES)
        total.update(piece)
        at += len(piece)
    wanted = total.digest()
    if sha256(rom.view[first:at]).digest() != wanted:
        raise OSError(5, "the slice cannot be written")
    _note(nvs, slot, pack("<I", at - first) + wanted)


def _note(nvs: "Nvs", slot: str, note: bytes) -> None:
    nvs.set_blob(KEY + slot, note)
    nvs.commit()
