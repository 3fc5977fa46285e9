"""Put code where a board runs it in place: only blocks that differ, the whole checked by its hash.

Layout and notes are those of the board's half, firmware/slices.py.
"""

import hashlib
from collections.abc import Callable
from struct import pack

from hardware.faults import BenchError, Exit
from hardware.session import Session

BLOCK_BYTES = 4096
PIECE_BYTES = 512
NOTE_BYTES = 36
ROOM = """
import vfs
try:
 room = len(memoryview(vfs.rom_ioctl(2, 0))) // 8192 * 4096
except (AttributeError, OSError, TypeError):
 room = 0
print(room)
"""
BEGIN = """
import binascii, esp32, hashlib, vfs
try:
 vfs.umount('/rom')
except OSError:
 pass
rom = vfs.rom_ioctl(2, 0)
view = memoryview(rom)
nvs = esp32.NVS('osn')
def digest(first, end):
 return binascii.hexlify(hashlib.sha256(view[first:end]).digest()).decode()
def note(key):
 kept = bytearray(36)
 try:
  nvs.get_blob(key, kept)
 except OSError:
  pass
 return binascii.hexlify(kept).decode()
def set_note(key, value):
 nvs.set_blob(key, value)
 nvs.commit()
"""
FORGET = """
import esp32
nvs = esp32.NVS('osn')
try:
 nvs.erase_key({key!r})
 nvs.commit()
except OSError:
 pass
"""


def room_bytes(opened: Session) -> int:
    """What an image for this board may have; 0 where MicroPython cannot run code in place."""
    return int(opened.run(ROOM))


def put(
    opened: Session,
    slot: str,
    image: bytes,
    progress: Callable[[float], None] = lambda part: None,
) -> int:
    """Bring a slot's slice to an image that fits into it; returns the bytes carried.

    The board starts anew first, for nothing may run from what is written. Raises BenchError.
    """
    opened.soft_reset()
    opened.run(BEGIN)
    first = 0 if slot == "a" else room_bytes(opened)
    key = f"rom_{slot}"
    wanted = hashlib.sha256(image)
    note = pack("<I", len(image)) + wanted.digest()
    blocks = [image[at : at + BLOCK_BYTES] for at in range(0, len(image), BLOCK_BYTES)]
    differ = _differing(opened, first, blocks)
    if not differ and opened.run(f"print(note({key!r}))").strip() == note.hex():
        return 0
    opened.run(f"set_note({key!r}, bytes({NOTE_BYTES}))")
    total = sum(len(blocks[index]) for index in differ)
    carried = 0
    for index in differ:
        block = first // BLOCK_BYTES + index
        opened.run(f"rom.ioctl(6, {block})")
        for at in range(0, len(blocks[index]), PIECE_BYTES):
            piece = blocks[index][at : at + PIECE_BYTES]
            opened.run(f"rom.writeblocks({block}, {piece!r}, {at})")
            carried += len(piece)
            progress(carried / total)
    found = opened.run(f"print(digest({first}, {first + len(image)}))").strip()
    if found != wanted.hexdigest():
        raise BenchError(
            Exit.FAILED,
            f"The code was damaged on its way to {opened.port}",
            "Run the command again with a shorter cable",
        )
    opened.run(f"set_note({key!r}, {note!r})")
    return carried


def forget(opened: Session, slot: str) -> None:
    """The slot's code is in its folder from now on."""
    opened.run(FORGET.format(key=f"rom_{slot}"))


def _differing(opened: Session, first: int, blocks: list[bytes]) -> list[int]:
    """Numbers of the blocks that the board's flash holds otherwise."""
    ends = [(first + index * BLOCK_BYTES, len(block)) for index, block in enumerate(blocks)]
    listed = opened.run(f"for at, size in {ends!r}: print(digest(at, at + size))").split()
    return [
        index
        for index, (block, found) in enumerate(zip(blocks, listed, strict=True))
        if hashlib.sha256(block).hexdigest() != found
    ]
