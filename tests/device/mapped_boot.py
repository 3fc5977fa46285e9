"""Runs boot.py over a file that takes the place of mapped flash.

Takes its arguments away: the file of partition romfs; NVS "rom_a" in hexadecimal; boot.py. This VM
has no flash to map, so the stack of a thread that only sleeps takes its place: memory with an
address that the heap does not count.
"""

import _thread
import sys
import time

import uctypes
import vfs

AREA_BYTES = 1 << 20
MARGIN_BYTES = 8192  # at either end


def areas():
    """Starts of private areas of memory that are large enough."""
    found = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, mode = line.split(" ")[:2]
            first, end = (int(number, 16) for number in span.split("-"))
            if mode == "rw-p" and end - first >= AREA_BYTES:
                found.append(first)
    return found


class Board:
    """The modules vfs, esp32 and machine, as far as boot.py needs them, and NVS."""

    VfsRom = vfs.VfsRom
    mount = vfs.mount
    umount = vfs.umount

    def __init__(self):
        before = areas()
        _thread.stack_size(AREA_BYTES)
        _thread.start_new_thread(time.sleep, (1 << 30,))
        time.sleep_ms(50)
        (first,) = (area for area in areas() if area not in before)
        self.rom = uctypes.bytearray_at(first + MARGIN_BYTES, AREA_BYTES - 4 * MARGIN_BYTES)
        with open(sys.argv[1], "rb") as image:
            self.rom = memoryview(self.rom)[: image.readinto(self.rom)]

    def rom_ioctl(self, *_):
        return self.rom

    def reset_cause(self):
        return 1

    def NVS(self, _):
        return self

    def get_blob(self, slot, record):
        if slot != "rom_a":
            raise OSError(2)
        record[:] = bytes.fromhex(sys.argv[2])


def start():
    """Run boot.py; afterwards only what it has put before all other folders is left."""
    board = Board()
    sys.path[:] = [".frozen"]
    for name in ("vfs", "esp32", "machine"):
        sys.modules[name] = board
    with open(sys.argv[3]) as boot:
        exec(boot.read(), {"__name__": "__main__"})
    for name in ("vfs", "esp32", "machine"):
        del sys.modules[name]
    if sys.path[0] != "/rom":
        raise SystemExit("boot.py found no code in place")
    del sys.argv[1:4]


start()
