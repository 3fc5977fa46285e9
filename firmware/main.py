"""Runs after boot.py: the firmware, for ever. Ctrl-C gives the prompt to a technician."""

import gc
import sys
import time

import machine

START_MS = 120_000  # a build on trial that hangs while it starts; its own watchdog comes after
PROMPT_MS = 3_600_000

gc.threshold(4096)  # collect early: what stays lies together, so large pieces find room
try:
    if globals().get("on_trial"):
        machine.WDT(timeout=START_MS)
    from firmware.application import run

    run()
except KeyboardInterrupt:
    machine.WDT(timeout=PROMPT_MS)  # it cannot be stopped: give the technician an hour
    raise
except Exception as fault:
    sys.print_exception(fault)
    time.sleep(5)
    machine.reset()
