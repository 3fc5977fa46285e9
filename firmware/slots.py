"""The two firmware slots, a and b: which is good, which is on trial (record: boot.py).

While no trial runs, an id says that its end is still to be told: `left` is 1 when the build was
kept, 0 when it went back. NVS "trials" is a u8: how often the build of that id was put on trial.
"""

from struct import pack, unpack

from firmware import health

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node import Node
    from firmware.types import Hal

KEY = "slot"
COUNT_KEY = "trials"
TRIALS = 3
TRIAL_STARTS = 3
TRIAL_LINKED_MS = 900_000
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
        """The slot that does not hold the good firmware."""
        return "b" if self.good == "a" else "a"

    @property
    def trials(self) -> int:
        """How often the newest build was put on trial."""
        return health.read_count(self._hal.nvs, COUNT_KEY)

    def filled(self, slot: str) -> bool:
        """Whether a slot holds firmware, in its slice or its folder."""
        from firmware import slices

        if slices.holds(self._hal.nvs, slot):
            return True
        for suffix in (".mpy", ".py"):
            try:
                self._hal.files.stat(slot + "/" + ENTRY + suffix)
                return True
            except OSError:
                pass
        return False

    def begin_trial(self, id: int, again: bool = False) -> None:
        """The other slot runs from the next start on, and is good after keep()."""
        health.write_count(self._hal.nvs, COUNT_KEY, self.trials + 1 if again else 1)
        self._write(self.good, self.other, TRIAL_STARTS, id)

    def keep(self) -> None:
        """The slot on trial is good, which is still to be told."""
        self._write(self.trial, "", 1, self.id)

    def go_back(self) -> None:
        """End the trial: the good slot runs from the next start on."""
        self._write(self.good, "", 0, self.id)

    def told(self) -> None:
        """The end of the trial was told to the collector."""
        self._write(self.good, "", 0, 0)

    def switch(self) -> bool:
        """Make the other slot the good one; False when it holds no firmware."""
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
    """A new build proves itself by an ACK of one of its frames, and by living for five minutes.

    Its clock runs only while the link stands, and for a day of uptime at most.
    """

    def __init__(self, node: "Node", slots: Slots) -> None:
        self._node = node
        self._slots = slots
        self._linked_ms = 0
        self._last_ms = node.clock.uptime_ms()

    def step(self, now: int) -> bool:
        """Run the clock; False once the trial is over, whichever way."""
        node = self._node
        if node.link.connected:
            self._linked_ms += now - self._last_ms
        self._last_ms = now
        if heard(node) and now >= health.GOOD_AFTER_MS and not node.safe_mode:
            self._slots.keep()
            node.tell_update(self._slots, True)
            return False
        if self._linked_ms >= TRIAL_LINKED_MS or now >= TRIAL_MS:
            self._slots.go_back()
            node.restart_wanted = True
            return False
        return True


class Ended:
    """A trial that has ended, which the collector is to be told.

    When it ended without an ACK: was the build bad, or was the collector away? The build before is
    the witness: once it has an ACK itself, the newer one has another trial, three in all.
    """

    def __init__(self, node: "Node", slots: Slots) -> None:
        self._node = node
        self._slots = slots

    def step(self, now: int) -> bool:
        """Tell, or begin the next trial once the collector is there; False when that is done."""
        node, slots = self._node, self._slots
        if slots.left:
            node.tell_update(slots, True)
        elif slots.trials >= TRIALS or node.downlink.update or not slots.filled(slots.other):
            node.tell_update(slots, False)
        elif not heard(node):
            return True
        else:
            slots.begin_trial(slots.id, True)
            node.restart_wanted = True
        return False


def heard(node: "Node") -> bool:
    """Whether the collector has a frame of this boot."""
    return node.outbox.settled.any(node.identity.boot)


def take_up(node: "Node") -> "BuildTrial | Ended | None":
    """At a start: a trial that runs, or one that has ended and was not told."""
    slots = Slots(node.hal)
    if slots.trial:
        return BuildTrial(node, slots)
    return Ended(node, slots) if slots.id else None
