"""A meter on a simulated microphone in virtual time."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from firmware.noise import reasons
from firmware.noise.channels import SCALARS
from firmware.noise.meter import Meter
from protocol.registry import REGISTRY
from simulator.devices.base import Steady
from simulator.devices.microphone import Microphone, SimulatedI2s, Source


@dataclass(frozen=True)
class Period:
    """What a meter gave: scalars by name in their unit, their quality, vectors, reasons."""

    levels: dict[str, float]
    quality: int
    valid_quality: int
    vectors: list[list[int]]
    reasons: list[str]
    ready_ms: int


class _Row:
    def __init__(self) -> None:
        self.scalars: list[tuple[int, int]] = []
        self.vectors: list[list[int]] = []

    def put(self, channel: int, value: int, quality: int = 0) -> None:
        self.scalars.append((value, quality))

    def put_vector(self, channel: int, values: Sequence[int], quality: int = 0) -> None:
        self.vectors.append(list(values))


class Bench:
    """The meter, polled every step_ms, asked at the ends of periods."""

    def __init__(
        self,
        level_db: float | None = 60.0,
        options: Mapping[str, Any] | None = None,
        kind: type[Microphone] = Microphone,
        source: Source | None = None,
    ) -> None:
        self.now_ms = 0
        self.microphone = kind(Steady(laeq=level_db), random.Random(1), source=source)
        self.port = SimulatedI2s(self.microphone, lambda: self.now_ms)
        self.meter = Meter(self.port, dict(options or {}), 0)

    def run(self, until_ms: int, step_ms: int = 20) -> None:
        """Poll up to a time."""
        while self.now_ms < until_ms:
            self.now_ms += step_ms
            self.meter.poll(self.now_ms)

    def pause(self, duration_ms: int) -> None:
        """The node does something else."""
        self.now_ms += duration_ms
        self.meter.poll(self.now_ms)

    def period(self, until_ms: int, step_ms: int = 20) -> Period:
        """Run to an instant, and read the period that ends there."""
        self.run(until_ms, step_ms)
        self.meter.begin(self.now_ms)
        for _ in range(100):
            if self.meter.ready:
                break
            self.run(self.now_ms + step_ms, step_ms)
        row = _Row()
        self.meter.read(row)
        names = [REGISTRY[quantity].name for quantity in SCALARS]
        scale = [0.1] * (len(names) - 1) + [1.0]
        values = [value * s for (value, _), s in zip(row.scalars, scale, strict=False)]
        levels = dict(zip(names, values, strict=True))
        if len(row.scalars) > len(names):
            levels["time_above"] = row.scalars[-1][0]
        return Period(
            levels,
            row.scalars[0][1],
            row.scalars[len(names) - 1][1],
            row.vectors,
            reasons.names(self.meter.reasons),
            self.now_ms,
        )
