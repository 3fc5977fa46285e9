"""A place leaves the collector as a stable cell's centre, or not at all."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import grid
from collector.grid import METRES_PER_DEGREE
from collector.nodes import NodeInfo, NodeRegistry, Site
from collector.readings.observation import Place
from collector.readings.privacy import SinkAudience, cell_centre, place_told

UUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
SITE = Site(41.385064, 2.173404, 12.0)
SITE_PLACE = Place(41.385064, 2.173404, 12.0)
latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


def node(**changes: object) -> NodeInfo:
    return NodeInfo(**{"node": 1, "uuid": UUID, "name": "Plaza", "site": SITE, **changes})  # type: ignore[arg-type]


def test_a_place_is_told_as_its_cells_middle_and_elevation_as_a_step() -> None:
    told = cell_centre(Place(41.385064, 2.173404, 12.0), 1_000)
    assert told == Place(41.38696, 2.169613, 75.0)
    assert cell_centre(told, 1_000) == told
    assert cell_centre(Place(41, 2, None), 1_000).elevation_m is None


def test_a_size_that_there_is_not_is_the_next_larger() -> None:
    assert cell_centre(SITE_PLACE, 900) == cell_centre(SITE_PLACE, 1_000)


def test_no_grid_is_the_exact_place() -> None:
    assert cell_centre(Place(1.23456789, 2, 3), 0) == Place(1.23456789, 2, 3)


@pytest.mark.parametrize("grid_m", [0, 1, 125, 500, 999, 1_000])
def test_no_sink_gets_less_than_the_nodes_cell(grid_m: int) -> None:
    public = SinkAudience(NodeRegistry(nodes=[node()]), grid_m).node(1)
    assert public is not None
    assert public.place == cell_centre(SITE_PLACE, 1_000)


def test_a_sink_may_want_larger_cells_even_of_an_exact_node() -> None:
    for info in (node(), node(exact=True), node(cell_m=125)):
        public = SinkAudience(NodeRegistry(nodes=[info]), 4_000).node(1)
        assert public is not None
        assert public.place == cell_centre(SITE_PLACE, 4_000)


@pytest.mark.parametrize(("choice", "size_m"), [({"exact": True}, 0), ({"cell_m": 250}, 250)])
def test_the_owner_may_say_exact_or_finer(choice: dict[str, object], size_m: int) -> None:
    public = SinkAudience(NodeRegistry(nodes=[node(**choice)])).node(1)
    assert public is not None
    assert public.place == cell_centre(SITE_PLACE, size_m)


def test_a_mobile_node_has_no_place_and_its_positions_are_cells() -> None:
    audience = SinkAudience(NodeRegistry(nodes=[node(mobile=True)]), 500)
    public = audience.node(1)
    assert public is not None
    assert public.place is None
    there = Place(41.4, 2.2, 7)
    assert audience.place(1, there) == cell_centre(there, 1_000)


@pytest.mark.parametrize("where", [(90.1, 0), (-91, 0), (0, 181), (0, -200), (1e18, 1e18)])
def test_what_is_no_place_on_earth_is_not_told(where: tuple[float, float]) -> None:
    for info in (node(mobile=True), node(mobile=True, exact=True)):
        assert SinkAudience(NodeRegistry(nodes=[info])).place(1, Place(*where)) is None


choices = st.one_of(
    st.sampled_from(grid.SIZES_M).map(lambda size_m: {"cell_m": size_m, "exact": False}),
    st.just({"exact": False}),
)
wishes = st.lists(st.integers(0, 100_000), min_size=1, max_size=4)


@given(
    st.one_of(latitudes, st.floats(0, 0.02).map(lambda near: 90 - near)),
    st.one_of(longitudes, st.floats(-0.01, 0.01).map(lambda near: (360 + near) % 360 - 180)),
    st.floats(-400, 5_000),
    st.lists(st.tuples(choices, wishes, st.booleans()), min_size=1, max_size=6),
)
@settings(max_examples=200)
def test_all_that_is_ever_told_together_is_never_less_than_the_nodes_cell(
    latitude: float,
    longitude: float,
    elevation_m: float,
    history: list[tuple[dict[str, object], list[int], bool]],
) -> None:
    """Every place of the finest cell that its owner ever chose would have got the same answers."""
    true = Place(latitude, longitude, elevation_m)

    def told(place: Place) -> list[Place | None]:
        answers: list[Place | None] = []
        info = node(site=Site(*place))
        for choice, grids_m, mobile in history:
            info = replace(info, mobile=mobile, **choice)  # type: ignore[arg-type]
            for grid_m in grids_m:
                audience = SinkAudience(NodeRegistry(nodes=[info]), grid_m)
                public = audience.node(1)
                assert public is not None
                answers += [public.place, audience.place(1, place)]
                answers.append(place_told(info, place, grid_m))
        return answers

    info, sizes_m = node(), []
    for choice, _, _ in history:
        info = replace(info, **choice)  # type: ignore[arg-type]
        sizes_m.append(info.cell_m)
    finest_m = min(sizes_m)
    told_of_it = told(true)
    for near in places_within(true, finest_m):
        assert told(near) == told_of_it
    for answer in told_of_it:
        if answer is not None:
            sizes = [s for s in grid.SIZES_M if cell_centre(true, s) == answer]
            assert sizes, "the cell of the middle that is told holds the true place"
            assert cell_centre(answer, sizes[0]) == answer


def places_within(place: Place, size_m: int) -> list[Place]:
    """Places all over a cell, found by trying; the whole cell where it is of at most 1,000 m."""
    latitude, longitude, elevation_m = place
    cell = grid.cell_of(latitude, longitude, size_m)
    height = size_m / METRES_PER_DEGREE
    middle, column = cell.middle, 360 / cell.columns
    found = []
    for up in (-0.49, -0.2, 0.2, 0.49):
        for along in (-0.49, -0.2, 0.2, 0.49):
            near = (
                max(-90.0, min(90.0, middle[0] + up * height)),
                max(-180.0, min(180.0, middle[1] + along * column)),
            )
            if grid.cell_of(*near, size_m) == cell:
                found.append(Place(*near, elevation_m))
    assert len(found) >= 4
    step = grid.elevation_told(elevation_m or 0.0, size_m)
    return [p._replace(elevation_m=step) for p in found] + found


@pytest.mark.parametrize("state", ["revoked", "erased"])
def test_a_node_that_left_is_not_told(state: str) -> None:
    audience = SinkAudience(NodeRegistry(nodes=[node(state=state)]), 500)
    assert audience.node(1) is None
    assert audience.place(1, Place(1, 1)) is None


def test_a_sink_may_be_given_some_nodes_only() -> None:
    registry = NodeRegistry(nodes=[node(), node(node=2, name="Pier")])
    for wanted in ("PIER", "00000002"):
        audience = SinkAudience(registry, 0, [wanted])
        assert audience.node(1) is None
        assert audience.node(2) is not None


def test_a_changed_registry_is_seen_at_once() -> None:
    registry = NodeRegistry(nodes=[node()])
    audience = SinkAudience(registry, 0)
    before = audience.node(1)
    assert before is audience.node(1), "the same object, for channels are interned by it"
    registry.put(node(name="Quay"))
    after = audience.node(1)
    assert after is not None
    assert after.name == "Quay"
