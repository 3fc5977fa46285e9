"""Named, versioned formulas that are applied when readings are read; the raw ones stay as they are.

A formula names the quantities it is valid for and refuses every other. Its name ends in its
version; a better formula gets a new name. Sources:

- kappa-koehler-1: particle mass without the water on it, after Crilley et al. 2018
  (doi 10.5194/amt-11-709-2018): dry = wet / (1 + (kappa / 1.65) / (1 / aw - 1)), aw = RH / 100.
  Humidity counts as 95 % above that: fog is not corrected away.
- us-epa-2021-1: Barkjohn et al. 2021 (doi 10.5194/amt-14-4617-2021):
  0.524 * PM2.5(CF=1) - 0.0862 * RH + 5.75. Fitted to hourly and daily means up to 343 ug/m3.
- linear-1: slope * value + offset, one unit's own calibration.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from collector.nodes import NodeRegistry
from collector.readings.rendering import Column, Corrected, Samples
from protocol.registry import REGISTRY

HUMIDITY = "humidity"
HUMIDITY_CAP = 95.0
KAPPA_DEFAULT = 0.4
PARTICLE_DENSITY = 1.65
EPA_VALID_MAX = 343.0
MASSES = ("pm10", "pm2_5", "pm1", "pm4", "pm10_cf1", "pm2_5_cf1", "pm1_cf1")


class CorrectionError(ValueError):
    """A correction that cannot be applied; `key` is the setting at fault."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(reason)


class Parameter(NamedTuple):
    """A number that a formula takes; None as default means that it must be given."""

    low: float
    high: float
    default: float | None = None


Apply = Callable[[float, float | None, Mapping[str, float]], float | None]


@dataclass(frozen=True, slots=True)
class Formula:
    """A correction of one value, with the quantities it is valid for (none named: all scalars)."""

    name: str
    title: str
    apply: Apply
    inputs: tuple[str, ...] = ()
    humidity: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


def kappa_koehler(value: float, humidity: float | None, given: Mapping[str, float]) -> float | None:
    """Dry mass; None without humidity. The value's unit stays."""
    if humidity is None or humidity < 0:
        return None
    activity = min(humidity, HUMIDITY_CAP) / 100
    if activity <= 0:
        return value
    return value / (1 + given["kappa"] / PARTICLE_DENSITY / (1 / activity - 1))


def us_epa(value: float, humidity: float | None, given: Mapping[str, float]) -> float | None:
    """PM2.5 in ug/m3, never below 0; None without humidity and above the range of the fit."""
    if humidity is None or value > EPA_VALID_MAX:
        return None
    return max(0.0, 0.524 * value - 0.0862 * humidity + 5.75)


def linear(value: float, humidity: float | None, given: Mapping[str, float]) -> float | None:
    """A straight line."""
    return given["slope"] * value + given["offset"]


FORMULAS: Mapping[str, Formula] = {
    formula.name: formula
    for formula in (
        Formula(
            "kappa-koehler-1",
            "particle mass without its water (kappa-Koehler)",
            kappa_koehler,
            MASSES,
            humidity=True,
            parameters={"kappa": Parameter(0, 1.5, KAPPA_DEFAULT)},
        ),
        Formula(
            "us-epa-2021-1",
            "PM2.5 of Plantower sensors after US EPA",
            us_epa,
            ("pm2_5_cf1",),
            humidity=True,
        ),
        Formula(
            "linear-1",
            "one unit's slope and offset",
            linear,
            parameters={"slope": Parameter(0.01, 100), "offset": Parameter(-1e6, 1e6, 0.0)},
        ),
    )
}


class Setting(Protocol):
    """One [[correction]] of the configuration."""

    @property
    def formula(self) -> str: ...
    @property
    def quantity(self) -> str | None: ...
    @property
    def instance(self) -> int | None: ...
    @property
    def nodes(self) -> Sequence[str]: ...
    @property
    def parameters(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, slots=True)
class Correction:
    """A formula bound to quantity ids, an instance (None: all), nodes (empty: all), numbers."""

    formula: Formula
    quantities: frozenset[int]
    instance: int | None
    nodes: frozenset[str]
    given: Mapping[str, float]


def bind(setting: Setting) -> Correction:
    """Checks a setting against its formula; CorrectionError names what does not fit."""
    formula = FORMULAS.get(setting.formula)
    if formula is None:
        raise CorrectionError(
            "formula", f"{setting.formula!r} is unknown; known are: {', '.join(FORMULAS)}"
        )
    return Correction(
        formula,
        frozenset(_quantities(formula, setting.quantity)),
        setting.instance,
        frozenset(text.lower() for text in setting.nodes),
        _parameters(formula, setting.parameters),
    )


def _quantities(formula: Formula, name: str | None) -> Iterable[int]:
    ids = {row.name: row.id for row in REGISTRY.values() if row.shape == "scalar" and row.id}
    if name is None:
        if not formula.inputs:
            raise CorrectionError("quantity", f"is missing: {formula.name} fits any one quantity")
        return [ids[each] for each in formula.inputs]
    if name not in ids:
        raise CorrectionError("quantity", f"{name!r} is not a scalar quantity of the registry")
    if formula.inputs and name not in formula.inputs:
        raise CorrectionError(
            "quantity", f"{formula.name} is valid for {', '.join(formula.inputs)}, not for {name}"
        )
    return [ids[name]]


def _parameters(formula: Formula, given: Mapping[str, float]) -> Mapping[str, float]:
    for name in given:
        if name not in formula.parameters:
            known = ", ".join(formula.parameters) or "none"
            raise CorrectionError("parameters", f"{name}: {formula.name} has parameters: {known}")
    values: dict[str, float] = {}
    for name, parameter in formula.parameters.items():
        value = given.get(name, parameter.default)
        if value is None:
            raise CorrectionError("parameters", f"{name} is missing for {formula.name}")
        if not parameter.low <= value <= parameter.high:
            raise CorrectionError(
                "parameters", f"{name} must be from {parameter.low:g} to {parameter.high:g}"
            )
        values[name] = value
    return values


class NodeCorrections:
    """The corrections of all nodes, as the sinks' renderer asks for them."""

    def __init__(self, corrections: Iterable[Correction], registry: NodeRegistry) -> None:
        self._corrections = tuple(corrections)
        self._registry = registry

    def apply(self, node: int, samples: Samples) -> Mapping[int, Corrected]:
        """Corrected columns by their index; the first correction that fits a column counts."""
        fitting = [each for each in self._corrections if self._fits(each, node)]
        if not fitting:
            return {}
        corrected: dict[int, Corrected] = {}
        humidity: Sequence[float | None] | None = None
        for index, column in enumerate(samples.columns):
            found = next((each for each in fitting if _covers(each, column)), None)
            if found is None:
                continue
            if humidity is None:
                humidity = _humidity(samples)
            values = _values(column)
            formula = found.formula
            corrected[index] = Corrected(
                formula.name,
                [
                    None if value is None else formula.apply(value, at, found.given)
                    for value, at in zip(values, humidity, strict=True)
                ],
            )
        return corrected

    def _fits(self, correction: Correction, node: int) -> bool:
        if not correction.nodes:
            return True
        info = self._registry.get(node)
        names = {f"{node:08x}"} if info is None else {info.id, info.name.lower(), info.uuid}
        return bool(correction.nodes & names)


def _covers(correction: Correction, column: Column) -> bool:
    return (
        column.quantity in correction.quantities
        and not column.bands
        and correction.instance in (None, column.instance)
    )


def _humidity(samples: Samples) -> Sequence[float | None]:
    columns = [
        column
        for column in samples.columns
        if (row := REGISTRY.get(column.quantity)) is not None and row.name == HUMIDITY
    ]
    if not columns:
        return [None] * len(samples.times_ms)
    return _values(min(columns, key=lambda column: column.instance))


def _values(column: Column) -> list[float | None]:
    """Values in the quantity's unit, None where the quality is not ok."""
    row = REGISTRY[column.quantity]
    qualities = column.qualities
    return [
        None if qualities and qualities[index] else row.value(raw, column.exponent)
        for index, raw in enumerate(column.values)
    ]
