"""The node: one stepped loop from sensors to frames to flash to the link, and back."""

from firmware import identity as identities
from firmware import reports
from firmware.clock import Clock
from firmware.downlink import Downlink
from firmware.drops import Drops
from firmware.sampling import Grid, Sampler
from firmware.spool import Spool
from firmware.uplink import Settled, Uplink
from protocol import mac as keys
from protocol import wire
from protocol.frame import FrameBuilder, open_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.settings import Settings
    from firmware.types import Hal, Schedule, Transport

SPOOL_FOLDER = "spool"
DROPS_FILE = "drops"
HELLO_AFTER_MS = 60_000
CLOCK_EVERY_MS = 21_600_000
STEP_MAX_MS = 1_000
LINK_POLL_MS = 100  # of a transport that names no POLL_MS of its own
SENDS_A_STEP = 4


class NotProvisioned(Exception):
    """The board has no identity: only the technician's tool can give it one."""


def load_sensors(board: "dict[str, Any]", hal: "Hal", now_ms: int) -> "list[tuple[Any, int]]":
    """(sensor, instance) for each entry of board.json's "sensors"."""
    from firmware import sensors

    return [
        (sensors.from_board(entry, hal, now_ms), entry.get("instance", 0))
        for entry in board.get("sensors", [])
    ]


class Node:
    """A board's whole behaviour over a Hal; start() once, then step() for ever.

    schedule gives the sampling instants (the default is a grid of sample_interval_s); sensors
    replaces those of the board's file. Raises NotProvisioned without an identity.
    """

    def __init__(
        self,
        hal: "Hal",
        board: "dict[str, Any]",
        settings: "Settings",
        schedule: "Schedule | None" = None,
        sensors: "list[tuple[Any, int]] | None" = None,
    ) -> None:
        self.hal = hal
        self.board = board
        self.settings = settings
        self.clock = Clock(hal)
        identity = identities.load(hal.nvs)
        if identity is None:
            raise NotProvisioned("no identity: provision this board with osn-board")
        self.identity = identity
        self._up = keys.Mac(keys.derive(identity.key, keys.UP))
        self.builder = FrameBuilder(wire.FRAME_MAX, self._up)
        self.drops = Drops(hal.files, DROPS_FILE)
        self.settled = Settled()
        self.spool = Spool(
            hal.files,
            SPOOL_FOLDER,
            self.drops,
            self._whole,
            self.settled.covers,
            settings["spool_bytes"],
        )
        self.uplink = Uplink(self.spool, self.settled, hal.random_bits, settings["window"])
        self.downlink = Downlink(self, keys.Mac(keys.derive(identity.key, keys.DOWN)))
        interval_ms = settings["sample_interval_s"] * 1000
        self._named = sensors
        self.sensors = load_sensors(board, hal, 0) if sensors is None else sensors
        self.sampler = Sampler(
            self.sensors, schedule or Grid(interval_ms), interval_ms, settings["batch_rows"]
        )
        self.transport: "Transport | None" = None
        self.safe_mode = False
        self.seq = 0  # of the last sequenced frame that was built
        self.issued = 0  # of the last one that is durable or held in RAM
        self.live_seq = 0
        self._connected = False
        self._live_due = 0
        self._hello_due = HELLO_AFTER_MS
        self._greeted = False
        self._report_due = 0
        self._sync_due = 0
        self._clock_due = 0

    # --- life ---

    def start(self) -> None:
        """Take a boot number, find the spool, start sampling and the link."""
        identities.next_boot(self.hal.nvs, self.identity)
        try:
            self.spool.start()
        except OSError:
            self.spool.failed = True
        now = self.clock.uptime_ms()
        self.sampler.start(now)
        self._report_due = now + self._report_ms()
        self.transport = self.hal.link(self.settings)
        self.transport.start(now)

    def step(self) -> int:
        """Do what is due; ms until the next step is wanted, 0 to 1000."""
        now = self.clock.uptime_ms()
        wait = min(STEP_MAX_MS, self.sampler.step(now))
        self._report(now)
        self._sync(now)
        wait = min(wait, self._link(now))
        self.hal.watchdog_feed()
        return max(0, wait)

    # --- building frames ---

    def _report_ms(self) -> int:
        interval: int = self.settings["report_interval_s"] * 1000
        return interval

    def _report(self, now: int) -> None:
        """Build DATA when the batch is full or due, HELLO when it is due."""
        if now >= self._hello_due or (self._connected and not self._greeted):
            self.hello(now)
        sampler = self.sampler
        if sampler.row_open or not (sampler.batch.full or now >= self._report_due):
            return
        self._report_due = now + self._report_ms()
        while sampler.batch.rows:
            self._begin(wire.T_DATA)
            if self.clock.synchronised and (self.clock.changed or now >= self._clock_due):
                reports.clock(self.builder, self.clock)
                self.clock.changed = False
                self._clock_due = now + CLOCK_EVERY_MS
            written = reports.samples(self.builder, sampler.batch)
            self._commit()
            sampler.batch.drop_rows(written)

    def hello(self, now: int) -> None:
        """Build a HELLO; it waits when LOG and HELLO have had their share of the spool."""
        self._greeted = True
        self._hello_due = now + self.settings["hello_interval_s"] * 1000
        self._begin(wire.T_HELLO)
        reports.info(
            self.builder,
            self.board.get("board", "unknown"),
            self.identity.uuid,
            self.hal.reset_cause(),
        )
        channels = self.sampler.channels
        models = []
        for sensor, _ in self.sensors:
            models += [getattr(sensor, "MODEL", 0)] * len(sensor.CHANNELS)
        reports.descriptors(self.builder, channels, models, [""] * len(channels))
        self._commit(True)

    def log(self, line: str) -> None:
        """Tell people one line; dropped without a trace when LOG has had its share."""
        self._begin(wire.T_LOG)
        reports.text(self.builder, line)
        self._commit(True)

    def result(self, type: int, id: int, code: int, status: int, data: bytes = b"") -> None:
        """Answer a COMMAND, CONFIG or UPDATE."""
        self._begin(wire.T_RESULT)
        reports.outcome(self.builder, type, id, code, status, data)
        self._commit()

    def _begin(self, type: int) -> None:
        self.builder.begin(type, self.identity.node, self.identity.boot, self.seq + 1)

    def _commit(self, small: bool = False) -> None:
        """Finish the frame in the builder and put it into the spool, else into RAM."""
        length = self.builder.finish()
        frame = self.builder.view[:length]
        if small and not self.spool.room_for(2 + length):
            return
        self.seq += 1
        if self.spool.append(frame):
            return
        self.issued = self.seq
        lost = self.uplink.hold(bytes(frame), self.identity.boot, self.seq)
        if lost is not None:
            self.drops.count(wire.DROP_UNWRITABLE, 1, lost[0], lost[1])

    def _sync(self, now: int) -> None:
        """Make appended frames durable, at most once in spool_sync_s on average."""
        if not self.spool.unsynced or now < self._sync_due:
            return
        self._sync_due = now + self.settings["spool_sync_s"] * 1000
        self.spool.sync()
        self.issued = self.seq

    def _whole(self, frame: memoryview) -> bool:
        """Whether a frame's trailer holds under this board's key."""
        try:
            open_frame(frame, self._up)
        except wire.FrameError:
            return False
        return True

    # --- the link ---

    def _link(self, now: int) -> int:
        """Carry frames both ways; ms until the link wants to be served again."""
        transport = self.transport
        if transport is None:
            return STEP_MAX_MS
        transport.poll(now)
        if transport.connected != self._connected:
            self._connected = transport.connected
            if self._connected:
                self.uplink.connected(now)
                self._live_due = now
        if not self._connected:
            return getattr(transport, "POLL_MS", LINK_POLL_MS)
        self._receive(transport, now)
        if now >= self._live_due or self.drops.fresh:
            self._send_live(transport, now)
        for _ in range(SENDS_A_STEP):
            frame = self.uplink.next(now)
            if frame is None:
                poll_ms = getattr(transport, "POLL_MS", LINK_POLL_MS)
                return min(poll_ms, self._live_due - now, max(1, self.uplink.wait_ms(now)))
            if not transport.send(frame):
                return 20
            self.uplink.mark_sent(now)
        return 0

    def _receive(self, transport: "Transport", now: int) -> None:
        heard = False
        for _ in range(SENDS_A_STEP):
            frame = transport.receive()
            if frame is None:
                break
            heard = self.downlink.take(frame, now) or heard
        if heard:
            self.uplink.settle()

    def _send_live(self, transport: "Transport", now: int) -> None:
        self._live_due = now + self.settings["live_interval_s"] * 1000
        self.drops.fresh = False
        self.live_seq += 1
        self.builder.begin(wire.T_LIVE, self.identity.node, self.identity.boot, self.live_seq)
        uptime = self.clock.uptime_ms()
        reports.state(
            self.builder,
            uptime,
            self.downlink.seq,
            self.settings["revision"],
            self.downlink.collector,
            self._flags(uptime),
            self._boots(),
            self.spool.unlisted,
            self.drops.counts,
        )
        length = self.builder.finish()
        if transport.send(self.builder.view[:length]):
            self.clock.sent_beacon(self.live_seq, uptime)

    def _flags(self, now: int) -> int:
        flags = wire.STATE_NO_SPOOL if self.spool.failed else 0
        if self.safe_mode:
            flags |= wire.STATE_SAFE_MODE
        if self.clock.holding_over(now):
            flags |= wire.STATE_CLOCK_HELD
        return flags

    def _boots(self) -> "list[list[int]]":
        """[boot, lowest kept, highest issued] of all boots that the collector must know of."""
        boot = self.identity.boot
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
        for left, highest in self.drops.left:
            if left != boot and not any(entry[0] == left for entry in boots):
                boots.append([left, highest + 1, highest])
        boots.sort()
        boots = boots[: wire.BOOTS_MAX - 1]
        boots.append([boot, lowest, self.issued])
        return boots
