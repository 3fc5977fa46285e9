"""Sampling: sensors are asked at the scheduled instants, and their answers fill a batch's rows."""

from protocol.samples import Batch, Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.live import Live
    from firmware.power import Sleeper
    from firmware.types import Schedule

_IDLE, _BEGUN, _READ = 0, 1, 2
ANSWER_MS = 2_000  # for sensors that do not say how long they take
SPARE_MS = 1_000
LATE_MS = 60_000  # an instant longer ago than this is counted as missed


class Grid:
    """Instants at whole multiples of interval_ms of uptime."""

    def __init__(self, interval_ms: int) -> None:
        self.interval_ms = interval_ms

    def next_ms(self, after_uptime_ms: int) -> int:
        """The first instant later than after_uptime_ms."""
        return (after_uptime_ms // self.interval_ms + 1) * self.interval_ms


class Slot:
    """One sensor's place: its columns from first, and how far it is with the open instant.

    It is the row that the sensor's read() writes into.
    """

    def __init__(self, sensor: "Any", sampler: "Sampler", first: int) -> None:
        self.sensor = sensor
        self.first = first
        self.sampler = sampler
        self.state = _IDLE
        self.faults = 0  # times that the driver raised what it should not have
        self.lead_ms = getattr(sensor, "LEAD_MS", 0)
        self.answer_ms = getattr(sensor, "ANSWER_MS", ANSWER_MS)

    def poll(self, now_ms: int, instant_ms: int) -> int:
        """Begin the sensor when its time has come, and poll it; ms until it wants the next poll.

        A driver that raises loses this instant, and nothing else does.
        """
        try:
            if self.state == _IDLE and now_ms >= instant_ms - self.lead_ms:
                self.state = _BEGUN
                self.sensor.begin(now_ms)
            wait: int = self.sensor.poll(now_ms)
        except Exception as fault:
            self._failed(fault)
            wait = -1
        return wait

    def read(self) -> None:
        """Take over the values of a sensor that is ready."""
        self.state = _READ
        try:
            self.sensor.read(self)
        except Exception as fault:
            self._failed(fault)

    def _failed(self, fault: Exception) -> None:
        self.faults += 1
        if self.faults == 1:
            print("sensor", type(self.sensor).__name__, "raised", type(fault).__name__, fault)

    def put(self, channel: int, value: "int | None", quality: int = 0) -> None:
        """Set a scalar channel's value."""
        sampler = self.sampler
        sampler.batch.put(self.first + channel, value, quality)
        if sampler.live is not None:
            sampler.live.put(sampler.live_columns[self.first + channel], value, quality)

    def put_vector(self, channel: int, values: "Any", quality: int = 0) -> None:
        """Set a vector channel's values."""
        self.sampler.batch.put_vector(self.first + channel, values, quality)


def channels_of(sensors: "list[tuple[Any, int]]") -> "list[Channel]":
    """The columns of (sensor, instance) pairs, in order.

    A sensor's CHANNELS are (quantity, exponent[, bands, first band]).
    """
    channels = []
    for sensor, instance in sensors:
        for entry in sensor.CHANNELS:
            bands = entry[2] if len(entry) > 2 else 0
            first_band = entry[3] if len(entry) > 3 else 0
            channels.append(Channel(entry[0], instance, entry[1], bands, first_band))
    return channels


def _scalar_columns(channels: "list[Channel]") -> bytes:
    """For each channel its place among the scalar ones; 255 for a vector."""
    columns = bytearray()
    scalars = 0
    for channel in channels:
        columns.append(255 if channel.bands else scalars)
        scalars += 0 if channel.bands else 1
    return bytes(columns)


class Sampler:
    """Runs the sensors of one sampling interval and keeps the batch of their rows.

    A sample's time is its scheduled instant, also when the sensor answers later. What has not
    answered by the deadline stays missing; the others are not held up.
    """

    def __init__(
        self,
        sensors: "list[tuple[Any, int]]",
        schedule: "Schedule",
        interval_ms: int,
        rows_max: int,
    ) -> None:
        self._sensors = sensors
        channels = self.channels
        self.batch = Batch(channels, rows_max)
        self.slots = []
        first = 0
        for sensor, _ in sensors:
            self.slots.append(Slot(sensor, self, first))
            first += len(sensor.CHANNELS)
        self._schedule = schedule
        self.interval_ms = interval_ms
        self.live: "Live | Sleeper | None" = None
        self.live_columns = _scalar_columns(channels)
        self._instant = -1
        self._row_open = False
        self._deadline = 0
        self.missed = 0  # instants that passed while the loop did not run
        self.rows = 0  # rows closed since start
        self.last_ms = 0  # uptime when a row was last closed

    @property
    def channels(self) -> "list[Channel]":
        """The batch's columns, made anew: they are many, and only needed at the start."""
        return channels_of(self._sensors)

    def start(self, now_ms: int) -> None:
        """Take up the schedule from now."""
        self._instant = self._schedule.next_ms(now_ms)
        self.last_ms = now_ms

    def next_instant(self, after_ms: int) -> int:
        """The first scheduled instant after an uptime."""
        return self._schedule.next_ms(after_ms)

    @property
    def row_open(self) -> bool:
        """Whether a row still waits for answers: the batch must not be encoded."""
        return self._row_open

    def step(self, now_ms: int) -> int:
        """Poll the sensors and run the open instant; ms until it wants to run again."""
        wait = 1_000
        for slot in self.slots:
            wanted = slot.poll(now_ms, self._instant)
            if 0 <= wanted < wait:
                wait = wanted
        if now_ms >= self._instant:
            if not self._row_open:
                self._open(now_ms)
            self._collect(now_ms)
            if self._row_open:
                return min(wait, 20, max(0, self._deadline - now_ms))
        for slot in self.slots:
            if slot.state == _IDLE:
                wait = min(wait, max(0, self._instant - slot.lead_ms - now_ms))
        return max(0, min(wait, self._instant - now_ms))

    def _open(self, now_ms: int) -> None:
        """Open the row of the instant, or skip instants that are long past."""
        if now_ms - self._instant > max(LATE_MS, self.interval_ms):
            behind = now_ms - self.interval_ms
            while self._instant < behind:
                self.missed += 1
                self._instant = self._schedule.next_ms(self._instant)
            if now_ms < self._instant:
                return
        if self.batch.rows == 0:
            self.batch.start(self._instant, self.interval_ms)
        if self.batch.add_row(self._instant) < 0:
            self.missed += 1
            self._close(now_ms)
            return
        self._row_open = True
        if self.live is not None:
            self.live.open_row(self._instant)
        longest = 0
        for slot in self.slots:
            longest = max(longest, slot.answer_ms)
        following = self._schedule.next_ms(self._instant)
        self._deadline = min(self._instant + longest + SPARE_MS, max(following, now_ms + 20))

    def _collect(self, now_ms: int) -> None:
        """Read what is ready; close the row when all are read or the deadline is over."""
        if not self._row_open:
            return
        waiting = False
        for slot in self.slots:
            if slot.state == _BEGUN:
                if slot.sensor.ready:
                    slot.read()
                else:
                    waiting = True
        if not waiting or now_ms >= self._deadline:
            self._close(now_ms)

    def _close(self, now_ms: int) -> None:
        if self._row_open:
            self.rows += 1
        self._row_open = False
        self.last_ms = now_ms
        self._instant = self._schedule.next_ms(self._instant)
        for slot in self.slots:
            slot.state = _IDLE
