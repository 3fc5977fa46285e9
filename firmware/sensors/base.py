"""What every driver shares: one generator of work at a time, a deadline, back-off, quality flags.

A driver writes two generators, setup() and measure(), that yield how many milliseconds they want to
wait. They never block, raise OSError when the bus or the sensor fails, and measure() ends after it
called put() for its channels. Times are uptime in ms; they only grow.
"""

from protocol.wire import Q_ABOVE, Q_BELOW, Q_MISSING, Q_OK, Q_SUSPECT, Q_WARMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.sensors.bus import Entry, Hal, Options, Row, Work

RETRY_FIRST_MS = 1000
RETRY_LAST_MS = 300000


def idle() -> "Work":
    """Work that is done at once: the setup of a sensor that needs none."""
    return
    yield 0


def range_quality(value: int, low: int, high: int) -> int:
    """Quality of a value whose sensor can give low..high."""
    if value < low:
        return Q_BELOW
    return Q_ABOVE if value > high else Q_OK


def first_flag(first: int, second: int) -> int:
    """The flag to keep when two apply: the first, unless it is ok."""
    return second if first == Q_OK else first


def bus_of(entry: "Entry", hal: "Hal") -> "Any":
    """The bus that a board entry names, such as "uart:pms" or "i2c:main"."""
    kind, name = entry["bus"].split(":")
    return hal.uart(name) if kind == "uart" else hal.i2c(name)


class Sensor:
    """Base of the drivers. begin() LEAD_MS before the instant, poll() until ready, then read().

    CHANNELS are (quantity id, exponent or None for the registry's). From the instant on, ready
    comes within ANSWER_MS: a sensor that has not answered by then is read as missing.
    EAGER: setup is so short that it is tried at every instant, without back-off.
    """

    CHANNELS: "tuple[tuple[int, int | None], ...]" = ()
    MODEL = 0
    LEAD_MS = 0
    ANSWER_MS = 500
    WARM_UP_MS = 0
    EAGER = True

    def __init__(self, bus: "Any", options: "Options", now_ms: int = 0) -> None:
        self.bus = bus
        self.options = options
        self.now_ms = now_ms
        self.warm_ms = now_ms + self.WARM_UP_MS
        self.ready = False
        self.configured = False
        self.bus_errors = 0
        self.checksum_errors = 0
        self.failures = 0
        self.values = [0] * len(self.CHANNELS)
        self.qualities = bytearray([Q_MISSING] * len(self.CHANNELS))
        self._wanted = False
        self._deadline_ms = 0
        self._retry_ms = now_ms
        self._due_ms = now_ms
        self._measuring = False
        self._fingerprint: "Any" = None
        self._repeats = 0
        self._task: "Work | None" = self.setup()

    def setup(self) -> "Work":
        """Bring the sensor from power-on, or from nobody knows where, to its mode."""
        return idle()

    def measure(self) -> "Work":
        """Get one set of values and put() them."""
        return idle()

    def begin(self, now_ms: int) -> None:
        """Ask for values; the instant is LEAD_MS from now."""
        self.now_ms = now_ms
        self.ready = False
        self._wanted = True
        self._deadline_ms = now_ms + self.LEAD_MS + self.ANSWER_MS
        if self._task is None:
            if self.configured or self.EAGER or now_ms >= self._retry_ms:
                self._launch(self.configured)
            else:
                self._finish_missing()

    def poll(self, now_ms: int) -> int:
        """Do what is due; returns ms until there is more to do, -1 when there is nothing."""
        self.now_ms = now_ms
        if self._wanted and now_ms > self._deadline_ms:
            self._give_up()
        if self._task is None and not self.configured and now_ms >= self._retry_ms:
            self._launch(False)
        while self._task is not None and now_ms >= self._due_ms:
            self._step(self._task)
        if self._task is not None:
            return self._due_ms - now_ms
        return -1 if self.configured else self._retry_ms - now_ms

    def read(self, row: "Row") -> None:
        """Give each channel's value and quality to row.put(index, value, quality)."""
        for index in range(len(self.values)):
            row.put(index, self.values[index], self.qualities[index])
        self.ready = False

    def put(self, index: int, value: int, quality: int) -> None:
        """Keep a channel's value; a missing one repeats the value before."""
        if quality != Q_MISSING:
            self.values[index] = value
        self.qualities[index] = quality

    def fresh(self, quantity: int) -> "int | None":
        """The last value of a quantity of this sensor; None unless it was right."""
        for index in range(len(self.values)):
            if self.CHANNELS[index][0] == quantity and self.qualities[index] == Q_OK:
                return self.values[index]
        return None

    def flag_all(self, quality: int) -> None:
        """Give all channels this quality; their values stay."""
        for index in range(len(self.qualities)):
            self.qualities[index] = quality

    def done(self) -> None:
        """The values are there: hand them over when they were asked for."""
        self.failures = 0
        self.ready = self.ready or self._wanted
        self._wanted = False

    def warming(self) -> int:
        """Quality of what is measured now: ok once the warm-up is over."""
        return Q_WARMING if self.now_ms < self.warm_ms else Q_OK

    def stuck(self, fingerprint: "Any", limit: int) -> int:
        """Suspect for a reading that came `limit` times in a row without the least change."""
        if fingerprint == self._fingerprint:
            self._repeats += 1
        else:
            self._fingerprint = fingerprint
            self._repeats = 1
        return Q_SUSPECT if self._repeats >= limit else Q_OK

    def _launch(self, measuring: bool) -> None:
        self._measuring = measuring
        self._task = self.measure() if measuring else self.setup()
        self._due_ms = self.now_ms

    def _step(self, task: "Work") -> None:
        try:
            self._due_ms = self.now_ms + next(task)
        except StopIteration:
            self._task = None
            if self._measuring:
                self.done()
            else:
                self.configured = True
                if self._wanted:
                    self._launch(True)
        except OSError:
            self.bus_errors += 1
            self._fail()

    def _give_up(self) -> None:
        if self._measuring and self._task is not None:
            self._task.close()
            self.bus_errors += 1
            self._fail()
        else:
            self._finish_missing()

    def _fail(self) -> None:
        self._task = None
        self.configured = False
        shift = self.failures if self.failures < 10 else 10
        self._retry_ms = self.now_ms + min(RETRY_FIRST_MS << shift, RETRY_LAST_MS)
        self.failures += 1
        if self._wanted:
            self._finish_missing()

    def _finish_missing(self) -> None:
        self.flag_all(Q_MISSING)
        self._wanted = False
        self.ready = True
