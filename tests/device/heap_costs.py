"""What each module of the street node takes of the heap when it is imported, and its objects.

Arguments as soak.py's. Prints JSON lines: {"module", "bytes"} for each import, where a module's
bytes are without those of the modules that it imports itself; {"stage", "bytes"} for what is in use
after a collection. The last is {"names", "slots", "name_bytes"}: interned strings, all told.
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


def main():
    start = used()
    print(json.dumps({"stage": "interpreter", "bytes": start}))
    builtins.__import__ = measured_import
    import soak

    soak.main()


main()
