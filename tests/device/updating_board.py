"""A board that starts as a real one, by boot.py and main.py from its slots, on a simulated link."""

import _host
import mapped_flash

mapped_flash.plug_in(_host.NODE_FOLDER + "/" + mapped_flash.FILE)
ours = {"__name__": "__main__"}


def run(name):
    with open(name) as source:
        exec(compile(source.read(), name, "exec"), ours)


run("boot.py")

from stepped_link import SteppedLink  # noqa: E402 - the slot is on the path only now

from firmware.hal import BoardHal  # noqa: E402

BoardHal.link = lambda self, settings: SteppedLink()
run("main.py")
