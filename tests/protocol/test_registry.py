"""The registry: rows are never changed, and everything made from them is fresh."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from protocol import quantity
from protocol.registry import EXPERIMENTAL, REGISTRY, SENSOR_MODELS, UNITS, by_name, scaled
from protocol.spec import generate

FROZEN = json.loads((Path(__file__).parent / "frozen_registry.json").read_text(encoding="utf-8"))
FIXED = ("id", "name", "unit", "exponent", "divisor", "shape")


def fixed_part(id: int) -> list[object]:
    row = asdict(REGISTRY[id])
    return [row[name] for name in FIXED]


@pytest.mark.parametrize("row", FROZEN["quantities"], ids=lambda row: str(row[1]))
def test_no_row_is_changed_or_removed(row: list[object]) -> None:
    """A row that was ever published keeps id, name, unit, exponent, divisor and shape for ever."""
    assert fixed_part(int(str(row[0]))) == row


def test_new_rows_are_frozen_too() -> None:
    """Append the row that this names to frozen_registry.json, in the same change."""
    frozen = [row[0] for row in FROZEN["quantities"]]
    assert sorted(REGISTRY) == frozen


@pytest.mark.parametrize(("number", "name"), FROZEN["models"])
def test_no_sensor_model_is_changed(number: int, name: str) -> None:
    assert SENSOR_MODELS[number] == name


def test_new_models_are_frozen_too() -> None:
    assert sorted(SENSOR_MODELS) == [number for number, _ in FROZEN["models"]]


def test_the_board_s_table_is_fresh() -> None:
    assert generate.TARGET.read_text(encoding="utf-8") == generate.board_source()


def test_the_board_knows_every_quantity() -> None:
    for row in REGISTRY.values():
        assert getattr(quantity, row.name.upper()) == row.id
        assert quantity.exponent(row.id) == row.exponent
    for unknown in (0x60, EXPERIMENTAL, 0xFF):
        with pytest.raises(KeyError):
            quantity.exponent(unknown)


def test_rows_are_sound() -> None:
    names = [row.name for row in REGISTRY.values()]
    assert len(set(names)) == len(names)
    for row in REGISTRY.values():
        assert 0 <= row.id < EXPERIMENTAL
        assert row.unit in UNITS
        assert row.low < row.high
        assert -9 <= row.exponent <= 9
        assert by_name(row.name) is row
        assert row.measure.ucum
    with pytest.raises(KeyError):
        by_name("pm3")


@pytest.mark.parametrize(
    ("raw", "exponent", "divisor", "value"),
    [
        (13, -1, 1, 1.3),
        (101325, 0, 1, 101325.0),
        (-276, -2, 1, -2.76),
        (129, 0, 2, 64.5),
        (4138510, -5, 1, 41.3851),
        (7, 9, 1, 7e9),
        (2**31 - 1, -9, 1, 2.147483647),
        (3, -1, 2, 0.15),
    ],
)
def test_values_are_the_nearest_floats(raw: int, exponent: int, divisor: int, value: float) -> None:
    assert scaled(raw, exponent, divisor) == value
