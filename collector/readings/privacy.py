"""Who may know where a node stands: the one way by which a place leaves the collector.

A place is told as the centre of a fixed grid cell. The cell depends on nothing but the place, so
that many answers tell no more than one; noise around the true place would average out. Where the
owner says so, the exact place is told.
"""

import math
import uuid
from collections.abc import Iterable
from functools import lru_cache

from collector.nodes import NodeInfo, NodeRegistry, Site
from collector.readings.observation import Place, PublicNode

METRES_PER_DEGREE = 111_195.0
"""Of latitude, on a sphere of 6,371 km."""
ELEVATION_STEPS_PER_CELL = 20
ELEVATION_STEP_MIN_M = 10.0
PLACE_DIGITS = 6


def cell_centre(place: Place, grid_m: int) -> Place:
    """The centre of the cell that holds the place; the place itself when grid_m is 0.

    Rows have equal heights and each row a whole number of cells about grid_m wide, so that no cell
    is cut at 180 degrees. The elevation is rounded to a twentieth of the cell, at least 10 m.
    """
    if grid_m == 0:
        return place
    rows = max(1, round(180 * METRES_PER_DEGREE / grid_m))
    row = min(rows - 1, int((place.latitude + 90) / 180 * rows))
    latitude = (row + 0.5) * 180 / rows - 90
    around_m = 360 * METRES_PER_DEGREE * math.cos(math.radians(latitude))
    columns = max(1, round(around_m / grid_m))
    column = int((place.longitude + 180) % 360 / 360 * columns)
    longitude = (column + 0.5) * 360 / columns - 180
    return Place(
        round(latitude, PLACE_DIGITS),
        round(longitude, PLACE_DIGITS),
        _coarse_elevation(place.elevation_m, grid_m),
    )


def _coarse_elevation(elevation_m: float | None, grid_m: int) -> float | None:
    if elevation_m is None:
        return None
    step_m = max(ELEVATION_STEP_MIN_M, grid_m / ELEVATION_STEPS_PER_CELL)
    return round(elevation_m / step_m) * step_m


def as_place(site: Site) -> Place:
    """An exact site as a place."""
    return Place(site.latitude, site.longitude, site.elevation_m)


class SinkAudience:
    """What one sink may know: which nodes, and their places on its grid.

    `only` names the nodes that go out there at all; empty means all active ones. A node that its
    owner publishes exactly is not coarsened.
    """

    def __init__(self, registry: NodeRegistry, grid_m: int, only: Iterable[str] = ()) -> None:
        self._registry = registry
        self._grid_m = grid_m
        self._only = frozenset(text.lower() for text in only)
        self._public = lru_cache(maxsize=4096)(self._make)

    def node(self, link: int) -> PublicNode | None:
        """The node as this sink sees it; None when it is unknown, revoked or not for this sink."""
        info = self._registry.get(link)
        if info is None or info.state != "active":
            return None
        return self._public(info)

    def place(self, link: int, place: Place) -> Place | None:
        """A mobile node's position on the grid; None for a node that does not go out."""
        info = self._registry.get(link)
        if info is None or info.state != "active":
            return None
        return cell_centre(place, self._grid(info))

    def _grid(self, info: NodeInfo) -> int:
        return 0 if info.exact else self._grid_m

    def _make(self, info: NodeInfo) -> PublicNode | None:
        if self._only and not self._only & {info.id, info.name.lower(), info.uuid}:
            return None
        place = None
        if info.site is not None and not info.mobile:
            place = cell_centre(as_place(info.site), self._grid(info))
        return PublicNode(
            link=info.node,
            uuid=uuid.UUID(info.uuid),
            name=info.name,
            board=info.board,
            place=place,
            mobile=info.mobile,
        )
