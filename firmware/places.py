"""Where a mobile board may say that it is: rounded, never at home, never where others can read."""

from math import cos, pi

from firmware.sampling import Slot
from protocol import quantity
from protocol.wire import Q_MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.node import Node
    from firmware.sampling import Sampler

UNIT_M = 1.1132  # metres of 1e-5 degree along a meridian
DECIMALS = 5


class Zone:
    """A circle around a home: "latitude, longitude, radius", degrees and metres.

    Raises ValueError for anything else.
    """

    def __init__(self, text: str) -> None:
        latitude, longitude, radius = text.replace(",", " ").split()
        self._latitude = round(float(latitude) * 10**DECIMALS)
        self._longitude = round(float(longitude) * 10**DECIMALS)
        self._radius_m = float(radius)
        self._shrink = cos(float(latitude) * pi / 180)

    def holds(self, latitude: int, longitude: int) -> bool:
        """Whether a place in 1e-5 degree lies within."""
        north_m = (latitude - self._latitude) * UNIT_M
        turn = 36_000_000
        east = (longitude - self._longitude + turn // 2) % turn - turn // 2
        east_m = east * UNIT_M * self._shrink
        inside: bool = north_m * north_m + east_m * east_m <= self._radius_m * self._radius_m
        return inside


def rounded(value: int, decimals: int) -> int:
    """A coordinate in 1e-5 degree, rounded to so many decimals of a degree."""
    step = int(10 ** (DECIMALS - decimals))
    return (value + step // 2) // step * step


class PlaceSlot(Slot):
    """The slot of a sensor that gives a position: it lets through what may be told."""

    def __init__(self, sensor: "Any", sampler: "Sampler", first: int, node: "Node") -> None:
        super().__init__(sensor, sampler, first)
        self._node = node
        settings = node.settings
        self._decimals: int = settings["position_decimals"]
        self._zones: "list[Zone]" = []
        self._wrong_zone = ""  # a home that cannot be told from elsewhere: nothing is told
        for name in ("home_zone_1", "home_zone_2", "home_zone_3"):
            if settings[name]:
                try:
                    self._zones.append(Zone(settings[name]))
                except ValueError:
                    self._wrong_zone = name
        self._latitude = self._index_of(quantity.LATITUDE)
        self._longitude = self._index_of(quantity.LONGITUDE)
        self._given: "list[tuple[int | None, int]]" = []
        self._refused = False

    def _index_of(self, wanted: int) -> int:
        for index, channel in enumerate(self.sensor.CHANNELS):
            if channel[0] == wanted:
                return index
        raise ValueError("a position needs latitude and longitude")

    def read(self) -> None:
        """Take over the position, unless it must not be told: then all of it is missing."""
        self._given = [(None, Q_MISSING)] * len(self.sensor.CHANNELS)
        super().read()
        latitude, quality = self._given[self._latitude]
        longitude = self._given[self._longitude][0]
        if latitude is None or longitude is None or quality == Q_MISSING:
            return
        if not self._may_tell(latitude, longitude):
            return
        for index, (value, quality) in enumerate(self._given):
            if value is not None and index in (self._latitude, self._longitude):
                value = rounded(value, self._decimals)
            super().put(index, value, quality)

    def put(self, channel: int, value: "int | None", quality: int = 0) -> None:
        """Hold a value back until the whole position is there."""
        self._given[channel] = (value, quality)

    def _may_tell(self, latitude: int, longitude: int) -> bool:
        why = ""
        if self._wrong_zone:
            why = self._wrong_zone + " must be: latitude, longitude, radius in metres"
        elif not self._node.link.secure:
            why = "the link is neither TLS nor a cable"
        if why:
            if not self._refused:
                self._node.log("position refused: " + why)
            self._refused = True
            return False
        for zone in self._zones:
            if zone.holds(latitude, longitude):
                return False
        return True
