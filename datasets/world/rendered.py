"""The land as a game engine would show it: flat, saturated colours and hard shadows; no texture, haze, blur or noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from sarbench.datasets.world.land import GSD_M, Land
from sarbench.datasets.world.materials import FOREST, WATER, palette
from sarbench.datasets.world.raster import cast_shadow, cosine
from sarbench.datasets.world.sun import Sun

SHADE = 0.5  # brightness in shadow
STEPS = 6.0  # levels of brightness between light and dark slopes, per unit
CROWN_TONES = np.array((0.72, 1.0, 1.25), np.float32)
FOAM = np.array((0.75, 0.92, 0.98), np.float32)  # along shores
FOAM_PX = 1.5


def rendered_image(land: Land, sun: Sun, edge_px: int = 0) -> Float32[np.ndarray, "3 H W"]:
    """The image (R, G, B) in [0, 1], with edge_px of the land's margin left on each side."""
    towards = sun.towards
    dark = land.cut(edge_px + 1, cast_shadow(land.object_m, GSD_M, towards)) > 0.5
    land = land.within(edge_px + 1)  # one more than wanted, for slopes
    light = cosine(land.terrain_m, GSD_M, towards) * np.float32(STEPS / towards[2])
    light = np.rint(light) * np.float32(1.0 / STEPS)
    tone = (land.grain > -0.5).astype(np.intp) + (land.grain > 0.6)
    np.multiply(light, CROWN_TONES.take(tone), out=light, where=land.labels == FOREST)
    np.multiply(light, np.float32(SHADE), out=light, where=dark)
    foam = (land.labels == WATER) & (land.shore_px > -FOAM_PX)

    right, down = land.patches.tilt
    facing = (towards[2] - towards[0] * right - towards[1] * down) / np.sqrt(1.0 + right * right + down * down)
    brightness = np.where(facing / towards[2] > 1.0, 1.15, np.where(facing / towards[2] < 0.99, 0.75, 1.0))
    brightness = brightness * (1.0 + np.rint(land.patches.tint[0] * 8.0) / 12.0)  # a few shades of one colour
    table = palette("game")[land.patches.material].T * brightness
    image = np.empty((3, *land.patch.shape), np.float32)
    for channel in range(3):
        colour = table[channel].astype(np.float32).take(land.patch)
        np.copyto(colour, FOAM[channel], where=foam)
        np.multiply(colour, light, out=image[channel])
    return np.clip(image[:, 1:-1, 1:-1], 0.0, 1.0)
