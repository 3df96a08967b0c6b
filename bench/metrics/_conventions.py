"""Pixels as other suites hand them to a metric: what makes one name mean several numbers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sarbench.bench.metric import ImageBatch

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def unit(images: ImageBatch) -> Float[np.ndarray, "B H W C"]:
    """Values in [0, 1], float64."""
    return images.pixels / float(images.peak)


def stretched(images: ImageBatch) -> Float[np.ndarray, "B H W C"]:
    """C-DiffSET's range: a value v in [-1, 1] becomes clamp(v + 0.5, 0, 1), float64.

    That is twice the contrast: all below a quarter of the range is black, all above three quarters white.
    """
    return np.clip(2 * unit(images) - 0.5, 0, 1)


def luma(images: ImageBatch) -> Float[np.ndarray, "B H W C"]:
    """The luma of pyiqa in whole levels of 255, float64: one band for RGB; other images as they are, in levels of 255.

    In float32 up to the rounding, as pyiqa computes it: half a level is common, and which way it goes shows in SSIM.
    """
    levels = images.pixels.astype(np.float32) / np.float32(images.peak)
    if levels.shape[3] == 3:
        red, green, blue = (np.float32(weight) * levels[..., [band]] for band, weight in enumerate(LUMA))
        levels = red + green + blue
    return np.rint(levels * np.float32(255)).astype(np.float64)
