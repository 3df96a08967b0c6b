"""Total variation: how much an image changes from one pixel to the next. It reads the translated image alone.

Unit: grey levels of 255; lower is smoother, and listed as better because SRUIT reads it so.
Formula: the mean of |difference| over all pairs of pixels that touch left-right or up-down, in all bands (anisotropic, L1),
times 255 / peak. The sum that libraries give is this mean times the number of such pairs, and grows with the image.
Source: Rudin, Osher and Fatemi, Physica D 60, 1992, https://doi.org/10.1016/0167-2789(92)90242-F; used in Table 3 of
SRUIT. That paper names PIQ but no norm; PIQ's default is a root of summed squares, so the two must not be compared.
Misleads: a blank image has the best value there is; read it only beside a metric that knows the reference.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.metric import ImageBatch, Metric


def total_variation(translated: ImageBatch) -> Float[np.ndarray, " B"]:
    """Mean absolute difference of neighbouring pixels of each image, in [0, 255], (B,) float64; NaN for single pixels."""
    return np.array([_of_image(x) * 255 / translated.peak for x in translated.pixels])


def _of_image(x: Shaped[np.ndarray, "H W C"]) -> float:
    neighbours = ((x[1:], x[:-1]), (x[:, 1:], x[:, :-1]))
    count = sum(a.size for a, _ in neighbours)
    # cv2 widens integers before it subtracts; numpy would wrap around
    return sum(cv2.norm(a, b, cv2.NORM_L1) for a, b in neighbours if a.size) / count if count else math.nan


metric = Metric(
    name="total_variation",
    signature="total_variation;l1-anisotropic;mean-difference;rgb-mean;levels255;v1",
    unit="grey levels",
    higher_is_better=False,
    rows=total_variation,
    reads=("translated",),
    decimals=2,
    undefined="the image is a single pixel",
)
