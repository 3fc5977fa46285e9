"""The two firmware folders, a and b: which is good, which is on trial (record: boot.py)."""

from struct import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node import Node
    from firmware.types import Hal

KEY = "slot"
TRIAL_STARTS = 3
TRIAL_MS = 86_400_000
ENTRY = "firmware/application"  # .mpy or .py; a folder without it holds no firmware


class Slots:
    """good and trial are "a" or "b"; trial is "" when none runs, id names its update."""

    def __init__(self, hal: "Hal") -> None:
        self._hal = hal
        self.good, self.trial, self.left, self.id = "a", "", 0, 0
        record = bytearray(5)
        try:
            hal.nvs.get_blob(KEY, record)
        except OSError:
            return
        good, trial, self.left, self.id = unpack("<BBBH", record)
        self.good = chr(good)
        self.trial = chr(trial) if trial else ""

    @property
    def other(self) -> str:
        """The folder that does not hold the good firmware."""
        return "b" if self.good == "a" else "a"

    def filled(self, slot: str) -> bool:
        """Whether a folder holds firmware."""
        for suffix in (".mpy", ".py"):
            try:
                self._hal.files.stat(slot + "/" + ENTRY + suffix)
                return True
            except OSError:
                pass
        return False

    def begin_trial(self, id: int) -> None:
        """The other folder runs from the next start on, and is good after keep()."""
        self._write(self.good, self.other, TRIAL_STARTS, id)

    def keep(self) -> None:
        """The folder on trial is good."""
        self._write(self.trial, "", 0, 0)

    def go_back(self) -> None:
        """End the trial: the good folder runs from the next start on, and tells of it."""
        self._write(self.good, "", 0, self.id)

    def told(self) -> None:
        """The failed trial was told to the collector."""
        self._write(self.good, "", 0, 0)

    def switch(self) -> bool:
        """Make the other folder the good one; False when it holds no firmware."""
        if not self.filled(self.other):
            return False
        self._write(self.other, "", 0, 0)
        return True

    def _write(self, good: str, trial: str, left: int, id: int) -> None:
        self.good, self.trial, self.left, self.id = good, trial, left, id
        record = pack("<BBBH", ord(good), ord(trial) if trial else 0, left, id)
        self._hal.nvs.set_blob(KEY, record)
        self._hal.nvs.commit()


class BuildTrial:
    """A new build proves itself by an ACK of one of its frames.

    Its clock runs only while the link stands, so that a broker that is away undoes nothing; a
    build that reaches no broker at all has the same time by uptime.
    """

    def __init__(self, node: "Node", slots: Slots) -> None:
        self._node = node
        self._slots = slots
        self._linked_ms = 0
        self._last_ms = 0

    def step(self, now: int) -> bool:
        """Run the clock; False once the trial is over, whichever way."""
        node = self._node
        if node.link.connected:
            self._linked_ms += now - self._last_ms
        self._last_ms = now
        if node.outbox.settled.upto(node.identity.boot):
            id = self._slots.id
            self._slots.keep()
            node.tell_update(id, True)
            return False
        if (self._linked_ms or now) >= TRIAL_MS:
            self._slots.go_back()
            node.restart_wanted = True
            return False
        return True
