"""Mapped flash for a VM: partition "romfs" is a file, which its image maps into memory.

A heap must not count it, as a board's does not count its flash. This VM has nothing to map a file
with, so the stack of a thread that only sleeps takes the flash's place: memory with an address.
"""

import _thread
import os
import sys

import uctypes
import utime  # not the time of this folder, which the host moves
import vfs

FILE = "romfs.bin"
BLOCK_BYTES = 4096
AREA_BYTES = 1 << 20
MARGIN_BYTES = 8192  # at either end
ERASE = 6
SLEEP_S = 1 << 30


class Partition(memoryview):
    """esp32.Partition, as far as a mapped one is used: bits fall when written, and rise erased."""

    path = ""

    def ioctl(self, operation, block):
        if operation == ERASE:
            self._put(block * BLOCK_BYTES, b"\xff" * BLOCK_BYTES)
            return 0

    def writeblocks(self, block, data, offset=None):
        if offset is None:
            for each in range(-(-len(data) // BLOCK_BYTES)):
                self.ioctl(ERASE, block + each)
        first = block * BLOCK_BYTES + (offset or 0)
        there = memoryview(self)
        kept = bytearray(len(data))
        for index in range(len(data)):
            kept[index] = data[index] & there[first + index]
        self._put(first, kept)

    def _put(self, first, data):
        there = memoryview(self)
        if first < 0 or first + len(data) > len(there):
            raise OSError(-0x102, "ESP_ERR_INVALID_ARG")
        there[first : first + len(data)] = data
        with open(self.path, "r+b") as stored:
            stored.seek(first)
            stored.write(data)


class Vfs:
    """The module vfs of an image that has been made with MICROPY_VFS_ROM."""

    def __init__(self, flash):
        self._flash = flash

    def __getattr__(self, name):
        return getattr(vfs, name)

    def rom_ioctl(self, operation, segment=0):
        if operation == 1:
            return 1
        return self._flash if (operation, segment) == (2, 0) else -22


def plug_in(path):
    """Map the file, if it is there; `import vfs` then finds it."""
    try:
        length = os.stat(path)[6]
    except OSError:
        return
    memory = _outside(length)
    with open(path, "rb") as stored:
        stored.readinto(memory)
    flash = Partition(memory)
    flash.path = path
    sys.modules["vfs"] = Vfs(flash)


def _areas():
    """Starts of private areas of memory that are large enough."""
    found = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, mode = line.split(" ")[:2]
            first, end = (int(number, 16) for number in span.split("-"))
            if mode == "rw-p" and end - first >= AREA_BYTES:
                found.append(first)
    return found


def _outside(length):
    """So many bytes that the heap does not count."""
    if length > AREA_BYTES - 4 * MARGIN_BYTES:
        raise ValueError("the partition is too large to be played")
    before = _areas()
    _thread.stack_size(AREA_BYTES)
    _thread.start_new_thread(utime.sleep, (SLEEP_S,))  # it holds nothing of this module
    utime.sleep_ms(50)
    (first,) = (area for area in _areas() if area not in before)
    return uctypes.bytearray_at(first + MARGIN_BYTES, length)
