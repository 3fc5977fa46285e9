"""Frames of this boot: numbered once, put into flash, or into RAM while flash cannot be written."""

from firmware.drops import Drops
from firmware.spool import Spool
from firmware.uplink import Settled, Uplink
from protocol import mac as keys
from protocol import wire
from protocol.builder import FrameBuilder
from protocol.frame import open_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.identity import Identity
    from firmware.settings import Settings
    from firmware.types import Hal

SPOOL_FOLDER = "spool"
DROPS_FILE = "drops"
SAVE_AGAIN_MS = 10_000


class Outbox:
    """One frame is under construction at a time, in builder: begin(), fill it, commit().

    Between frames the uplink reads those to send into the builder's buffer.

    sync_ms: appended frames are made durable together, at most once in so many milliseconds.
    """

    def __init__(self, hal: "Hal", identity: "Identity", settings: "Settings") -> None:
        self._identity = identity
        self._mac = keys.Mac(keys.derive(identity.key, keys.UP))
        self.builder = FrameBuilder(wire.FRAME_MAX, self._mac)
        self.drops = Drops(hal.files, DROPS_FILE, hal.nvs)
        self.settled = Settled()
        self.spool = Spool(
            hal.files,
            SPOOL_FOLDER,
            self.drops,
            self._whole,
            self.settled.covers,
            settings["spool_bytes"],
        )
        self.uplink = Uplink(
            self.spool, self.settled, hal.random_bits, self.builder.view, settings["window"]
        )
        self.sync_ms = 0
        self._sync_due = 0
        self._save_due = 0
        self._started = False
        self.seq = 0  # of the last frame that was numbered
        self.issued = 0  # of the last one that is durable, or held in RAM

    def resume(self, seq: int) -> None:
        """Go on numbering after seq; what is in flash is found when it is needed."""
        self.seq = self.issued = seq

    def start(self) -> None:
        """Find what is in flash, once; while it cannot be read, with each frame again."""
        if self._started:
            return
        try:
            if not self.drops.known:
                self.drops.load()
            self.spool.start()
            self._started = True
        except OSError:
            self.spool.failed = True
            self.spool.unlisted = 1

    def begin(self, type: int) -> FrameBuilder:
        """Start a sequenced frame."""
        self.start()
        self.builder.begin(type, self._identity.node, self._identity.boot, self.seq + 1)
        return self.builder

    def commit(self, small: bool = False, ahead: bool = False) -> bool:
        """Finish the frame: into flash, else into RAM. One that goes ahead does not queue.

        False for a small one (LOG, HELLO) that would take more than its share: it never was.
        """
        length = self.builder.finish()
        frame = self.builder.view[:length]
        if small and not self.spool.room_for(2 + length):
            return False
        self.seq += 1
        boot, spool = self._identity.boot, self.spool
        if spool.append(frame, small):
            if ahead:
                self.uplink.ahead(boot, self.seq, spool.last, spool.written - 2 - length)
            return True
        self.uplink.forget_ahead()
        self.issued = self.seq
        evicted = self.uplink.hold(bytes(frame), boot, self.seq)
        if ahead:
            self.uplink.ahead(boot, self.seq, -1, 0)
        if evicted is not None:
            self.drops.count(wire.DROP_UNWRITABLE, 1, evicted[0], evicted[1])
        return True

    def step(self, now: int) -> bool:
        """Make durable what is due; False when it is overdue."""
        if self.spool.unsynced and now >= self._sync_due:
            self._sync_due = now + self.sync_ms
            self.sync()
        if self.drops.unsaved and now >= self._save_due:
            self._save_due = now + SAVE_AGAIN_MS
            self.drops.try_save()
        return not self.spool.unsynced or now < self._sync_due + self.sync_ms

    def hurry(self) -> None:
        """Make durable what was appended with the next step."""
        self._sync_due = 0

    def sync(self) -> None:
        """Make all appended frames durable now; what flash does not take is counted as dropped."""
        if not self.spool.sync():
            self.uplink.forget_ahead()
        self.issued = self.seq

    def end(self) -> None:
        """Before a reset or deep sleep: sync(), and count as dropped what only RAM holds."""
        self.sync()
        held = self.uplink.forget_held()
        if held:
            self.drops.count(wire.DROP_UNWRITABLE, held, self._identity.boot, self.issued)

    def drop_all(self) -> int:
        """Drop every frame that is kept, counted as an operator's wish. Raises OSError."""
        self.sync()
        frames = self.spool.clear(wire.DROP_COMMAND)
        held = self.uplink.forget_all()
        if held:
            self.drops.count(wire.DROP_COMMAND, held, self._identity.boot, self.issued)
        return frames + held

    def boots(self) -> "list[list[int]]":
        """[boot, lowest kept, highest issued] of all boots that the collector must know of."""
        boot = self._identity.boot
        lowest = self.issued + 1
        boots = []
        for entry in self.spool.boots:
            if entry[0] == boot:
                lowest = entry[1]
            else:
                boots.append(list(entry))
        in_ram = self.uplink.kept_from(boot)
        if in_ram:
            lowest = min(lowest, in_ram)
        if not self.drops.known:  # nor can it be told yet how many were dropped
            lowest = 1
        for left, highest in self.drops.left:
            if left != boot and not any(entry[0] == left for entry in boots):
                boots.append([left, highest + 1, highest])
        boots.sort()
        boots = boots[: wire.BOOTS_MAX - 1]
        boots.append([boot, lowest, self.issued])
        return boots

    def _whole(self, frame: memoryview) -> bool:
        """Whether a frame's trailer holds under this board's key."""
        try:
            open_frame(frame, self._mac)
        except wire.FrameError:
            return False
        return True
