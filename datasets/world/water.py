"""Rivers and lakes: how far it is to the shore."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator

from sarbench.datasets.world.exact import direction
from sarbench.datasets.world.noise import fractal
from sarbench.datasets.world.raster import gradient


@dataclass(frozen=True)
class Shores:
    """About the distance in px to the nearest shore: negative in the water, large where there is none."""

    river_px: Float32[np.ndarray, "H W"]
    lake_px: Float32[np.ndarray, "H W"]
    valley: Float32[np.ndarray, "H W"]  # 0 at the water, 1 outside its valley

    @property
    def nearest_px(self) -> Float32[np.ndarray, "H W"]:
        """The distance to the nearer of the two."""
        return np.minimum(self.river_px, self.lake_px)


FAR_PX = 1e4


def shores(rng: Generator, broad: Float32[np.ndarray, "H W"], river: float, lake: float) -> Shores:
    """A river and a lake, each with its chance; lakes lie in the low parts of `broad`.

    The river is where a plane, bent by noise, crosses zero; its width is even because the distance to that line is taken
    as |f| / |grad f|. Where noise folds the plane, the river leaves loops and old arms behind. Wide rivers swing wide.
    """
    size_px = len(broad)
    far = np.full(broad.shape, FAR_PX, np.float32)
    river_px, lake_px, valley = far, far, np.ones(broad.shape, np.float32)
    has_river, has_lake = rng.random() < river, rng.random() < lake
    if has_river:
        width_px = rng.uniform(4.0, 15.0)
        spacing_px = 32 if width_px < 9.0 else 64  # of the noise's lattice
        meander = fractal(rng, size_px, spacing_px, spacing_px // 4, 5.0)
        cos, sin = direction(rng.uniform(0.0, 2.0 * np.pi))
        offset_px = rng.uniform(-0.35, 0.35) * size_px
        place = np.arange(size_px, dtype=np.float32) - np.float32(size_px / 2)
        line = (place * np.float32(cos))[None, :] + (place * np.float32(sin) - np.float32(offset_px))[:, None]
        line += np.float32(0.55 * spacing_px) * meander
        river_px = distance(line) - np.float32(width_px / 2.0)
        valley = np.clip((np.abs(line) - np.float32(2.0 * width_px)) * np.float32(1.0 / 70.0), 0.0, 1.0)
    if has_lake:
        heights = np.sort(broad[::4, ::4], axis=None)
        level = heights[int(rng.uniform(0.02, 0.2) * len(heights))]
        lake_px = (broad - level) * np.float32(45.0)
        valley *= np.clip(lake_px * np.float32(1.0 / 40.0), 0.0, 1.0)
    valley *= valley * (np.float32(3.0) - np.float32(2.0) * valley)
    valley *= np.minimum(river_px, lake_px) > 0.0
    return Shores(river_px, lake_px, valley)


def distance(field: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """About the distance in px to where a field is zero: |f| / |grad f|."""
    down, right = gradient(field)
    slope = np.sqrt(down * down + right * right + np.float32(0.02))
    return np.abs(field) / slope
