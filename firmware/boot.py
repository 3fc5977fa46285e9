"""Runs first on the board: picks the folder, a or b, that holds the firmware to run.

NVS "slot" is 5 bytes: the good slot, the slot on trial (or 0), how many starts the trial has left,
and the u16 id of its update. The starts are counted down before the trial starts, so that a build
that cannot live ends by itself.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esp32 import NVS


def pick(nvs: "NVS") -> str:
    """The slot to run, after counting a start of a trial."""
    record = bytearray(5)
    try:
        nvs.get_blob("slot", record)
    except OSError:
        return "a"
    good, trial, left = record
    if trial and left:
        record[2] = left - 1
    elif trial:
        record[1] = 0
    else:
        return chr(good)
    nvs.set_blob("slot", record)
    nvs.commit()
    return chr(trial if left else good)


def start() -> None:
    """Put the picked slot before all other folders."""
    import esp32

    root = os.getcwd().rstrip("/")
    sys.path.insert(0, root + "/" + pick(esp32.NVS("osn")))


start()
