"""Writes a spool on a real littlefs, cuts the power at many operations, and checks what is left.

Arguments: first cut, step between cuts. Prints one line with the number of cuts, or raises.
"""

import os
import sys

from flash import Flash

from firmware.drops import Drops
from firmware.files import BoardFiles
from firmware.spool import Spool
from protocol import wire
from protocol.builder import FrameBuilder
from protocol.frame import open_frame, parse_header
from protocol.mac import Mac

BLOCKS = 64
SEGMENT_BYTES = 8192
LIMIT_BYTES = 4 * SEGMENT_BYTES
MAC = Mac(b"k" * 32)
BUILDER = FrameBuilder(wire.FRAME_MAX, MAC)
BUFFER = memoryview(bytearray(wire.FRAME_MAX))


def frame(boot, seq):
    BUILDER.begin(wire.T_DATA, 1, boot, seq)
    BUILDER.open(0x40)
    BUILDER.raw(bytes([seq & 255]) * 900)
    BUILDER.close()
    return BUILDER.view[: BUILDER.finish()]


def whole(view):
    try:
        open_frame(view, MAC)
    except wire.FrameError:
        return False
    return True


def make_spool():
    files = BoardFiles("/flash")
    drops = Drops(files, "drops")
    return Spool(files, "spool", drops, whole, lambda b, s: False, LIMIT_BYTES, SEGMENT_BYTES, 4)


def contents(spool):
    found = []
    position = [0, 0]
    while True:
        length = spool.read(position, BUFFER)
        if not length:
            return found
        _, _, _, _, boot, seq = parse_header(BUFFER[:length])
        if BUFFER[19] != seq & 255:
            raise AssertionError("frame %d has other content" % seq)
        found.append((boot, seq))
        position[1] += 2 + length


def story(flash, durable):
    for boot in (5, 6):
        spool = make_spool()
        spool.start()
        for seq in range(1, 31):
            if not spool.append(frame(boot, seq)):
                return
            if not spool.sync() or flash.dead:
                return
            durable.append((boot, seq))


def mount(flash):
    os.mount(os.VfsLfs2(flash), "/flash")


def play(cut_at):
    """One life with a cut; True when the power went before the story was over."""
    flash = Flash(BLOCKS)
    os.VfsLfs2.mkfs(flash)
    flash.operations = 0
    flash.cut_at = cut_at
    durable = []
    mount(flash)
    try:
        story(flash, durable)
    except OSError:
        pass
    os.umount("/flash")
    if not flash.dead:
        return False
    mount(Flash(BLOCKS, flash.data))
    spool = make_spool()
    spool.start()
    found = contents(spool)
    dropped = Drops(BoardFiles("/flash"), "drops").counts[wire.DROP_SPOOL_FULL - 1]
    missing = [name for name in durable if name not in found]
    if len(missing) > dropped:
        raise AssertionError("cut %d: %s missing, %d counted" % (cut_at, missing, dropped))
    if found != sorted(found) or len(set(found)) != len(found):
        raise AssertionError("cut %d: out of order" % cut_at)
    if not spool.append(frame(200, 1)) or not spool.sync():
        raise AssertionError("cut %d: cannot be written" % cut_at)
    os.umount("/flash")
    return True


cut_at = int(sys.argv[1])
cuts = 0
while play(cut_at):
    cuts += 1
    cut_at += int(sys.argv[2])
print(cuts, "cuts up to operation", cut_at)
