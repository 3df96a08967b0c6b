"""Where the sun stands: from the day of the year, the latitude and the hour of a satellite's morning pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.random import Generator

from sarbench.datasets.world.exact import single

DAYS = {"spring": (100, 135), "summer": (172, 222), "autumn": (275, 310), "winter": (345, 400)}  # of the year
LATITUDE_DEG, HOUR = (38.0, 48.0), (10.3, 11.7)  # ours; apparent solar time: at 12 the sun is highest


@dataclass(frozen=True)
class Sun:
    """The sun's place."""

    azimuth_deg: float  # clockwise from north, which is up in an image
    elevation_deg: float

    @property
    def towards(self) -> tuple[float, float, float]:
        """The unit vector that points to the sun: x right, y down, z up."""
        azimuth, elevation = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        flat = math.cos(elevation)
        return single(math.sin(azimuth) * flat), single(-math.cos(azimuth) * flat), single(math.sin(elevation))


def sun(rng: Generator, season: str) -> Sun:
    """Draw day, latitude and hour, and take elevation and azimuth by spherical trigonometry.

    The declination is Cooper's (1969), 23.45 degrees sin(360 (284 + day) / 365).
    """
    day, latitude, hour = rng.uniform(*DAYS[season]), math.radians(rng.uniform(*LATITUDE_DEG)), rng.uniform(*HOUR)
    declination = math.radians(23.45) * math.sin(math.radians(360.0 * (284.0 + day) / 365.0))
    turned = math.radians(15.0 * (hour - 12.0))
    east = -math.cos(declination) * math.sin(turned)
    north = math.cos(latitude) * math.sin(declination) - math.sin(latitude) * math.cos(declination) * math.cos(turned)
    up = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(turned)
    return Sun(math.degrees(math.atan2(east, north)) % 360.0, math.degrees(math.asin(up)))
