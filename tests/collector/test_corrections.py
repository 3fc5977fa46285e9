"""Formulas: published numbers, the inputs they refuse, and how they meet a frame's columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from collector.nodes import NodeRegistry
from collector.readings.corrections import (
    FORMULAS,
    Correction,
    CorrectionError,
    NodeCorrections,
    bind,
    kappa_koehler,
    us_epa,
)
from protocol.registry import REGISTRY

IDS = {row.name: row.id for row in REGISTRY.values()}


@dataclass
class Wanted:
    formula: str
    quantity: str | None = None
    instance: int | None = None
    nodes: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Column:
    quantity: int
    values: list[int]
    instance: int = 0
    exponent: int | None = None
    first_band: int = 0
    bands: int = 0
    qualities: list[int] | None = None


@dataclass
class Samples:
    columns: list[Column]
    period_ms: int = 1000

    @property
    def times_ms(self) -> list[int]:
        return [i * self.period_ms for i in range(len(self.columns[0].values))]


def applied(wanted: Wanted, *columns: Column, node: int = 1) -> dict[int, tuple[str, list[float]]]:
    corrections = NodeCorrections([bind(wanted)], NodeRegistry())
    return dict(corrections.apply(node, Samples(list(columns))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("humidity", "factor"), [(50, 1.24), (70, 1.57), (80, 1.97), (90, 3.18), (95, 5.61)]
)
def test_kappa_koehler_gives_the_published_factors(humidity: float, factor: float) -> None:
    dry = kappa_koehler(100.0, humidity, {"kappa": 0.4})
    assert dry is not None
    assert 100 / dry == pytest.approx(factor, abs=0.005)


def test_fog_is_not_corrected_away_and_dry_air_not_at_all() -> None:
    at = {"kappa": 0.4}
    assert kappa_koehler(100.0, 100, at) == kappa_koehler(100.0, 95, at)
    assert kappa_koehler(100.0, 0, at) == 100.0
    assert kappa_koehler(100.0, None, at) is None


def test_the_epa_formula_and_its_range() -> None:
    assert us_epa(20.0, 50.0, {}) == pytest.approx(0.524 * 20 - 0.0862 * 50 + 5.75)
    assert us_epa(0.0, 100.0, {}) == 0.0
    assert us_epa(343.1, 50.0, {}) is None
    assert us_epa(20.0, None, {}) is None


def test_names_end_in_a_version() -> None:
    for name, formula in FORMULAS.items():
        assert name == formula.name
        assert name.rsplit("-", 1)[1].isdigit()


@pytest.mark.parametrize(
    ("wanted", "key", "reason"),
    [
        (Wanted("epa"), "formula", "known are"),
        (Wanted("us-epa-2021-1", "pm2_5"), "quantity", "valid for pm2_5_cf1"),
        (Wanted("kappa-koehler-1", "laeq"), "quantity", "valid for"),
        (Wanted("linear-1", parameters={"slope": 1}), "quantity", "is missing"),
        (Wanted("linear-1", "nonsense"), "quantity", "not a scalar"),
        (Wanted("linear-1", "bands_z", parameters={"slope": 1}), "quantity", "not a scalar"),
        (Wanted("linear-1", "pm1"), "parameters", "slope is missing"),
        (Wanted("linear-1", "pm1", parameters={"slope": 0}), "parameters", "from 0.01 to 100"),
        (Wanted("kappa-koehler-1", parameters={"k": 1}), "parameters", "has parameters: kappa"),
    ],
)
def test_what_does_not_fit_is_refused(wanted: Wanted, key: str, reason: str) -> None:
    with pytest.raises(CorrectionError, match=reason) as caught:
        bind(wanted)
    assert caught.value.key == key


def test_only_the_columns_that_fit_are_corrected() -> None:
    found = applied(
        Wanted("kappa-koehler-1", "pm2_5", parameters={"kappa": 0.4}),
        Column(IDS["pm10"], [200, 200]),
        Column(IDS["pm2_5"], [100, 100]),
        Column(IDS["humidity"], [5000, 9000]),
    )
    assert list(found) == [1]
    formula, values = found[1]
    assert formula == "kappa-koehler-1"
    assert values == [pytest.approx(10 / 1.2424, rel=1e-4), pytest.approx(10 / 3.1818, rel=1e-4)]


def test_a_missing_or_flagged_input_gives_no_value() -> None:
    no_humidity = applied(Wanted("kappa-koehler-1"), Column(IDS["pm10"], [200]))
    assert no_humidity[0][1] == [None]
    found = applied(
        Wanted("kappa-koehler-1"),
        Column(IDS["pm10"], [200, 200, 200], qualities=[0, 2, 0]),
        Column(IDS["humidity"], [5000, 5000, 5000], qualities=[6, 0, 0]),
    )
    first, second, third = found[0][1]
    assert (first, second) == (None, None)
    assert third == pytest.approx(20 / 1.2424, rel=1e-4)


def test_a_calibration_is_for_one_unit() -> None:
    wanted = Wanted("linear-1", "temperature", 1, ("00000001",), {"slope": 1.0, "offset": -0.4})
    columns = Column(IDS["temperature"], [2000]), Column(IDS["temperature"], [2000], instance=1)
    assert applied(wanted, *columns) == {1: ("linear-1", [pytest.approx(19.6)])}
    assert applied(wanted, *columns, node=2) == {}


def test_a_column_with_its_own_exponent_is_scaled_by_it() -> None:
    wanted = Wanted("linear-1", "temperature", parameters={"slope": 2.0})
    found = applied(wanted, Column(IDS["temperature"], [21], exponent=0))
    assert found[0][1] == [42.0]


def test_the_first_fitting_correction_counts() -> None:
    first = bind(Wanted("linear-1", "pm10", parameters={"slope": 2}, nodes=("00000001",)))
    second: Correction = bind(Wanted("linear-1", "pm10", parameters={"slope": 3}))
    corrections = NodeCorrections([first, second], NodeRegistry())
    samples = Samples([Column(IDS["pm10"], [10])])
    assert corrections.apply(1, samples)[0].values == [2.0]  # type: ignore[arg-type]
    assert corrections.apply(2, samples)[0].values == [3.0]  # type: ignore[arg-type]
