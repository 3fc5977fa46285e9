"""A place leaves the collector as a stable cell's centre, or not at all."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.nodes import NodeInfo, NodeRegistry, Site
from collector.readings.observation import Place
from collector.readings.privacy import METRES_PER_DEGREE, SinkAudience, cell_centre

UUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
SITE = Site(41.385064, 2.173404, 12.0)
latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
grids = st.sampled_from([100, 500, 1_000, 5_000, 100_000])


def node(**changes: object) -> NodeInfo:
    return NodeInfo(**{"node": 1, "uuid": UUID, "name": "Plaza", "site": SITE, **changes})  # type: ignore[arg-type]


def distance_m(a: Place, b: Place) -> float:
    north = (a.latitude - b.latitude) * METRES_PER_DEGREE
    turn = (a.longitude - b.longitude + 180) % 360 - 180
    east = turn * METRES_PER_DEGREE * math.cos(math.radians(b.latitude))
    return math.hypot(north, east)


@given(latitudes, longitudes, grids)
def test_the_centre_is_near_and_is_its_own_cells_centre(
    latitude: float, longitude: float, grid_m: int
) -> None:
    centre = cell_centre(Place(latitude, longitude), grid_m)
    assert -90 <= centre.latitude <= 90
    assert -180 <= centre.longitude <= 180
    assert cell_centre(centre, grid_m) == centre
    if abs(latitude) < 80:
        assert distance_m(Place(latitude, longitude), centre) <= grid_m


def test_all_places_of_a_cell_have_one_answer() -> None:
    centre = cell_centre(Place(41.385, 2.173), 1_000)
    near = [
        Place(centre.latitude + north * 0.004, centre.longitude + east * 0.005)
        for north in (-1, 0, 1)
        for east in (-1, 0, 1)
    ]
    assert {cell_centre(place, 1_000) for place in near} == {centre}


def test_the_elevation_does_not_tell_the_place() -> None:
    heights = {cell_centre(Place(41, 2, height), 1_000).elevation_m for height in (26, 49.9, 74)}
    assert heights == {50.0}
    assert cell_centre(Place(41, 2, None), 1_000).elevation_m is None


def test_no_grid_is_the_exact_place() -> None:
    assert cell_centre(Place(1.23456789, 2, 3), 0) == Place(1.23456789, 2, 3)


def test_a_sink_sees_the_cell_and_the_owner_may_say_exact() -> None:
    shy = SinkAudience(NodeRegistry(nodes=[node()]), 1_000).node(1)
    assert shy is not None
    assert shy.place == cell_centre(Place(SITE.latitude, SITE.longitude, 12.0), 1_000)
    assert shy.place != Place(SITE.latitude, SITE.longitude, 12.0)
    open_node = SinkAudience(NodeRegistry(nodes=[node(exact=True)]), 1_000).node(1)
    assert open_node is not None
    assert open_node.place == Place(SITE.latitude, SITE.longitude, 12.0)


def test_a_mobile_node_has_no_place_and_its_positions_are_cells() -> None:
    audience = SinkAudience(NodeRegistry(nodes=[node(mobile=True)]), 500)
    public = audience.node(1)
    assert public is not None
    assert public.place is None
    there = Place(41.4, 2.2, 7)
    assert audience.place(1, there) == cell_centre(there, 500)


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
