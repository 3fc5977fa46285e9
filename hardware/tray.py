"""The tray: every board that is plugged in is worked on, each in a thread of its own."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.progress_bar import ProgressBar
from rich.table import Table

from hardware import faults

COLOURS = {"working": "cyan", "ready": "green", "failed": "red", "gone": "bright_black"}
BAR_WIDTH = 8
PULLED_OUT = "It was pulled out in the middle. Plug it in again: it goes on where it stopped."


@dataclass(slots=True)
class Row:
    """One port of the tray; part is the share of the step that is done, 0 to 1."""

    port: str
    state: str = "working"
    step: str = "found"
    part: float = 0.0
    name: str = ""
    node: str = ""
    detail: str = ""


class Tray:
    """Works on every board that is plugged in.

    work(row) does the whole job on the row's port, and may fill in its name, node, step and part;
    look() names the ports that are there now. A port has to be seen twice before work begins, for
    its permissions come a moment after it. A board that is pulled out and plugged in again is
    worked on anew. on_done is called with a row that has become ready or has failed.
    """

    def __init__(
        self,
        work: Callable[[Row], None],
        look: Callable[[], Iterable[str]],
        on_done: Callable[[Row], None] = lambda row: None,
    ) -> None:
        self.rows: dict[str, Row] = {}
        self.ready = 0
        self.failed = 0
        self.closing = False
        self._work = work
        self._look = look
        self._on_done = on_done
        self._seen: set[str] = set()
        self._threads: dict[str, threading.Thread] = {}
        self._counting = threading.Lock()

    def turn(self) -> None:
        """Look at the ports once: start what is new, mark what has gone."""
        present = set(self._look())
        for port, row in self.rows.items():
            if port not in present and row.state != "gone" and not self._busy(port):
                _taken_off(row)
        for port in sorted(present & self._seen):
            known = self.rows.get(port)
            free = known is None or known.state == "gone"
            if free and not self.closing and not self._busy(port):
                self._start(port)
        self._seen = present

    def busy(self) -> bool:
        """Whether any board is being worked on."""
        return any(self._busy(port) for port in self.rows)

    def table(self) -> Table:
        """What the technician sees."""
        advice = (
            "Ending after the boards in work."
            if self.closing
            else "Plug in; green is done, next. q ends."
        )
        shown = Table(
            title=f"{self.ready} ready, {self.failed} failed. {advice}",
            expand=True,
            box=SIMPLE_HEAD,
        )
        shown.add_column("port", min_width=8, overflow="fold")
        for head in ("state", "step", "done"):
            shown.add_column(head, no_wrap=True)
        shown.add_column("node", min_width=8, overflow="fold")
        shown.add_column("what to do", ratio=1, overflow="fold")
        for port in sorted(self.rows):
            row = self.rows[port]
            bar = ProgressBar(total=1.0, completed=row.part, width=BAR_WIDTH)
            who = f"{row.node}\n{row.name}".strip()
            shown.add_row(
                row.port, row.state, row.step, bar, who, row.detail, style=COLOURS[row.state]
            )
        return shown

    def _busy(self, port: str) -> bool:
        thread = self._threads.get(port)
        return thread is not None and thread.is_alive()

    def _start(self, port: str) -> None:
        row = self.rows[port] = Row(port)
        thread = threading.Thread(target=self._run, args=(row,), daemon=True)
        self._threads[port] = thread
        thread.start()

    def _run(self, row: Row) -> None:
        try:
            self._work(row)
        except Exception as fault:
            if row.port not in self._look():
                row.step, row.detail = "pulled out", PULLED_OUT
                row.state = "gone"
                return
            row.detail = str(faults.unforeseen(fault))
            row.state = "failed"
        else:
            row.step, row.part = "take it off", 1.0
            row.state = "ready"
        with self._counting:
            if row.state == "ready":
                self.ready += 1
            else:
                self.failed += 1
        self._on_done(row)


def _taken_off(row: Row) -> None:
    """A failed board's message stays until the next one comes: it says what to do with it."""
    row.state, row.part = "gone", 0.0
    row.step = "next, please"
