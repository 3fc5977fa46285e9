"""Rows and encoding under a locked heap, on MicroPython: argv[1] is the vectors' folder.

Each recipe whose numbers are below 2**28 is put and encoded without a single allocation.
"""

import gc
import json
import sys

import micropython

from protocol.builder import FrameBuilder
from protocol.mac import Mac
from protocol.samples import Batch, Channel

LIMIT = 1 << 28


def small(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, dict):
        return all(small(each) for each in value["bands"])
    if isinstance(value, list):
        return value[0] is None or small(value[0])
    return -LIMIT < value < LIMIT


def fill(batch: Batch, rows: list) -> None:
    """Put rows; without for loops over tuples, which would allocate in the test itself."""
    row = 0
    while row < len(rows):
        batch.add_row(rows[row][0])
        values = rows[row][1]
        column = 0
        while column < len(values):
            value = values[column]
            if isinstance(value, dict):
                batch.put_vector(column, value["bands"], value["quality"])
            elif isinstance(value, list):
                batch.put(column, value[0], value[1])
            else:
                batch.put(column, value)
            column += 1
        row += 1


def locked(batch: Batch, builder: FrameBuilder, rows: list) -> int:
    """Bytes of all frames; raises MemoryError when anything allocates."""
    fill(batch, rows)
    total = 0
    while batch.rows:
        builder.pos = 16
        batch.drop_rows(batch.encode(builder))
        total += builder.pos
    return total


def main() -> None:
    with open(sys.argv[1] + "/samples.json") as file:
        recipes = json.load(file)["recipes"]
    done = 0
    failed = 0
    for vector in recipes:
        rows = vector["rows"]
        if not all(small(value) for _, row in rows for value in row) or rows[-1][0] >= LIMIT:
            continue
        for _, row in rows:
            for value in row:
                if isinstance(value, dict) and "quality" not in value:
                    value["quality"] = 0
        batch = Batch([Channel(*channel) for channel in vector["channels"]], len(rows))
        batch.start(rows[0][0], vector["period_ms"])
        builder = FrameBuilder(vector["size"], Mac(bytes(32)))
        builder.begin(1, 1, 1, 1)
        total = 0
        gc.collect()
        micropython.heap_lock()
        try:
            total = locked(batch, builder, rows)
        except MemoryError:
            failed += 1
        micropython.heap_unlock()
        done += 1
        if total == 0:
            print("FAIL", vector["name"], "allocates")
    print("failed", failed, "of", done)


main()
