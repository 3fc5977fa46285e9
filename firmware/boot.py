"""Runs first on the board: picks the folder, a or b, that holds the firmware to run.

NVS "slot" is 5 bytes: the good slot, the slot on trial (or 0), how many starts the trial has left,
and the u16 id of its update. The starts are counted down before the trial starts, so that a build
that cannot live ends by itself; waking from deep sleep is no start.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esp32 import NVS

DEEPSLEEP_RESET = 4
on_trial = False  # main.py looks at it


def pick(nvs: "NVS", woken: bool) -> "tuple[str, bool]":
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


def start() -> None:
    """Put the picked slot before all other folders."""
    global on_trial
    import esp32
    import machine

    woken = machine.reset_cause() == DEEPSLEEP_RESET
    slot, on_trial = pick(esp32.NVS("osn"), woken)
    sys.path.insert(0, os.getcwd().rstrip("/") + "/" + slot)


if __name__ == "__main__":
    start()
