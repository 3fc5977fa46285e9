"""Time as the collector sees it: passed in everywhere, so that tests and simulations own it."""

import ctypes
import time
from typing import Literal, Protocol

Trust = Literal["kernel", "always", "never"]
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EARLIEST_UNIX_MS = 1_704_067_200_000
"""2024-01-01: no frame of this format is older, so a clock before it was never set."""
DATABLE_UNIX_MS = range(0, (1 << 63) // 1_000_000)
"""1970 to April 2262, what nanoseconds in 64 bits hold: any other number dates nothing."""

_TIME_ERROR = 5
_TIMEX_BYTES_MAX = 512


class Clock(Protocol):
    """Wall time, a time that never jumps, and whether the wall time can be believed."""

    def unix_ms(self) -> int:
        """Milliseconds since 1970 by the machine's clock, right or wrong."""

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary point; never steps while the process lives."""

    def synchronised(self) -> bool:
        """True while `unix_ms` follows a reference clock."""


class SystemClock:
    """The machine's clocks; `trust` says who decides whether the wall clock is right.

    "kernel" asks adjtimex, which chrony, ntpd and systemd-timesyncd keep up to date. "always" is
    for machines whose clock is kept by other means (a GPS, a hypervisor), "never" for those that
    have none. A clock before 2024 is never believed.
    """

    def __init__(self, trust: Trust = "kernel", check_interval_ms: int = 1_000) -> None:
        self._trust = trust
        self._check_interval_ms = check_interval_ms
        self._checked_ms = -check_interval_ms
        self._synchronised = False

    def unix_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds since boot of the machine."""
        return time.monotonic_ns() // 1_000_000

    def synchronised(self) -> bool:
        """Asks at most once a second, for this is called for every LIVE."""
        now_ms = self.monotonic_ms()
        if now_ms - self._checked_ms >= self._check_interval_ms:
            self._checked_ms = now_ms
            self._synchronised = self._ask()
        return self._synchronised

    def _ask(self) -> bool:
        if self._trust == "never" or self.unix_ms() < EARLIEST_UNIX_MS:
            return False
        return self._trust == "always" or kernel_synchronised()


def kernel_synchronised() -> bool:
    """True when adjtimex reports a disciplined clock; False where it cannot be asked.

    struct timex starts with an int `modes`; 0 there only reads.
    """
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return False
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES_MAX))
    return 0 <= state < _TIME_ERROR


class SteadyClock:
    """Doubts a clock that has just stepped, whatever it says of itself.

    A wall clock that moves against the monotonic one by more than `step_ms` was wrong before or is
    wrong now; for `settle_ms` afterwards it is not called synchronised, so that neither TIME nor
    the timeline rests on it.
    """

    def __init__(self, clock: Clock, step_ms: int = 1_000, settle_ms: int = 60_000) -> None:
        self._clock = clock
        self._step_ms = step_ms
        self._settle_ms = settle_ms
        self._offset_ms: int | None = None
        self._doubt_until_ms: int | None = None
        self.steps = 0

    def unix_ms(self) -> int:
        """Milliseconds since 1970 by the clock below."""
        return self._clock.unix_ms()

    def monotonic_ms(self) -> int:
        """Monotonic milliseconds of the clock below."""
        return self._clock.monotonic_ms()

    def synchronised(self) -> bool:
        """What the clock below says, unless it stepped lately."""
        now_ms = self._clock.monotonic_ms()
        offset_ms = self._clock.unix_ms() - now_ms
        if self._offset_ms is not None and abs(offset_ms - self._offset_ms) > self._step_ms:
            self.steps += 1
            self._doubt_until_ms = now_ms + self._settle_ms
        self._offset_ms = offset_ms
        if self._doubt_until_ms is not None:
            if now_ms < self._doubt_until_ms:
                return False
            self._doubt_until_ms = None
        return self._clock.synchronised()
