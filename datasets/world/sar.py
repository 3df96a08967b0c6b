"""The land as a side-looking radar sees it: one C-band VV intensity on the optical image's grid.

The sensor is far away on the left and looks to the right at 40 degrees of incidence. The image is geocoded on the terrain, so
that flat ground lies where it lies in the optical image, and things that stand on it do not.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, Int64
from numpy.random import Generator

from sarbench.datasets.world.exact import intensity, single, words
from sarbench.datasets.world.land import GSD_M, Land
from sarbench.datasets.world.materials import BUILDING, INDEX
from sarbench.datasets.world.raster import cast_shadow, cosine

INCIDENCE_DEG = 40.0
TANGENT = single(math.tan(math.radians(INCIDENCE_DEG)))
SENSOR = (single(-math.sin(math.radians(INCIDENCE_DEG))), 0.0, single(math.cos(math.radians(INCIDENCE_DEG))))
NOISE_FLOOR_DB = -24.0  # of the sensor: what radar shadow shows
WIND_DB = 2.0  # water is brighter or darker by up to this, with the wind of the day
WALL_DB, CORNER_DB = -3.0, 10.0
CORNER_TURN = 0.2  # tangent of the angle between wall and track at which the double bounce has lost half its power
BETWEEN_TREES = 0.15  # of the power that still comes from ground in the shadow of trees
MOISTURE = 0.25  # relative backscatter, before speckle: what is wetter is brighter here, and darker in the optical image
RANGE_DB = (-25.0, 5.0)


def sar_image(rng: Generator, mean: Float32[np.ndarray, "H W"], looks: int) -> Float32[np.ndarray, "H W"]:
    """Intensity with the speckle of so many looks."""
    return mean * speckle(rng, mean.shape, looks)


def mean_intensity(rng: Generator, land: Land, edge_px: int = 0) -> Float32[np.ndarray, "H W"]:
    """Backscatter without speckle, with edge_px of the land's margin left on each side.

    Terrain changes it by (cos local / cos 40)^2, Lambert's law for surfaces (Clapp, 1946; Ulaby, Moore and Fung, 1982). What
    stands h high appears h / tan(40) nearer to the sensor, on top of what lies there (layover), and hides the ground up to
    h tan(40) behind it (shadow). The wall of a house that faces the sensor is drawn out over its layover, and has a bright
    line at its foot, the double bounce between ground and wall, which fades as the wall turns away (Franceschetti et al.,
    2002, 10.1109/TGRS.2002.802509; how fast it fades here is ours).
    """
    cut = land.margin_px - edge_px
    rows = slice(cut - 1, len(land.patch) - cut + 1)  # one more than wanted, for slopes; all columns, for shadow and layover
    labels, object_m, terrain_m = land.labels[rows], land.object_m[rows], land.terrain_m[rows]
    sigma0 = _sigma0(rng, land, rows)
    slope = cosine(terrain_m, GSD_M, SENSOR)
    slope *= np.float32(1.0 / SENSOR[2])
    np.maximum(slope, np.float32(0.05), out=slope)
    sigma0 *= slope
    sigma0 *= slope

    house = labels == BUILDING
    shadow = cast_shadow(object_m, GSD_M, SENSOR)
    raised = object_m > 0.0
    seen = sigma0 * ~raised
    seen *= np.float32(1.0) - shadow * np.float32(1.0 - BETWEEN_TREES)
    seen *= np.float32(1.0) - cast_shadow(object_m * house, GSD_M, SENSOR)
    _lay_over(seen, sigma0, object_m, np.flatnonzero(raised & (shadow < np.float32(0.5))))
    _add_walls(seen, object_m, land.across[rows], house)
    seen += intensity(NOISE_FLOOR_DB)
    return np.ascontiguousarray(seen[1:-1, cut : seen.shape[1] - cut])


def _sigma0(rng: Generator, land: Land, rows: slice) -> Float32[np.ndarray, "h W"]:
    """Backscatter on flat ground."""
    table_db = land.patches.sigma0_db.copy()
    table_db[INDEX["water"]] += rng.uniform(-WIND_DB, WIND_DB)
    sigma0 = intensity(table_db).take(land.patch[rows])
    sigma0 *= np.maximum(np.float32(1.0) - land.detail[rows] * np.float32(MOISTURE), np.float32(0.3))
    return sigma0


def _lay_over(
    seen: Float32[np.ndarray, "h W"],
    sigma0: Float32[np.ndarray, "h W"],
    object_m: Float32[np.ndarray, "h W"],
    pixels: Int64[np.ndarray, " N"],
) -> None:
    """Add what stands there at the place where it appears; a place between two pixels goes to both."""
    place = object_m.ravel().take(pixels) * np.float32(-1.0 / (TANGENT * GSD_M))
    whole = np.floor(place)
    right = place - whole
    target = pixels + whole.astype(np.int32)
    inside = target >= pixels - pixels % seen.shape[1]
    target, right, power = target[inside], right[inside], sigma0.ravel().take(pixels[inside])
    right *= power
    np.add.at(seen.ravel(), target, power - right)
    np.add.at(seen.ravel(), target + 1, right)


def _add_walls(
    seen: Float32[np.ndarray, "h W"],
    object_m: Float32[np.ndarray, "h W"],
    across: Float32[np.ndarray, "h W"],
    house: Bool[np.ndarray, "h W"],
) -> None:
    """Add the walls that face the sensor, from where their top appears to their foot, and the double bounce at the foot."""
    front = house[1:-1, 1:-1] & ~house[1:-1, :-2]
    rows, columns = np.nonzero(front)
    rows, columns = rows + 1, columns + 1
    turned = across[rows, columns + 1] - across[rows, columns - 1]
    turned = turned / np.maximum(across[rows + 1, columns] - across[rows - 1, columns], np.float32(0.1))
    turned *= np.float32(1.0 / CORNER_TURN)
    seen[rows, columns] += intensity(CORNER_DB) / (np.float32(1.0) + turned * turned)
    length_px = np.rint(object_m[rows, columns] * np.float32(1.0 / (TANGENT * GSD_M))).astype(np.intp)
    for back in range(1, int(length_px.max(initial=0)) + 1):
        hit = (length_px >= back) & (columns >= back)
        seen[rows[hit], columns[hit] - back] += intensity(WALL_DB)


def speckle(rng: Generator, shape: tuple[int, ...], looks: int) -> Float32[np.ndarray, "..."]:
    """Fully developed speckle: gamma variables of mean 1 and shape `looks`, independent from pixel to pixel (Goodman, 1976).

    Their coefficient of variation is 1 / sqrt(looks). Drawn from 65536 quantiles of equal probability.
    """
    return _gamma_quantiles(looks).take(words(rng, *shape))


@lru_cache(maxsize=8)
def _gamma_quantiles(looks: int) -> Float32[np.ndarray, " 65536"]:
    """Quantiles of the gamma distribution, from P(x) = 1 - exp(-x) (1 + x + x^2 / 2! + ... + x^(looks - 1) / (looks - 1)!)."""
    x = (looks + 8.0 * math.sqrt(looks) + 8.0) * np.linspace(0.0, 1.0, 20_001) ** 3
    term = np.exp(-x)
    below = 1.0 - term
    for k in range(1, looks):
        term = term * x / k
        below = below - term
    wanted = (np.arange(65536) + 0.5) / 65536
    values = np.interp(wanted, np.maximum.accumulate(below), x)
    return (values / values.mean()).astype(np.float32)


def to_unit(values_db: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Decibels clipped to RANGE_DB and mapped to [0, 1]."""
    low, high = RANGE_DB
    return (np.clip(values_db, np.float32(low), np.float32(high)) - np.float32(low)) * np.float32(1.0 / (high - low))
