"""Starts a program as a board starts its firmware: boot.py chooses a slice and mounts it.

Arguments: the folder of mapped_flash.py, boot.py, the file of partition romfs, NVS as JSON of
hexadecimal texts, a module of the slice, then the program's own.
"""

import gc
import json
import sys


class Nvs:
    """esp32.NVS, read only."""

    def __init__(self, namespace):
        self._kept = json.loads(sys.argv[4])

    def get_blob(self, key, buffer):
        if key not in self._kept:
            raise OSError(-0x1102)
        data = bytes.fromhex(self._kept[key])
        buffer[: len(data)] = data
        return len(data)


class Chip:
    """The modules esp32 and machine, as far as boot.py needs them."""

    NVS = Nvs

    @staticmethod
    def reset_cause():
        return 1


def start():
    """Run boot.py; afterwards only what it has put before all other folders is left."""
    sys.path[:] = [sys.argv[1], ".frozen"]
    import mapped_flash

    mapped_flash.plug_in(sys.argv[3])
    sys.modules["esp32"] = sys.modules["machine"] = Chip
    with open(sys.argv[2]) as source:
        exec(source.read(), {"__name__": "__main__"})
    mapped_flash.__dict__.clear()  # the thread that stands for flash holds on to it
    for name in ("mapped_flash", "vfs", "esp32", "machine"):
        del sys.modules[name]
    if sys.path[0] != "/rom":
        raise SystemExit("boot.py found no code in place")
    sys.path[:] = ["/rom", ".frozen"]
    del sys.argv[1:5]
    for name in ("start", "Nvs", "Chip", "json"):
        del globals()[name]


gc.threshold(4096)  # as firmware/main.py does
start()
__import__(sys.argv.pop(1))
