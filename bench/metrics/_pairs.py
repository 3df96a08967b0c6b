"""What metrics of a pair share: the promise that both sides are alike and large enough, and their squared error."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch


def check_pairs(translated: ImageBatch, reference: ImageBatch, metric: str, least_px: int = 1) -> None:
    """Raise ContractError where the two sides differ in shape, dtype or peak, or an image is smaller than `least_px`."""
    a, b = translated.pixels, reference.pixels
    if a.shape != b.shape or a.dtype != b.dtype or translated.peak != reference.peak:
        raise ContractError(
            f"{metric} compares images of one shape, dtype and peak (B, H, W, C), got {a.shape} {a.dtype} {translated.peak} "
            f"and {b.shape} {b.dtype} {reference.peak}; bring both sides to one grid and depth first"
        )
    height, width = a.shape[1:3]
    if min(height, width) < least_px:
        raise ContractError(
            f"{metric} needs images of at least {least_px}x{least_px} px, got {height}x{width}; leave {metric} out"
        )


def squared_error(x: Shaped[np.ndarray, "*shape"], y: Shaped[np.ndarray, "*shape"]) -> int:
    """The sum of the squared differences of two arrays of 8 or 16 bits; exact up to 10^15."""
    # cv2 widens integers before it subtracts, and numpy would wrap around; the norm is a root that was squared again
    return round(cv2.norm(x, y, cv2.NORM_L2SQR))


def mean_squared_error(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """The mean over all pixels and bands of each pair, in squared levels of the peak."""
    pairs = zip(translated.pixels, reference.pixels, strict=True)
    return np.array([squared_error(x.reshape(-1), y.reshape(-1)) / x.size for x, y in pairs])
