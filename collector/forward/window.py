"""A window: frames that one lane sends under one claim."""

from __future__ import annotations

from dataclasses import dataclass, field

from collector.forward.account import Task
from collector.forward.selection import Selection
from collector.forward.worklist import Lane
from collector.readings.observation import Observation
from collector.readings.rendering import Rendered


@dataclass(slots=True)
class Window:
    """The frames by id, what is to be sent of them, and the claim's number once it is committed.

    `chosen_ms` is when their readings were chosen.
    """

    lane: Lane
    chosen_ms: int
    tasks: dict[int, Task] = field(default_factory=dict)
    readings: list[Observation] = field(default_factory=list)
    batch: int = 0

    def take(self, rendered: Rendered, settled: int, selection: Selection) -> None:
        """Adds a frame; `settled` has a bit for each of its readings that is settled already."""
        chosen = selection.choose(rendered, settled, self.chosen_ms)
        self.tasks[rendered.ref.id] = Task(rendered, settled, len(chosen))
        self.readings += chosen

    def narrow(self, selection: Selection) -> None:
        """Leaves out what only a look at all frames together tells."""
        self.readings, spared = selection.narrow(self.readings, self.chosen_ms)
        for observation, reason in spared:
            task = self.tasks[observation.frame.id]
            task.rendered.leave_out(reason)
            task.open -= 1
