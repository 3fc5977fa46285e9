"""The system's clock, by which TLS judges the dates of certificates.

A board wakes in the year 2000, when no certificate is valid yet; without TLS nobody tells it the
time. And a clock chip or a GPS may tell a wrong one, by which every certificate has expired. So the
time is a guess until the collector has told it, and each certificate that is refused for its date
says on which side the guess is wrong.
"""

from struct import pack, unpack

from firmware.version import BUILT_S, LASTS_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import Hal

KEY = "time"  # in NVS: u32, Unix time in s
KEEP_EVERY_S = 86_400
STEP_S = 2_592_000  # 30 days
LEAST_S = 3_600  # between a guess that is too early and one that is too late


class SystemTime:
    """Sets the clock from a guess, until known() tells the time; again when TLS refuses that."""

    def __init__(self, hal: "Hal") -> None:
        self._hal = hal
        self._kept_s = self._load()
        self._guess_s = 0
        self._early_s = self._late_s = 0  # the nearest guesses refused as such; 0 for none

    def start(self) -> None:
        """Begin with the latest time that was kept, or with that of the build."""
        self._guess(max(BUILT_S, self._kept_s))

    def known(self, unix_s: int, surely: bool = True) -> None:
        """Set the time that is known; surely (from the collector): keep it for the next start."""
        self._guess(unix_s)
        self._early_s = self._late_s = 0
        if not surely or abs(unix_s - self._kept_s) < KEEP_EVERY_S:
            return
        self._kept_s = unix_s
        try:
            self._hal.nvs.set_blob(KEY, pack("<I", unix_s))
            self._hal.nvs.commit()
        except OSError:
            pass

    def refused(self, late: bool) -> None:
        """A certificate has expired by this clock (late), or is not valid yet: guess anew.

        Forward by 30 days while guesses are too early, from the build's date on when the first is
        too late, then halfway between both.
        """
        if late:
            self._late_s = self._guess_s
        else:
            self._early_s = self._guess_s
        early, later = self._early_s, self._late_s
        if later and not early:
            guess = BUILT_S if later > BUILT_S else 0
        elif later > early + STEP_S:
            guess = early + STEP_S
        elif later:
            guess = (early + later) // 2 if later - early > LEAST_S else 0
        else:
            guess = early + STEP_S
        if not BUILT_S <= guess <= BUILT_S + LASTS_S:
            self._early_s = self._late_s = 0
            guess = BUILT_S
        self._guess(guess)

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
        return seconds if seconds <= BUILT_S + LASTS_S else 0
