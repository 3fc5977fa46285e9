"""Readings: single values out of decoded frames."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from protocol import wire
from protocol.columns import Column
from protocol.decoder import Frame
from protocol.registry import REGISTRY, scaled


class Reading(NamedTuple):
    """One value. (node, boot, seq, column, sample) is its origin, for ever.

    band is None for a scalar. value is raw * 10**exponent by the registry row's scale, in its
    unit. column counts over all SAMPLES sections of the frame, without time residuals.
    A reading of quality missing has neither raw nor value: the integer in the frame is what its
    coding repeats. One of any other quality has both, and the quality says what they are worth.
    """

    node: int
    boot: int
    seq: int
    quantity: int
    instance: int
    band: int | None
    column: int
    sample: int
    uptime_ms: int
    raw: int | None
    exponent: int
    value: float | None
    quality: int


def readings(frame: Frame) -> Iterator[Reading]:
    """The frame's readings, column by column.

    A quantity that neither registry nor frame gives an exponent is left out: it stays in the
    archived frame until the registry knows it.
    """
    first = 0
    for samples in frame.samples:
        for index, column in enumerate(samples.columns, first):
            if column.exponent is not None:
                yield from _column(frame, column, index, samples.times_ms)
        first += len(samples.columns)


def _column(
    frame: Frame, column: Column, index: int, times_ms: tuple[int, ...]
) -> Iterator[Reading]:
    quantity, instance, exponent, first_band, bands, values, qualities = column
    assert exponent is not None
    row = REGISTRY.get(quantity)
    divisor = row.divisor if row else 1
    node, boot, seq = frame.node, frame.boot, frame.seq
    told: Sequence[int | None] = values
    if qualities and wire.Q_MISSING in qualities:
        width = bands or 1
        told = [
            None if qualities[at // width] == wire.Q_MISSING else raw
            for at, raw in enumerate(values)
        ]
    for at, raw in enumerate(told):
        sample = at // bands if bands else at
        yield Reading(
            node,
            boot,
            seq,
            quantity,
            instance,
            first_band + at % bands if bands else None,
            index,
            sample,
            times_ms[sample],
            raw,
            exponent,
            None if raw is None else scaled(raw, exponent, divisor),
            qualities[sample] if qualities else wire.Q_OK,
        )
