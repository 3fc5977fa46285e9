"""The two firmware folders, a and b: which is good, which is on trial (record: boot.py)."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import Hal

KEY = "slot"
TRIAL_STARTS = 3
ENTRY = "firmware/application.mpy"  # a folder without it holds no firmware


class Slots:
    """good and trial are "a" or "b"; trial is "" when none runs."""

    def __init__(self, hal: "Hal") -> None:
        self._hal = hal
        record = bytearray(3)
        try:
            hal.nvs.get_blob(KEY, record)
        except OSError:
            record[0] = ord("a")
        self.good = chr(record[0])
        self.trial = chr(record[1]) if record[1] else ""

    @property
    def other(self) -> str:
        """The folder that does not hold the good firmware."""
        return "b" if self.good == "a" else "a"

    def filled(self, slot: str) -> bool:
        """Whether a folder holds firmware."""
        for path in (ENTRY, ENTRY[:-3] + "py"):
            try:
                self._hal.files.stat(slot + "/" + path)
                return True
            except OSError:
                pass
        return False

    def begin_trial(self) -> None:
        """The other folder runs from the next start on, and is good after keep()."""
        self._write(self.good, self.other, TRIAL_STARTS)

    def keep(self) -> None:
        """The folder on trial is good."""
        self._write(self.trial, "", 0)

    def go_back(self) -> None:
        """End the trial: the good folder runs from the next start on."""
        self._write(self.good, "", 0)

    def switch(self) -> bool:
        """Make the other folder the good one; False when it holds no firmware."""
        if not self.filled(self.other):
            return False
        self._write(self.other, "", 0)
        return True

    def _write(self, good: str, trial: str, left: int) -> None:
        self.good, self.trial = good, trial
        self._hal.nvs.set_blob(KEY, bytes([ord(good), ord(trial) if trial else 0, left]))
        self._hal.nvs.commit()
