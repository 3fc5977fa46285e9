"""A window: frames that one lane sends under one claim."""

from __future__ import annotations

from dataclasses import dataclass, field

from collector.forward.account import Task
from collector.forward.worklist import Lane
from collector.readings.observation import Observation


@dataclass(slots=True)
class Window:
    """The frames by id, what is to be sent of them, and the claim's number once it is committed."""

    lane: Lane
    tasks: dict[int, Task] = field(default_factory=dict)
    readings: list[Observation] = field(default_factory=list)
    batch: int = 0
