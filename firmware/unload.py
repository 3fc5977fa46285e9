"""Give back the memory of modules that only a start, or a rare request, needs."""

import gc
import sys


def unload(*names: str) -> None:
    """Forget modules by their full names; an import loads them anew.

    What still holds one of their functions or classes keeps that module's code. On CPython they
    stay, for there nothing is gained and tests compare classes by identity.
    """
    if sys.implementation.name != "micropython":
        return
    for name in names:
        if name in sys.modules:
            del sys.modules[name]
            parent, _, last = name.rpartition(".")
            if parent in sys.modules and hasattr(sys.modules[parent], last):
                delattr(sys.modules[parent], last)
    gc.collect()  # what comes next finds their room, in large pieces
