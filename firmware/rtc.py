"""The system's clock, by which TLS judges the dates of certificates.

A board wakes in the year 2000, when no certificate is valid yet; without TLS nobody tells it the
time. So it begins with the latest time that it kept, and as long as the broker's certificate
"starts in the future" it moves on from there.
"""

from struct import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import Hal

KEY = "time"  # in NVS: u32, Unix time in s
EARLIEST_S = 1_767_225_600  # 2026-01-01: this firmware is not older
KEEP_EVERY_S = 86_400
STEP_S = 2_592_000  # 30 days
REACH_S = 94_608_000  # three years; then it begins anew


class SystemTime:
    """Sets the clock from a guess, until known() tells the true time."""

    def __init__(self, hal: "Hal") -> None:
        self._hal = hal
        self._kept_s = self._load()
        self._guess_s = 0  # 0: the time is known

    def start(self) -> None:
        """Begin with the guess."""
        self._guess(max(EARLIEST_S, self._kept_s))

    def known(self, unix_s: int) -> None:
        """Set the true time, and keep it once a day for the next start."""
        self._guess_s = 0
        self._hal.set_rtc(unix_s)
        if abs(unix_s - self._kept_s) < KEEP_EVERY_S:
            return
        self._kept_s = unix_s
        try:
            self._hal.nvs.set_blob(KEY, pack("<I", unix_s))
            self._hal.nvs.commit()
        except OSError:
            pass

    def move_on(self) -> None:
        """A certificate is not valid yet: guess later, unless the time is known."""
        if not self._guess_s:
            return
        start_s = max(EARLIEST_S, self._kept_s)
        later_s = self._guess_s + STEP_S
        self._guess(later_s if later_s - start_s <= REACH_S else start_s)

    def _guess(self, unix_s: int) -> None:
        self._guess_s = unix_s
        self._hal.set_rtc(unix_s)

    def _load(self) -> int:
        record = bytearray(4)
        try:
            self._hal.nvs.get_blob(KEY, record)
        except OSError:
            return 0
        seconds: int = unpack("<I", record)[0]
        return seconds
