"""Who may know where a node stands: the one way by which a place leaves the collector.

A place is told as the middle of its cell of one nested grid (`grid`). The finest cell in which it
is ever told belongs to the node, not to who asks: whoever lays the answers of all networks,
exports and days over each other gets that cell and nothing smaller. The cell depends on nothing
but the place, so that many answers tell no more than one; noise around the true place would
average out. Where the owner says so, the exact place is told.
"""

import uuid
from collections.abc import Iterable
from functools import lru_cache

from collector import grid
from collector.nodes import NodeInfo, NodeRegistry, Site
from collector.readings.observation import Place, PublicNode

PLACE_DIGITS = 6
EXACT = 0
"""In place of a cell's size."""


def cell_centre(place: Place, grid_m: int) -> Place:
    """The middle of the cell, of at least grid_m, that holds the place; the place itself for 0."""
    if grid_m == EXACT:
        return place
    size_m = grid_m if grid_m in grid.LEVELS else grid.size_for(grid_m)
    latitude, longitude, elevation_m = place
    if elevation_m is not None:
        elevation_m = grid.elevation_told(elevation_m, size_m)
    return Place(*_middle(grid.cell_of(latitude, longitude, size_m)), elevation_m)


@lru_cache(maxsize=4096)
def _middle(cell: grid.Cell) -> tuple[float, float]:
    latitude, longitude = cell.middle
    return round(latitude, PLACE_DIGITS), round(longitude, PLACE_DIGITS)


def size_told(info: NodeInfo | None, wish_m: int = 0) -> int:
    """The size of the cell in which a node's places are told; EXACT where its owner wants that.

    A wish can only make it larger. A node that nobody knows here has the usual size.
    """
    finest_m = grid.DEFAULT_M if info is None else EXACT if info.exact else info.cell_m
    return finest_m if wish_m <= finest_m else grid.size_for(wish_m)


def place_told(info: NodeInfo | None, place: Place, wish_m: int = 0) -> Place | None:
    """A node's place as it may be told to anybody; None for what is no place on Earth."""
    latitude, longitude, _ = place
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return None
    return cell_centre(place, size_told(info, wish_m))


def as_place(site: Site) -> Place:
    """An exact site as a place."""
    return Place(site.latitude, site.longitude, site.elevation_m)


class SinkAudience:
    """What one sink may know: which nodes, and the cells of their places.

    `grid_m` is the sink's wish for cells larger than its nodes have, 0 for none. `only` names the
    nodes that go out there at all; empty means all active ones.
    """

    def __init__(self, registry: NodeRegistry, grid_m: int = 0, only: Iterable[str] = ()) -> None:
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
        """A mobile node's position as it may be told; None for a node that does not go out."""
        info = self._registry.get(link)
        if info is None or info.state != "active":
            return None
        return place_told(info, place, self._grid_m)

    def _make(self, info: NodeInfo) -> PublicNode | None:
        if self._only and not self._only & {info.id, info.name.lower(), info.uuid}:
            return None
        place = None
        if info.site is not None and not info.mobile:
            place = place_told(info, as_place(info.site), self._grid_m)
        return PublicNode(
            link=info.node,
            uuid=uuid.UUID(info.uuid),
            name=info.name,
            board=info.board,
            place=place,
            mobile=info.mobile,
        )
