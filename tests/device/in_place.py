"""Starts a program as a board starts its firmware: boot.py chooses a slice and mounts it.

Arguments: mapped_boot.py and the arguments that it takes away; a module of the slice; then the
program's own. What boots is executed as a text of its own, for a board keeps none of it.
"""

import gc
import sys

gc.threshold(4096)  # as firmware/main.py does
with open(sys.argv.pop(1)) as boot:
    exec(boot.read(), {})
del boot
gc.collect()
__import__(sys.argv.pop(1))
