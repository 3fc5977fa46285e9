"""Bugs to plant, one at a time, each a small change in a line or two of the real code.

They prove the oracle: a swarm that lets one of them live proves nothing. `old` stands in its file
exactly once (a test sees to that); `scenario` is where the bug shows soonest, "" for anywhere.
"""

from pathlib import Path
from typing import NamedTuple


class PlantedBug(NamedTuple):
    """What goes wrong, in which file, and the change."""

    name: str
    file: str
    old: str
    new: str
    scenario: str = ""


class CannotPlant(ValueError):
    """The code has changed, so that the bug has no place any more."""


BUGS = (
    PlantedBug(
        "the board frees one frame more than the ACK covers",
        "protocol/downlink.py",
        "    if seq <= upto:\n",
        "    if seq <= upto + 1:\n",
        "flaky_wifi",
    ),
    PlantedBug(
        "off by one in the board's reading of the mask",
        "protocol/downlink.py",
        "    bit = seq - upto - 2\n",
        "    bit = seq - upto - 3\n",
        "lossy_backlog",
    ),
    PlantedBug(
        "off by one in the collector's mask",
        "collector/ledger/ledger_boot.py",
        "        first = upto + 2\n",
        "        first = upto + 3\n",
        "lossy_backlog",
    ),
    PlantedBug(
        "the collector acknowledges up to the highest, gaps and all",
        "collector/ledger/ledger_boot.py",
        "        upto = self.settled.covered_up_to(0)\n",
        "        upto = self.settled.last or 0\n",
        "lossy_backlog",
    ),
    PlantedBug(
        "acknowledge before the commit",
        "collector/intake/intake.py",
        "            boot.wait(head.seq, tag)\n",
        "            boot.wait(head.seq, tag)\n"
        "            boot.settled.add(head.seq)\n"
        "            self._answers.ack(head.node, [head.boot], source)\n",
        "crash_storm",
    ),
    PlantedBug(
        "drop a frame of every group",
        "collector/intake/intake.py",
        "        group, self._waiting = self._waiting, []\n",
        "        group, self._waiting = self._waiting[:-1] or self._waiting, []\n",
        "flaky_wifi",
    ),
    PlantedBug(
        "refuse every seventh frame for ever",
        "collector/intake/admission.py",
        "        if head.seq == 0:\n",
        "        if head.seq % 7 == 0:\n",
        "quiet_day",
    ),
    PlantedBug(
        "store frames whose tag is wrong",
        "collector/intake/admission.py",
        "            if self._checker.holds(raw, head.end, key):\n",
        "            if self._checker.holds(raw, head.end, key) or True:\n",
        "hostile_sender",
    ),
    PlantedBug(
        "store what was stored before",
        "collector/intake/intake.py",
        "        if verdict is Verdict.DUPLICATE or verdict is Verdict.ERASED:\n",
        "        if verdict is Verdict.DUPLICATE:\n"
        "            return self._store(raw, head, source, boot, False)\n"
        "        if verdict is Verdict.ERASED:\n",
        "flaky_wifi",
    ),
    PlantedBug(
        "never send a lost frame again",
        "firmware/uplink.py",
        "            if entry[_DUE] <= now_ms:\n",
        "            if entry[_DUE] <= now_ms and entry[_SENT] < 0:\n",
        "flaky_wifi",
    ),
    PlantedBug(
        "frames that flash did not keep are not counted",
        "firmware/spool.py",
        "        if missing:\n            self._drops.count",
        "        if len(missing) > 99:\n            self._drops.count",
        "refusing_flash",
    ),
    PlantedBug(
        "a segment that flash does not delete is counted again",
        "firmware/spool.py",
        "            self._set_gone(number)\n"
        "            self._list_boots()\n"
        "            self._finish_removal()\n",
        "            self._delete(self._path(number))\n"
        "            self._drops.removed()\n"
        "            self._set_gone(number)\n"
        "            self._list_boots()\n",
        "refusing_flash",
    ),
    PlantedBug(
        "a boot number is used twice",
        "firmware/identity.py",
        "    identity.boot = (identity.boot + 1) & 0xFFFFFFFF\n",
        "    identity.boot = identity.boot & 0xFFFFFFFF\n",
        "power_cuts",
    ),
    PlantedBug(
        "a full frame takes one row too many out of the batch",
        "firmware/node.py",
        "            batch.drop_rows(written)\n",
        "            batch.drop_rows(min(batch.rows, written + 1))\n",
        "full_frames",
    ),
    PlantedBug(
        "the sequence number is counted twice for small frames",
        "firmware/outbox.py",
        "        self.seq += 1\n",
        "        self.seq += 2 if small else 1\n",
        "",
    ),
    PlantedBug(
        "send a frame again that was found delivered",
        "collector/forward/worklist.py",
        "            self._taken.remove(first, last)\n"
        "            self._deferred.remove(first, last)\n\n"
        "    def give_back",
        "            self._taken.remove(first, last)\n\n    def give_back",
        "failing_network",
    ),
    PlantedBug(
        "forget which readings of a frame were accepted",
        "collector/forward/account.py",
        "            self.partial[frame] = self._change.partial[frame] = task.settled\n",
        "            pass\n",
        "failing_network",
    ),
    PlantedBug(
        "a reading that has to wait counts as settled",
        "collector/forward/account.py",
        "            task.due_s = max(task.due_s or 0.0, now_s + wait_s)\n",
        "            task.settle(observation.reading)\n",
        "failing_network",
    ),
    PlantedBug(
        "a reading without an answer counts as accepted",
        "collector/forward/read_back.py",
        "+= [o for o, there in zip(part, held, strict=True) if there]\n",
        "+= part\n",
        "failing_network",
    ),
    PlantedBug(
        "the network's silence counts as a failure",
        "collector/forward/read_back.py",
        "+= [o for o, there in zip(part, held, strict=True) if there]\n",
        "+= []\n",
        "failing_network",
    ),
    PlantedBug(
        "times run twice as fast as the clock",
        "collector/timeline/frozen_time.py",
        "        passed_ms = uptime_ms - self.anchor_ms\n",
        "        passed_ms = 2 * (uptime_ms - self.anchor_ms)\n",
        "quiet_day",
    ),
    PlantedBug(
        "a wrong clock is taken for a right one",
        "collector/intake/live.py",
        "        if self._clock.synchronised():\n            self._timeline.observe_live(",
        "        if self._clock.unix_ms():\n            self._timeline.observe_live(",
        "clock_chaos",
    ),
    PlantedBug(
        "negative steps are decoded as positive ones",
        "protocol/columns.py",
        "((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000 for value in values]\n",
        "abs(((value + 0x80000000) & 0xFFFFFFFF) - 0x80000061) for value in values]\n",
        "quiet_day",
    ),
    PlantedBug(
        "qualities are cut to two bits",
        "protocol/samples.py",
        "                builder.u8(quality[start])\n",
        "                builder.u8(quality[start] & 3)\n",
        "quiet_day",
    ),
    PlantedBug(
        "a quality run is taken one row too far",
        "protocol/samples.py",
        "            while index < end and quality[index] == quality[start]:\n",
        "            while index < end and quality[index if index == start else index - 1]"
        " == quality[start]:\n",
        "quiet_day",
    ),
    PlantedBug(
        "the board's uptime takes the wrap of its ticks for a step back",
        "firmware/clock.py",
        "        passed = self._hal.ticks_diff(ticks, self._ticks)\n",
        "        passed = ticks - self._ticks\n",
        "quiet_day",
    ),
    PlantedBug(
        "a full card is not noticed, and frames are acknowledged unsaved",
        "collector/intake/intake.py",
        "        if not self.accepting or doubtful:\n",
        "        if not self.accepting:\n"
        "            boot.settled.add(head.seq)\n"
        "            return DUPLICATE\n"
        "        if doubtful:\n",
        "sd_card_full",
    ),
    PlantedBug(
        "a board in deep sleep keeps its newest row only",
        "firmware/power.py",
        "            self.memory.rows += self._row\n",
        "            self.memory.rows = bytearray(self._row)\n",
        "sleeping_boards",
    ),
    PlantedBug(
        "a driver gives temperatures that are a degree too high",
        "firmware/sensors/bme280.py",
        "            value = temperature(self.fine)\n",
        "            value = temperature(self.fine) + 100\n",
        "city_day",
    ),
)


def plant(bug: PlantedBug, root: Path) -> None:
    """Change the file below root. Raises CannotPlant."""
    path = root / bug.file
    text = path.read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        raise CannotPlant(f"{bug.name}: its line stands {text.count(bug.old)} times in {bug.file}")
    path.write_text(text.replace(bug.old, bug.new), encoding="utf-8")
