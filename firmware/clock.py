"""Time on the board: uptime that never wraps, and what it was in Unix time, with an error bound."""

from firmware.version import BUILT_S, LASTS_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.types import Hal

SOURCE_TIME = 1
SOURCE_RTC = 2
SOURCE_GPS = 3
SOURCE_NTP = 4

ROUND_TRIP_MAX_MS = 10_000
CRYSTAL_PPM = 50  # before any drift was measured
SLEEP_PPM = 20_000  # RC oscillator in deep sleep
DRIFT_SPAN_MS = 3_600_000  # a drift measured over less says nothing


class Clock:
    """Uptime in ms since the cold boot, and Unix time once a source has given it.

    The mapping is a line through the last setting; its error grows with the crystal's drift,
    measured between settings from the same source, and with what was slept.
    """

    def __init__(self, hal: "Hal", uptime_ms: int = 0) -> None:
        self._hal = hal
        # A simulated board may live before its firmware was written.
        self._built_s = getattr(hal, "built_s", BUILT_S)
        self._ticks = hal.ticks_ms()
        self._uptime = uptime_ms
        self.synchronised = False
        self.source = 0
        self.steps = 0  # settings that moved the clock by more than both errors
        self._unix_at = 0
        self._set_at = 0
        self._error_at = 0
        self._slept = 0
        self._drift_ppm = CRYSTAL_PPM
        self._beacons = [(-1, 0), (-1, 0)]  # (counter, uptime) of the last two LIVE
        self.changed = False  # set since the last CLOCK section was sent

    def uptime_ms(self) -> int:
        """Milliseconds since the cold boot. Call at least every six days, for ticks wrap."""
        ticks = self._hal.ticks_ms()
        passed = self._hal.ticks_diff(ticks, self._ticks)
        if passed > 0:
            self._uptime += passed
            self._ticks = ticks
        return self._uptime

    def advance(self, uptime_ms: int) -> None:
        """Go on from the uptime that a deep sleep began with."""
        self._uptime += uptime_ms

    def slept(self, duration_ms: int) -> None:
        """Count a deep sleep of so many ms (by the RC oscillator) into uptime and error."""
        self._uptime += duration_ms
        self._slept += duration_ms

    def unix_ms(self, uptime_ms: int) -> int:
        """Unix time of an uptime of this boot; 0 while the clock was never set."""
        if not self.synchronised:
            return 0
        return self._unix_at + uptime_ms - self._set_at

    def error_ms(self, uptime_ms: int) -> int:
        """Bound of the error of unix_ms: error when set, plus drift over the time since."""
        awake = abs(uptime_ms - self._set_at) - self._slept
        if awake < 0:
            awake = 0
        drifted = awake * self._drift_ppm + self._slept * SLEEP_PPM
        return self._error_at + drifted // 1_000_000

    def sent_beacon(self, counter: int, uptime_ms: int) -> None:
        """Remember a LIVE, so that its TIME can be checked."""
        self._beacons = [self._beacons[1], (counter, uptime_ms)]

    def apply_time(
        self, echo_uptime_ms: int, echo_counter: int, received_ms: int, sent_ms: int
    ) -> bool:
        """Set the clock from TIME; False when it echoes no recent LIVE or came too late.

        The collector's Unix times of receipt and sending bracket the answer, as in NTP; the error
        is the round trip less what the collector took.
        """
        if (echo_counter, echo_uptime_ms) not in self._beacons:
            return False
        now = self.uptime_ms()
        held = sent_ms - received_ms
        round_trip = now - echo_uptime_ms
        if held < 0 or round_trip > ROUND_TRIP_MAX_MS or held > round_trip + 1000:
            return False
        travel = max(0, round_trip - held)
        return self.set(sent_ms + travel // 2, now, travel, SOURCE_TIME)

    def set(self, unix_ms: int, uptime_ms: int, error_ms: int, source: int) -> bool:
        """Say that uptime_ms was unix_ms, give or take error_ms; False when it is not believed.

        No date before this firmware was built is, nor one that it does not live to see. A worse
        source does not replace a better holdover, nor contradict what the collector told. Steps
        backwards are taken like others: frames carry uptime, so nothing that was measured moves.
        """
        if not self._built_s <= unix_ms // 1000 <= self._built_s + LASTS_S:
            return False
        if self.synchronised:
            held_error = self.error_ms(uptime_ms)
            moved = unix_ms - self.unix_ms(uptime_ms)
            if source != SOURCE_TIME and error_ms >= held_error:
                return False
            if abs(moved) > held_error + error_ms:
                if self.source == SOURCE_TIME != source:
                    return False
                self.steps += 1
                self._drift_ppm = CRYSTAL_PPM
            else:
                self._measure_drift(moved, uptime_ms - self._set_at, error_ms + self._error_at)
        self._unix_at = unix_ms
        self._set_at = uptime_ms
        self._error_at = error_ms
        self._slept = 0
        self.synchronised = True
        self.source = source
        self.changed = True
        return True

    def holding_over(self, uptime_ms: int) -> bool:
        """True when the last setting is older than two hours or by another source than TIME."""
        return self.synchronised and (
            self.source != SOURCE_TIME or uptime_ms - self._set_at > 7_200_000
        )

    def state(self) -> "tuple[int, int, int, int, int]":
        """What deep sleep must keep: Unix ms, uptime of setting, error, slept ms, source."""
        return (self._unix_at, self._set_at, self._error_at, self._slept, self.source)

    def restore(self, state: "tuple[int, int, int, int, int]") -> None:
        """Take up the state() of before a deep sleep."""
        self._unix_at, self._set_at, self._error_at, self._slept, self.source = state
        self.synchronised = self._unix_at != 0

    def _measure_drift(self, moved_ms: int, span_ms: int, error_ms: int) -> None:
        if span_ms < DRIFT_SPAN_MS or self._slept:
            return
        bound = (abs(moved_ms) + error_ms) * 1_000_000 // span_ms + 1
        self._drift_ppm = min(CRYSTAL_PPM * 2, max(1, (self._drift_ppm + bound + 1) // 2))


def hear_clocks(clocks: "list[Any]", clock: Clock, now_ms: int) -> None:
    """Let sensors that know the time (take_time) set the node's clock; once a day the time that
    came from the collector sets those that keep it (set_time)."""
    for sensor in clocks:
        heard = sensor.take_time()
        if heard is not None:
            clock.set(heard[0], heard[1], heard[2], heard[3])
        if clock.synchronised and clock.source == SOURCE_TIME and hasattr(sensor, "set_time"):
            if sensor.wants_time(now_ms):
                sensor.set_time(clock.unix_ms(now_ms), now_ms)
