"""The board's own program, which stops sampling when its folder says so.

Everything else is firmware/application.py: what is measured is reported, kept, sent, acknowledged.
"""

import os

import _host

import firmware.node
from firmware import application
from firmware.sampling import Grid

NEVER_MS = 1 << 46


class StoppableGrid(Grid):
    """The usual instants, until a file named `quiet` appears in the node's folder."""

    def next_ms(self, after_uptime_ms):
        try:
            os.stat(_host.NODE_FOLDER + "/quiet")
        except OSError:
            return super().next_ms(after_uptime_ms)
        return NEVER_MS


firmware.node.Grid = StoppableGrid
application.run()
