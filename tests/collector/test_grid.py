"""The grid of places: one cell for each place and size, every larger one made of whole smaller."""

import itertools
import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector import grid

latitudes = st.one_of(
    st.floats(-90, 90),
    st.floats(0, 0.06).map(lambda near: 90 - near),
    st.floats(0, 0.06).map(lambda near: near - 90),
    st.sampled_from([-90.0, 90.0, 0.0, -0.0, math.nextafter(90, 0), math.nextafter(-90, 0)]),
)
longitudes = st.one_of(
    st.floats(-180, 180),
    st.floats(-1e-5, 1e-5).map(lambda near: (360 + near) % 360 - 180),
    st.sampled_from([-180.0, 180.0, math.nextafter(180, 0), math.nextafter(-180, 0), 0.0]),
)
PAIRS = [*itertools.pairwise(grid.SIZES_M)]


def neighbours(cell: grid.Cell) -> list[tuple[float, float]]:
    """Places all over a cell of at most 1,000 m, near its edges too."""
    rows = grid.ROWS * (grid.BASE_M // cell.size_m)
    parts = (0.001, 0.25, 0.5, 0.75, 0.999)
    return [
        ((cell.row + up) * 180 / rows - 90, (cell.column + along) * 360 / cell.columns - 180)
        for up in parts
        for along in parts
    ]


def told_by_the_first_grid(latitude: float, longitude: float) -> tuple[float, float]:
    """The middle of the cell of 1,000 m as it was before cells were nested."""
    rows = max(1, round(180 * 111_195.0 / 1_000))
    row = min(rows - 1, int((latitude + 90) / 180 * rows))
    middle = (row + 0.5) * 180 / rows - 90
    columns = max(1, round(360 * 111_195.0 * math.cos(math.radians(middle)) / 1_000))
    column = int((longitude + 180) % 360 / 360 * columns)
    return middle, (column + 0.5) * 360 / columns - 180


@given(latitudes, st.floats(-180, math.nextafter(180, 0)))
def test_cells_of_1000_m_are_those_that_were_always_told(latitude: float, longitude: float) -> None:
    told = told_by_the_first_grid(latitude, longitude)
    if told[1] < 180:
        assert grid.cell_of(latitude, longitude, 1_000).middle == told


@given(latitudes, longitudes)
@settings(max_examples=500)
@example(90.0, 180.0)
@example(-90.0, -180.0)
def test_a_smaller_cell_lies_in_one_larger_cell(latitude: float, longitude: float) -> None:
    for smaller_m, larger_m in PAIRS:
        small = grid.cell_of(latitude, longitude, smaller_m)
        large = grid.cell_of(latitude, longitude, larger_m)
        if smaller_m <= grid.BASE_M:
            for place in neighbours(small):
                assert grid.cell_of(*place, smaller_m) == small
                assert grid.cell_of(*place, larger_m) == large
        assert grid.cell_of(*small.middle, larger_m) == large


@given(latitudes, longitudes, st.sampled_from(grid.SIZES_M))
@settings(max_examples=500)
def test_the_middle_as_it_is_told_lies_in_the_cell(
    latitude: float, longitude: float, size_m: int
) -> None:
    cell = grid.cell_of(latitude, longitude, size_m)
    middle = tuple(round(degrees, 6) for degrees in cell.middle)
    assert -90 <= middle[0] <= 90
    assert -180 <= middle[1] <= 180
    assert grid.cell_of(*middle, size_m) == cell
    assert 0 <= cell.column < cell.columns


@given(latitudes, longitudes, st.sampled_from(grid.SIZES_M))
@settings(max_examples=300)
def test_a_cell_is_no_smaller_than_its_size_says(
    latitude: float, longitude: float, size_m: int
) -> None:
    """Area, which the sphere's belts give exactly; a polar cap may be larger, nothing smaller."""
    cell = grid.cell_of(latitude, longitude, size_m)
    level = grid.LEVELS[size_m]
    rows = grid.ROWS << -level if level < 0 else grid.ROWS
    first, last = grid._base_rows(cell.row, level) if level > 0 else (cell.row, cell.row)
    south, north = (math.radians(r * 180 / rows - 90) for r in (first, last + 1))
    radius_m = grid.METRES_PER_DEGREE * 180 / math.pi
    belt_m2 = 2 * math.pi * radius_m**2 * (math.sin(north) - math.sin(south))
    assert belt_m2 / cell.columns >= 0.7 * size_m**2


@given(st.floats(-500, 9_000), st.sampled_from(PAIRS))
def test_steps_of_elevation_are_nested_and_a_fifth_of_the_cell(
    elevation_m: float, pair: tuple[int, int]
) -> None:
    small, large = (grid.elevation_told(elevation_m, size_m) for size_m in pair)
    assert abs(small - elevation_m) <= pair[0] / 10
    assert abs(large - elevation_m) <= pair[1] / 10
    for inside in (-0.49, 0.0, 0.49):
        near = small + inside * pair[0] / 5
        assert grid.elevation_told(near, pair[0]) == small
        assert grid.elevation_told(near, pair[1]) == large


@given(st.floats(-500, 9_000))
def test_a_step_of_elevation_holds_what_was_told_before_cells_were_nested(
    elevation_m: float,
) -> None:
    """A told step of 50 m at cells of 1,000 m lies in one step of today."""
    step_m = round(elevation_m / 50) * 50
    for near in (step_m - 24.9, step_m, step_m + 24.9):
        assert grid.elevation_told(near, 1_000) == grid.elevation_told(elevation_m, 1_000)


def test_a_wish_is_a_size_or_the_next_larger_one() -> None:
    wishes = [1, 125, 126, 900, 1_000, 1_001, 100_000, 128_000, 1e9]
    taken = [125, 125, 250, 1_000, 1_000, 2_000, 128_000, 128_000, 128_000]
    assert [grid.size_for(wish_m) for wish_m in wishes] == taken
