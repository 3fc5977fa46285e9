"""Times encoding and spooling on the VM, and counts flash erases of a month on a real littlefs.

Arguments: frame bytes, appends a day, days. Prints one JSON line.
"""

import json
import os
import sys
import time

from flash import Flash

from firmware.drops import Drops
from firmware.files import BoardFiles
from firmware.spool import Spool
from protocol import wire
from protocol.builder import FrameBuilder
from protocol.mac import Mac
from protocol.samples import Batch, Channel

BLOCKS = 512
MAC = Mac(b"k" * 32)
BUILDER = FrameBuilder(wire.FRAME_MAX, MAC)


def encode_us():
    """One DATA frame of 5 rows of 26 columns, authenticated."""
    batch = Batch([Channel(index + 1) for index in range(26)], 12)
    total = 0
    for turn in range(50):
        batch.start(0, 60000)
        for row in range(5):
            batch.add_row(60000 * row)
            for column in range(26):
                batch.put(column, 1000 + (row * 37 + column * 11 + turn) % 50)
        start = time.ticks_us()
        BUILDER.begin(wire.T_DATA, 1, 2, turn + 1)
        batch.encode(BUILDER)
        BUILDER.finish()
        total += time.ticks_diff(time.ticks_us(), start)
    return total // 50


def wear(frame_bytes, appends_a_day, days):
    """(us per append, erases a day, years of the block that is erased most)."""
    flash = Flash(BLOCKS)
    os.VfsLfs2.mkfs(flash)
    flash.erases = bytearray(4 * BLOCKS)
    os.mount(os.VfsLfs2(flash), "/flash")
    files = BoardFiles("/flash")
    spool = Spool(files, "spool", Drops(files, "drops"), lambda v: True, lambda b, s: False)
    spool.start()
    total = 0
    count = appends_a_day * days
    for seq in range(1, count + 1):
        BUILDER.begin(wire.T_DATA, 1, 2, seq)
        BUILDER.open(0x40)
        BUILDER.raw(bytes(frame_bytes - 27))
        BUILDER.close()
        length = BUILDER.finish()
        start = time.ticks_us()
        if not spool.append(BUILDER.view[:length]) or not spool.sync():
            raise OSError("flash full")
        total += time.ticks_diff(time.ticks_us(), start)
    erases = [flash.erases_of(block) for block in range(BLOCKS)]
    return total // count, sum(erases) / days, 100000 / (max(erases) / days) / 365


frame_bytes, appends_a_day, days = [int(word) for word in sys.argv[1:4]]
spool_us, erases_per_day, years = wear(frame_bytes, appends_a_day, days)
print(
    json.dumps(
        {
            "encode_us": encode_us(),
            "spool_us": spool_us,
            "erases_per_day": round(erases_per_day),
            "years": round(years),
        }
    )
)
