"""Runs a program from memory that is not Python's heap, as a board runs it from mapped flash.

Arguments: a ROMFS image, a module in it, then the program's own. This VM has no flash to map, so
the stack of a thread that only sleeps takes its place: memory with an address that the heap does
not count.
"""

import _thread
import gc
import sys
import time

import uctypes
import vfs

AREA_BYTES = 1 << 20
MARGIN_BYTES = 8192  # at either end


def sleep_on():
    while True:
        time.sleep(3600)


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


def map_image(path):
    """The image outside of the heap."""
    before = areas()
    _thread.stack_size(AREA_BYTES)
    _thread.start_new_thread(sleep_on, ())
    time.sleep_ms(50)
    (first,) = (area for area in areas() if area not in before)
    memory = uctypes.bytearray_at(first + MARGIN_BYTES, AREA_BYTES - 4 * MARGIN_BYTES)
    with open(path, "rb") as image:
        length = image.readinto(memory)
    return memoryview(memory)[:length]


def start():
    """Mount the image; afterwards only the thread is left of all this."""
    vfs.mount(vfs.VfsRom(map_image(sys.argv[1])), "/rom")
    sys.path[:] = ["/rom", ".frozen"]
    del sys.argv[1]
    for name in ("start", "map_image", "areas"):
        del globals()[name]


gc.threshold(4096)  # as firmware/main.py does
start()
__import__(sys.argv.pop(1))
