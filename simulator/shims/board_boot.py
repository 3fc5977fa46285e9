"""What MicroPython does at power-on: boot.py, then main.py unless the prompt is wanted."""

import os
import sys

import _host
import mapped_flash

from simulator import bridge

_host.call(bridge.NOW)  # tells the host that Ctrl-C will be understood from now on
mapped_flash.plug_in(_host.NODE_FOLDER + "/" + mapped_flash.FILE)
os.chdir(os.getenv("OSN_FLASH") or os.getcwd())


ours = {"__name__": "__main__"}  # both files run in one module


def run(name):
    try:
        with open(name) as source:
            text = source.read()
    except OSError:
        return
    try:
        exec(compile(text, name, "exec"), ours)  # noqa: S102 - what a board does
    except SystemExit:
        pass
    except KeyboardInterrupt as stopped:
        sys.print_exception(stopped)
        raise SystemExit
    except Exception as fault:
        sys.print_exception(fault)


run("boot.py")
if not os.getenv("OSN_PROMPT"):
    run("main.py")
