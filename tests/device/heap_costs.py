"""What each module of the street node takes of the heap when it is imported, and its objects.

Arguments as soak.py's. Prints JSON lines: {"module", "bytes"} for each import, where a module's
bytes are without those of the modules that it imports itself, and soak.py's own lines. Names are
in the costs of whoever brings them first, or makes their table grow.
"""

import builtins
import gc
import json
import sys

_import = builtins.__import__
_inner = [0]


def used():
    gc.collect()
    return gc.mem_alloc()


def measured_import(name, *rest):
    if name in sys.modules or not name.startswith(("firmware", "protocol", "umqtt", "soak")):
        return _import(name, *rest)
    before = used()
    _inner.append(0)
    try:
        return _import(name, *rest)
    finally:
        total = used() - before
        own = total - _inner.pop()
        _inner[-1] += total
        print(json.dumps({"module": name, "bytes": own}))


builtins.__import__ = measured_import
import soak  # noqa: E402, F401
