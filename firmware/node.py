"""The node: one stepped loop from sensors to frames to flash to the link, and back."""

from firmware import health, reports
from firmware import identity as identities
from firmware.clock import SOURCE_TIME, Clock, hear_clocks
from firmware.downlink import Downlink
from firmware.link import Link
from firmware.live import Live
from firmware.outbox import Outbox
from firmware.rtc import SystemTime
from firmware.sampling import Grid, Sampler
from firmware.unload import unload
from firmware.version import VERSION
from protocol import quantity, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.power import Sleeper, Vitals
    from firmware.settings import Settings
    from firmware.slots import BuildTrial, Ended, Slots
    from firmware.types import Hal, Schedule, Transport

DEEPSLEEP_RESET = 4
HELLO_AFTER_MS = 60_000
CLOCK_EVERY_MS = 21_600_000
SYSTEM_TIME_EVERY_MS = 21_600_000
STEP_MAX_MS = 1_000
SAFE_MODE_MS = 3_600_000  # then sampling is tried again
BLINK_MS = 250
WARM_UP_S = 30
ANSWER_MS = 3_000  # what led to a restart is answered first
UPDATE_RECORD = "update"  # see update.py
ONLY_AT_START = ("firmware.sensors", "firmware.setting_rules")


class NotProvisioned(Exception):
    """The board has no identity: only the technician's tool can give it one."""


def load_sensors(
    board: "dict[str, Any]", hal: "Hal", now_ms: int, sleeps: bool = False
) -> "list[tuple[Any, int]]":
    """(sensor, instance) for each entry of board.json's "sensors".

    On a board that sleeps, dust sensors do too: option "warm_up_s" is 30 unless it is given.
    """
    from firmware import sensors

    found = []
    for entry in board.get("sensors", []):
        if sleeps and "warm_up_s" not in entry.get("options", {}):
            entry = dict(entry, options=dict(entry.get("options", {}), warm_up_s=WARM_UP_S))
        found.append((sensors.from_board(entry, hal, now_ms), entry.get("instance", 0)))
    sensors.link([sensor for sensor, _ in found])
    return found


class Node:
    """A board's whole behaviour over a Hal; start() once, then step() for ever.

    schedule gives the sampling instants (the default is a grid of sample_interval_s); sensors
    replaces those of the board's file. Raises NotProvisioned without an identity.
    """

    version = VERSION

    def __init__(
        self,
        hal: "Hal",
        board: "dict[str, Any]",
        settings: "Settings",
        schedule: "Schedule | None" = None,
        sensors: "list[tuple[Any, int]] | None" = None,
    ) -> None:
        identity = identities.load(hal.nvs)
        if identity is None:
            raise NotProvisioned("no identity: provision this board with osn-board")
        self.hal = hal
        self.board = board
        self.settings = settings
        self.identity = identity
        self.clock = Clock(hal)
        self.safe_mode = self._count_start()
        self.sensors: "list[tuple[Any, int]]" = []
        vitals = None
        self.sampler: "Sampler | None" = None
        if not self.safe_mode:  # before all else: nothing takes as much memory for a moment
            if sensors is None:
                sensors = load_sensors(board, hal, 0, settings["sleep"] == 1)
            self.sensors = sensors
            self._calibrate(settings["noise_calibration_cdb"])
            vitals = self._add_vitals()
        unload(*ONLY_AT_START)
        self.system_time = SystemTime(hal)
        self.outbox = Outbox(hal, identity, settings)
        self.downlink = Downlink(self)
        self.link = Link(self)
        if self.sensors:
            interval_ms = settings["sample_interval_s"] * 1000
            self.sampler = Sampler(
                self.sensors, schedule or Grid(interval_ms), interval_ms, settings["batch_rows"]
            )
        self._clocks = [sensor for sensor, _ in self.sensors if hasattr(sensor, "take_time")]
        self._guard_places()
        self.live = Live(self.sampler)
        self.sleeper: "Sleeper | None" = None
        if self.sampler is not None and vitals is not None:
            from firmware.power import Sleeper

            self.sleeper = Sleeper(self, vitals)
        self.deadlines = health.Deadlines()
        self.restart_wanted = False
        self._restart_at = 0
        self._identify_until = 0
        self._led: "Any" = None
        self._trial: "BuildTrial | Ended | None" = None
        self._good = False
        self._greeted = False
        self.hello_due = HELLO_AFTER_MS
        self._report_due = 0
        self._clock_due = 0
        self._system_time_due = 0
        self._silent_ms = 0
        self.configure()

    # --- life ---

    def start(self) -> None:
        """Take a boot number, find the spool, start sampling and the link.

        A wake from deep sleep goes on in the boot before, and opens the link for a report only.
        """
        woken = self.sleeper is not None and self.sleeper.wake()
        if not woken:
            identities.next_boot(self.hal.nvs, self.identity)
            self.outbox.start()
        now = self.clock.uptime_ms()
        if self.sampler is not None:
            self.sampler.start(now)
            self.deadlines.expect("sampling", self.sampler.interval_ms, now)
        self.deadlines.expect("spool", self.outbox.sync_ms, now)
        self.deadlines.expect("link", STEP_MAX_MS, now)
        self._report_due = now + self._report_ms
        self._greeted = woken
        self._take_up_update()
        self.system_time.start()
        if not woken:
            self.link.open(now)
            if self.sleeper is not None:
                self.sleeper.stay(now)
        unload("firmware.slots")

    def _count_start(self) -> bool:
        """Count a start that is no wake; whether there were so many that safe mode is due."""
        from firmware.slots import Slots

        nvs = self.hal.nvs
        if self.hal.reset_cause() == DEEPSLEEP_RESET:
            return False
        slots = Slots(self.hal)
        if slots.id and not slots.trial:  # the resets before were those of a build on trial
            health.set_starts(nvs, 0)
        return health.count_start(nvs) > health.QUICK_RESETS

    def _add_vitals(self) -> "Vitals | None":
        """For a board that sleeps: a sensor of its own awake time and charge."""
        if not self.settings["sleep"] or not self.sensors:
            return None
        from firmware.power import Vitals

        vitals = Vitals(self.board)
        pairs: "list[tuple[Any, int]]" = [(vitals, 0)]
        self.sensors = self.sensors + pairs
        return vitals

    def _guard_places(self) -> None:
        """Put a guard before every sensor that gives a position."""
        sampler = self.sampler
        if sampler is None:
            return
        for index, slot in enumerate(sampler.slots):
            if slot.sensor.CHANNELS[0][0] == quantity.LATITUDE:
                from firmware.places import PlaceSlot

                sampler.slots[index] = PlaceSlot(slot.sensor, sampler, slot.first, self)

    def _take_up_update(self) -> None:
        """A build on trial, a trial that failed, or a fetch that was interrupted."""
        from firmware.slots import take_up

        self._trial = take_up(self)
        for slot in (".0", ".1"):
            try:
                self.hal.files.stat(UPDATE_RECORD + slot)
            except OSError:
                continue
            from firmware import update

            update.resume(self)
            return

    def _calibrate(self, noise_cdb: int) -> None:
        """Give the unit's own constant to its meter: hundredths of a decibel, 0 for none."""
        if noise_cdb:
            for sensor, _ in self.sensors:
                if hasattr(sensor, "calibrate"):
                    sensor.calibrate(noise_cdb / 100)

    def configure(self) -> None:
        """Take over from the settings what may change while running."""
        settings = self.settings
        self._report_ms: int = settings["report_interval_s"] * 1000
        self._hello_ms: int = settings["hello_interval_s"] * 1000
        self._silent_ms = settings["silent_reboot_h"] * 3_600_000
        self.link.live_ms = settings["live_interval_s"] * 1000
        self.link.live_due = 0  # tell the revision at once
        self.outbox.sync_ms = settings["spool_sync_s"] * 1000

    def step(self) -> int:
        """Do what is due; ms until the next step is wanted, 0 to 1000."""
        now = self.clock.uptime_ms()
        wait = STEP_MAX_MS
        if self.sampler is not None:
            wait = min(wait, self.sampler.step(now))
            self.deadlines.met("sampling", self.sampler.last_ms)
            if self._clocks:
                hear_clocks(self._clocks, self.clock, now)
        if self.clock.synchronised and now >= self._system_time_due:
            self._system_time_due = now + SYSTEM_TIME_EVERY_MS
            sure = self.clock.source == SOURCE_TIME
            self.system_time.known(self.clock.unix_ms(now) // 1000, sure)
        self._report(now)
        if self.outbox.step(now):
            self.deadlines.met("spool", now)
        wait = min(wait, self.link.step(now))
        if not getattr(self.link.transport, "stuck", False):
            self.deadlines.met("link", now)
        self.downlink.step(now)
        if self._trial is not None and not self._trial.step(now):
            self._trial = None
        self._look_after(now)
        if self.sleeper is not None:
            self.sleeper.step(now)
        if self._identify_until:
            wait = min(wait, self._blink(now))
        return max(0, wait)

    @property
    def transport(self) -> "Transport | None":
        """The link's transport."""
        return self.link.transport

    # --- frames ---

    def _report(self, now: int) -> None:
        """Build DATA when the batch is full or due, HELLO when it is due."""
        if now >= self.hello_due or (self.link.connected and not self._greeted):
            self.hello(now)
        sampler = self.sampler
        if sampler is None or sampler.row_open or self.sleeper is not None:
            return
        if sampler.batch.full or now >= self._report_due:
            self._report_due = now + self._report_ms
            self.flush(now)

    def flush(self, now: int) -> None:
        """Put all rows of the batch into frames."""
        if self.sampler is None:
            return
        batch = self.sampler.batch
        while batch.rows:
            builder = self.outbox.begin(wire.T_DATA)
            if self.clock.synchronised and (self.clock.changed or now >= self._clock_due):
                reports.clock(builder, self.clock)
                self.clock.changed = False
                self._clock_due = now + CLOCK_EVERY_MS
            written = reports.samples(builder, batch)
            self.outbox.commit()
            batch.drop_rows(written)

    def hello(self, now: int) -> bool:
        """Build a HELLO; False when LOG and HELLO have had their share of the spool."""
        self._greeted = True
        self.hello_due = now + self._hello_ms
        builder = self.outbox.begin(wire.T_HELLO)
        board = self.board.get("board", "unknown")
        cause = self.hal.reset_cause()
        switch = identities.key_switch(self.hal.nvs)
        reports.info(builder, self.version, board, self.identity.uuid, cause, switch)
        reports.descriptors(builder, self.sensors)
        return self.outbox.commit(True, True)

    def log(self, line: str) -> None:
        """Tell people one line; dropped without a trace when LOG has had its share."""
        print(line)
        reports.text(self.outbox.begin(wire.T_LOG), line)
        self.outbox.commit(True)

    def result(self, type: int, id: int, code: int, status: int, data: bytes = b"") -> None:
        """Answer a COMMAND, CONFIG or UPDATE: somebody waits, so it goes ahead of the backlog."""
        reports.outcome(self.outbox.begin(wire.T_RESULT), type, id, code, status, data)
        self.outbox.commit(False, True)
        self.outbox.hurry()

    @property
    def on_trial(self) -> bool:
        """Whether this build still has to prove itself."""
        from firmware.slots import Slots

        return bool(Slots(self.hal).trial)

    def tell_update(self, slots: "Slots", good: bool) -> None:
        """Tell what became of the update on trial, with the version that runs; once, and surely."""
        status = wire.R_DONE if good else wire.R_FAILED
        self.result(wire.T_UPDATE, slots.id, 0, status, self.version.encode())
        self.outbox.sync()
        slots.told()

    # --- health ---

    def bus_errors(self) -> int:
        """Errors of all sensors' buses and checksums since start."""
        total = 0
        for sensor, _ in self.sensors:
            total += sensor.bus_errors + sensor.checksum_errors
        return total

    def rssi_dbm(self) -> "int | None":
        """Strength of the Wi-Fi signal; None without one."""
        measure = getattr(self.link.transport, "rssi_dbm", None)
        return measure() if measure else None

    def chip_temperature(self) -> "int | None":
        """Chip temperature in 0.1 degC; None where it cannot be told."""
        measure = getattr(self.hal, "chip_temperature", None)
        degrees = measure() if measure else None
        return None if degrees is None else degrees * 10

    def identify(self, until_ms: int) -> None:
        """Blink the LED until an uptime, so that a technician finds the board."""
        self._identify_until = until_ms

    def _blink(self, now: int) -> int:
        if self._led is None and "led" in self.board:
            self._led = self.hal.pin(self.board["led"])
        if now >= self._identify_until:
            self._identify_until = 0
        if self._led is not None:
            self._led.value(now // BLINK_MS & 1 if self._identify_until else 0)
        return BLINK_MS

    def restart(self) -> None:
        """Make everything durable and start the board anew."""
        self.flush(self.clock.uptime_ms())
        self.outbox.end()
        self.hal.reset()

    def _look_after(self, now: int) -> None:
        """Feed the watchdog while all is well; end quick-reset counting, silence and safe mode."""
        if not self.deadlines.overdue(now):
            self.hal.watchdog_feed()
        if not self._good and now >= health.GOOD_AFTER_MS and not self.safe_mode:
            self._good = True
            health.set_starts(self.hal.nvs, 0)
        if self.safe_mode and now >= SAFE_MODE_MS:
            health.set_starts(self.hal.nvs, health.QUICK_RESETS - 1)
            self.restart_wanted = True
        if self._silent_ms and now - max(0, self.downlink.ack_ms) >= self._silent_ms:
            self._silent_ms = 0
            self.restart_wanted = health.may_reboot_for_silence(self.hal.nvs)
        if self.restart_wanted and not self.outbox.spool.unsynced:
            if not self._restart_at:
                self._restart_at = now + (ANSWER_MS if self.link.connected else 0)
            if now >= self._restart_at:
                self.restart_wanted = False
                self.restart()
