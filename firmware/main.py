"""Runs after boot.py: the firmware, for ever. Ctrl-C gives the prompt to a technician."""

import sys
import time

import machine

try:
    from firmware.application import run

    run()
except KeyboardInterrupt:
    machine.WDT(timeout=3_600_000)  # it cannot be stopped: give the technician an hour
    raise
except Exception as fault:
    sys.print_exception(fault)
    time.sleep(5)
    machine.reset()
