"""Bugs to plant, one at a time, each a small change in a line or two of the real code.

They prove the oracle: a swarm that lets one of them live proves nothing. A place is named by a room
and a function there, whatever file it is in, so that code may move; `old` stands in that function
exactly once, however it is wrapped (a test sees to that). `scenario` is where the bug shows
soonest, "" for anywhere.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class PlantedBug(NamedTuple):
    """What goes wrong, in which room and function ("Class.method"), and the change."""

    name: str
    room: str
    function: str
    old: str
    new: str
    scenario: str = ""


class CannotPlant(ValueError):
    """The code has changed, so that the bug has no place any more."""


BUGS = (
    PlantedBug(
        "the board frees one frame more than the ACK covers",
        "protocol",
        "settles",
        "if seq <= upto:",
        "if seq <= upto + 1:",
        "flaky_wifi",
    ),
    PlantedBug(
        "off by one in the board's reading of the mask",
        "protocol",
        "settles",
        "bit = seq - upto - 2",
        "bit = seq - upto - 3",
        "lossy_backlog",
    ),
    PlantedBug(
        "off by one in the collector's mask",
        "collector",
        "BootLedger.ack",
        "first = upto + 2",
        "first = upto + 3",
        "lossy_backlog",
    ),
    PlantedBug(
        "the collector acknowledges up to the highest, gaps and all",
        "collector",
        "BootLedger.ack",
        "upto = self.settled.covered_up_to(0)",
        "upto = self.settled.last or 0",
        "lossy_backlog",
    ),
    PlantedBug(
        "acknowledge before the commit",
        "collector",
        "Intake._store",
        "boot.wait(head.seq, tag)",
        "boot.wait(head.seq, tag)\n"
        "boot.settled.add(head.seq)\n"
        "self._answers.ack(head.node, [head.boot], source)",
        "crash_storm",
    ),
    PlantedBug(
        "drop a frame of every group",
        "collector",
        "Intake.flush",
        "group, self._waiting = self._waiting, []",
        "group, self._waiting = self._waiting[:-1] or self._waiting, []",
        "flaky_wifi",
    ),
    PlantedBug(
        "refuse every seventh frame for ever",
        "collector",
        "Admission.admit",
        "if head.seq == 0:",
        "if head.seq % 7 == 0:",
        "quiet_day",
    ),
    PlantedBug(
        "store frames whose tag is wrong",
        "collector",
        "Admission.admit",
        "if self._checker.holds(raw, head.end, key):",
        "if self._checker.holds(raw, head.end, key) or True:",
        "hostile_sender",
    ),
    PlantedBug(
        "store what was stored before",
        "collector",
        "Intake._sequenced",
        "if verdict is Verdict.DUPLICATE or verdict is Verdict.ERASED:",
        "if verdict is Verdict.DUPLICATE:\n"
        "    return self._store(raw, head, source, boot, False)\n"
        "if verdict is Verdict.ERASED:",
        "flaky_wifi",
    ),
    PlantedBug(
        "never send a lost frame again",
        "firmware",
        "Uplink.next",
        "if entry[_DUE] <= now_ms:",
        "if entry[_DUE] <= now_ms and entry[_SENT] < 0:",
        "flaky_wifi",
    ),
    PlantedBug(
        "frames that flash did not keep are not counted",
        "firmware",
        "Spool._fail",
        "if missing:\n    self._drops.count",
        "if len(missing) > 99:\n    self._drops.count",
        "refusing_flash",
    ),
    PlantedBug(
        "a segment that flash does not delete is counted again",
        "firmware",
        "Spool._remove",
        "self._set_gone(number)\nself._list_boots()\nself._finish_removal()",
        "self._delete(self._path(number))\n"
        "self._drops.removed()\n"
        "self._set_gone(number)\n"
        "self._list_boots()",
        "refusing_flash",
    ),
    PlantedBug(
        "a boot number is used twice",
        "firmware",
        "next_boot",
        "identity.boot = (identity.boot + 1) & 0xFFFFFFFF",
        "identity.boot = identity.boot & 0xFFFFFFFF",
        "power_cuts",
    ),
    PlantedBug(
        "a full frame takes one row too many out of the batch",
        "firmware",
        "Node.flush",
        "batch.drop_rows(written)",
        "batch.drop_rows(min(batch.rows, written + 1))",
        "full_frames",
    ),
    PlantedBug(
        "the sequence number is counted twice for small frames",
        "firmware",
        "Outbox.commit",
        "self.seq += 1",
        "self.seq += 2 if small else 1",
        "",
    ),
    PlantedBug(
        "send a frame again that was found delivered",
        "collector",
        "Windows.resolve",
        "if at_sink.open or not results.accepted:",
        "if True:",
        "failing_network",
    ),
    PlantedBug(
        "forget which readings of a frame were accepted",
        "collector",
        "Books.settled_in_part",
        "self.partial[frame] = self._unwritten[-1].partial[frame] = settled",
        "pass",
        "failing_network",
    ),
    PlantedBug(
        "a reading that has to wait counts as settled",
        "collector",
        "Windows._record",
        "frames[reading.frame.id].wait(now_s + wait_s)",
        "frames[reading.frame.id].settle([reading])",
        "failing_network",
    ),
    PlantedBug(
        "a reading without an answer counts as accepted",
        "collector",
        "Sender.look_for",
        "+= [o for o, there in zip(part, held, strict=True) if there]",
        "+= part",
        "failing_network",
    ),
    PlantedBug(
        "the network's silence counts as a failure",
        "collector",
        "Sender.look_for",
        "+= [o for o, there in zip(part, held, strict=True) if there]",
        "+= []",
        "failing_network",
    ),
    PlantedBug(
        "times run twice as fast as the clock",
        "collector",
        "Line.at",
        "passed_ms = uptime_ms - self.anchor_ms",
        "passed_ms = 2 * (uptime_ms - self.anchor_ms)",
        "quiet_day",
    ),
    PlantedBug(
        "a wrong clock is taken for a right one",
        "collector",
        "LiveReports.take",
        "if self._clock.synchronised():\n    self._timeline.observe_live(",
        "if self._clock.unix_ms():\n    self._timeline.observe_live(",
        "clock_chaos",
    ),
    PlantedBug(
        "negative steps are decoded as positive ones",
        "protocol",
        "_wrapped",
        "((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000 for value in values]",
        "abs(((value + 0x80000000) & 0xFFFFFFFF) - 0x80000061) for value in values]",
        "quiet_day",
    ),
    PlantedBug(
        "qualities are cut to two bits",
        "protocol",
        "Batch._runs",
        "builder.u8(quality[start])",
        "builder.u8(quality[start] & 3)",
        "quiet_day",
    ),
    PlantedBug(
        "a quality run is taken one row too far",
        "protocol",
        "Batch._runs",
        "while index < end and quality[index] == quality[start]:",
        "while index < end and quality[index if index == start else index - 1] == quality[start]:",
        "quiet_day",
    ),
    PlantedBug(
        "the board's uptime takes the wrap of its ticks for a step back",
        "firmware",
        "Clock.uptime_ms",
        "passed = self._hal.ticks_diff(ticks, self._ticks)",
        "passed = ticks - self._ticks",
        "quiet_day",
    ),
    PlantedBug(
        "a full card is not noticed, and frames are acknowledged unsaved",
        "collector",
        "Intake._store",
        "if not self.accepting or doubtful:",
        "if not self.accepting:\n"
        "    boot.settled.add(head.seq)\n"
        "    return DUPLICATE\n"
        "if doubtful:",
        "sd_card_full",
    ),
    PlantedBug(
        "a board in deep sleep keeps its newest row only",
        "firmware",
        "Sleeper.step",
        "self.memory.rows += self._row",
        "self.memory.rows = bytearray(self._row)",
        "sleeping_boards",
    ),
    PlantedBug(
        "a driver gives temperatures that are a degree too high",
        "firmware",
        "Bme280._keep",
        "value = temperature(self.fine)",
        "value = temperature(self.fine) + 100",
        "city_day",
    ),
    PlantedBug(
        "a stop takes a request without an answer for one that was never sent",
        "collector",
        "Lanes._deliver",
        "self._sender.presume(results)",
        "results.unknown = []",
        "collector_stops",
    ),
    PlantedBug(
        "what a stop leaves without an answer is no possible duplicate",
        "collector",
        "Lanes._deliver",
        "self._sender.presume(results)",
        "if not self._sender.asks:\n    results.unknown = []",
        "collector_stops",
    ),
    PlantedBug(
        "a cancelled wait does not say that its write was done",
        "collector",
        "outcome",
        "return future.result()",
        "if cancellations:\n    raise asyncio.CancelledError\nreturn future.result()",
        "collector_stops",
    ),
    PlantedBug(
        "a claim is let go before the network is asked",
        "collector",
        "Windows.close",
        "self.frames.happened(Event.NO_ANSWER, lost)",
        "self.frames.happened(Event.NO_ANSWER, lost)\nself._books.released(window.claim)",
        "collector_stops",
    ),
    PlantedBug(
        "downlink numbers repeat after two starts",
        "collector",
        "Ledger._down_base",
        "return self.start * DOWN_STEP",
        "return self.start // 3 * DOWN_STEP",
        "collector_stops",
    ),
    PlantedBug(
        "a stop leaves the archive open",
        "collector",
        "Storage.close",
        "self._near.close()",
        "self._near.itself = self._near",
        "collector_stops",
    ),
    PlantedBug(
        "a broken file of keys empties the ring",
        "collector",
        "KeyRing.exchange",
        "if nodes is not None:",
        "if fault:\n    nodes = {}\nif nodes is not None:",
        "broken_files",
    ),
    PlantedBug(
        "a damaged row is not made again from the frames",
        "collector",
        "load",
        "if boots:",
        "if not boots:",
        "failing_disk",
    ),
    PlantedBug(
        "done reaches one frame too far",
        "collector",
        "Books.done",
        "entries.done.update(ids)",
        "entries.done.update((first, last + 1) for first, last in ids)",
        "collector_stops",
    ),
    PlantedBug(
        "the first frame of a group whose commit failed stays pending",
        "collector",
        "FrameGroup.failed",
        "for waiting in self._group:",
        "for waiting in self._group[1:]:",
        "failing_disk",
    ),
    PlantedBug(
        "which readings were accepted is forgotten at a start",
        "collector",
        "Books.open",
        "self.partial = state.partial",
        "self.partial = {}",
        "collector_stops",
    ),
    PlantedBug(
        "what a failed commit should have counted is forgotten",
        "collector",
        "_Page.failed",
        "self._told()",
        "self.committed()",
        "failing_disk",
    ),
    PlantedBug(
        "a failed commit is told as done",
        "collector",
        "resolve",
        "if failure is not None:",
        "if failure is not None and job.error is not None:",
        "failing_disk",
    ),
    PlantedBug(
        "both lanes take one frame",
        "collector",
        "Frames.take",
        "self.happened(Event.TAKEN, taken)",
        "pass",
        "failing_network",
    ),
    PlantedBug(
        "what does not fit into a window is forgotten",
        "collector",
        "Windows._render",
        "self.frames.happened(Event.RETURNED, rest, lane)",
        "pass",
        "failing_network",
    ),
    PlantedBug(
        "possible duplicates are not counted",
        "collector",
        "Sender.presume",
        "results.resent += results.unknown",
        "pass",
        "failing_network",
    ),
    PlantedBug(
        "a frame that RAM has no room for is not counted",
        "firmware",
        "Outbox.commit",
        "self.drops.count(wire.DROP_UNWRITABLE, 1, evicted[0], evicted[1])",
        "pass",
        "refusing_flash",
    ),
    PlantedBug(
        "a drop whose count flash refuses is counted again",
        "firmware",
        "Drops.begin_removal",
        "self.counts, self.left, self.fresh, self.unsaved = counts, left, fresh, unsaved",
        "self.left = left",
        "refusing_flash",
    ),
)


def plant(bug: PlantedBug, root: Path) -> None:
    """Change its file below root. Raises CannotPlant."""
    path, start, end = place_of(bug, root)
    text = path.read_text(encoding="utf-8")
    line = text[text.rfind("\n", 0, start) + 1 : start]
    indent = line[: len(line) - len(line.lstrip())]
    path.write_text(text[:start] + bug.new.replace("\n", "\n" + indent) + text[end:], "utf-8")


def place_of(bug: PlantedBug, root: Path) -> tuple[Path, int, int]:
    """The file, and where `old` begins and ends in it. Raises CannotPlant."""
    wanted = re.compile(r"\s+".join(re.escape(word) for word in bug.old.split()))
    places = [
        (path, first + match.start(), first + match.end())
        for path, text, first, last in _functions(root / bug.room, bug.function)
        for match in wanted.finditer(text[first:last])
    ]
    if len(places) != 1:
        where = f"{bug.function} in {bug.room}"
        raise CannotPlant(f"{bug.name}: its place stands {len(places)} times in {where}")
    return places[0]


def _functions(room: Path, name: str) -> Iterator[tuple[Path, str, int, int]]:
    """Each file of a room with a function of this name, and where it begins and ends there."""
    *_, last = name.split(".")
    for path in sorted(room.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if f"def {last}(" not in text:
            continue
        lines = text.splitlines(keepends=True)
        for found, node in _named(ast.parse(text), ""):
            if found == name:
                first = sum(map(len, lines[: node.lineno - 1]))
                yield (
                    path,
                    text,
                    first,
                    first + sum(map(len, lines[node.lineno - 1 : node.end_lineno])),
                )


def _named(
    tree: ast.AST, within: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _named(node, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield within + node.name, node
