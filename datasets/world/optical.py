"""The land as an optical sensor sees it: colours of the season, the sun's light and shadows, texture, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator

from sarbench.datasets.world.exact import words
from sarbench.datasets.world.land import GSD_M, Land
from sarbench.datasets.world.materials import FOREST, GRAIN, INDEX, MATERIALS, SNOW, WATER, palette
from sarbench.datasets.world.raster import Vector, blurred, cast_shadow, cosine
from sarbench.datasets.world.sun import Sun, sun

SKY = (0.52, -0.22)  # a, b: the sky's share a + b sin(elevation) of the light on flat ground, which reaches shadows too; ours
CROWNS_M = 0.8  # roughness of a forest's top
SNOWY = 0.6  # share of the winter images with any snow
STRETCH = 1.12  # of the contrast, as displayed images have it
NOISE = 0.004  # standard deviation of the sensor's noise
SNOW_COLOUR = np.array((0.90, 0.92, 0.95), np.float32)
LEAVES = np.array(((0.62, 0.45, 0.13), (0.32, 0.34, 0.12)), np.float32)  # in autumn, crowns lie between these two


@dataclass(frozen=True)
class Weather:
    """What one overpass finds."""

    season: str
    sun: Sun
    snow: float  # 0: none; 1: nearly everywhere


def weather(rng: Generator, season: str) -> Weather:
    """Draw one overpass in a season."""
    place, lies, snow = sun(rng, season), rng.random() < SNOWY, rng.uniform(0.1, 0.7)
    return Weather(season, place, snow if lies and season == "winter" else 0.0)


def optical_image(rng: Generator, land: Land, now: Weather, edge_px: int = 0) -> Float32[np.ndarray, "3 H W"]:
    """The image (R, G, B) in [0, 1], with edge_px of the land's margin left on each side."""
    towards = now.sun.towards
    shadow = land.cut(edge_px + 2, cast_shadow(land.object_m, GSD_M, towards))
    land = land.within(edge_px + 2)  # two more than wanted: one for slopes, one for blur
    light = _light(land, towards, shadow)
    snow = _snow_cover(land, now) if now.snow else None
    broadleaf, crown = land.patch == INDEX["broadleaf"], np.clip(land.grain * np.float32(0.35) + np.float32(0.5), 0.0, 1.0)
    table = _colours(land, now.season, towards)
    image = np.empty((3, *light.shape), np.float32)
    for channel in range(3):
        colour = table[channel].take(land.patch)
        if now.season == "autumn":
            one, other = LEAVES[:, channel] * np.float32(STRETCH)
            np.copyto(colour, one + (other - one) * crown, where=broadleaf)
        if snow is not None:
            colour += (SNOW_COLOUR[channel] - colour) * snow
        np.multiply(colour, light, out=image[channel])
    image = blurred(image[:, 1:-1, 1:-1])
    image += words(rng, *image.shape).view("<i2") * np.float32(NOISE * 3.0**0.5 / 2**15)
    return np.clip(image, 0.0, 1.0, out=image)


def sky_share(towards: Vector) -> float:
    """Which share of the light on flat ground the sky gives: more when the sun is low."""
    return SKY[0] + SKY[1] * towards[2]


def _light(land: Land, towards: Vector, shadow: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Brightness relative to flat ground without shadow: Lambert's law, the sky, and texture."""
    crowns_m = land.grain * (land.labels == FOREST)
    crowns_m *= np.float32(CROWNS_M)
    light = cosine(land.terrain_m + crowns_m, GSD_M, towards)
    light *= np.float32(1.0 / towards[2])
    np.clip(light, 0.3, 1.7, out=light)
    light *= np.float32(1.0) - shadow
    sky = sky_share(towards)
    light *= np.float32(1.0 - sky)
    light += np.float32(sky)
    texture = land.grain * np.float32(0.6)
    texture += land.detail * np.float32(1.4)
    texture *= GRAIN.take(land.patches.material).take(land.patch)
    texture += land.furrow * (land.patch >= len(MATERIALS)) * (land.patch < land.patches.first_house)
    texture += np.float32(1.0)
    light *= texture
    depth = np.clip(land.shore_px * np.float32(-1.0 / 12.0), 0.0, 1.0)  # shallow water is brighter
    light -= light * depth * np.float32(0.25) * (land.labels == WATER)
    return light


def _colours(land: Land, season: str, towards: Vector) -> Float32[np.ndarray, "3 P"]:
    """The colour of each patch; a pitched roof's by the cosine of the angle at which the sun shines on it."""
    right, down = land.patches.tilt
    facing = (towards[2] - towards[0] * right - towards[1] * down) / np.sqrt(1.0 + right * right + down * down)
    sky = sky_share(towards)
    lit = sky + (1.0 - sky) * np.clip(facing / towards[2], 0.0, 1.5)
    colour = palette(season)[land.patches.material].T * (1.0 + land.patches.tint) * (STRETCH * lit)
    return np.ascontiguousarray(colour, np.float32)


def _snow_cover(land: Land, now: Weather) -> Float32[np.ndarray, "H W"]:
    """How much of each pixel snow covers: in drifts, which fields hold and water does not."""
    drift = land.cover * np.float32(0.8) + land.detail * np.float32(0.35) + np.float32(3.0 * now.snow - 1.6)
    np.clip(drift, 0.0, 1.0, out=drift)
    return drift * SNOW.take(land.patches.material).take(land.patch)
