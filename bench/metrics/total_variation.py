"""Total variation: how much an image changes from one pixel to the next. It reads the translated image alone.

Unit: grey levels of 255; lower is smoother, and listed as better because SRUIT reads it so.
Formula: the mean of |difference| over all pairs of pixels that touch left-right or up-down, in all bands (anisotropic, L1),
times 255 / peak. The sum that libraries give is this mean times the number of such pairs, and grows with the image.
Conventions: torchmetrics sums the differences of images in [0, 1]; piq takes the root of the sum of their squares. Both grow
with the image.
Source: Rudin, Osher and Fatemi, Physica D 60, 1992, https://doi.org/10.1016/0167-2789(92)90242-F; used in Table 3 of SRUIT,
which names PIQ but no norm.
Misleads: a blank image has the best value there is; read it only beside a metric that knows the reference.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.metric import ImageBatch, Metric


def total_variation(translated: ImageBatch) -> Float[np.ndarray, " B"]:
    """Mean absolute difference of neighbouring pixels of each image, in [0, 255], (B,) float64; NaN for single pixels."""
    height, width, bands = translated.pixels.shape[1:]
    count = bands * ((height - 1) * width + height * (width - 1))
    return _sums(translated, cv2.NORM_L1) * (255 / translated.peak) / (count or math.nan)


def _of_torchmetrics(translated: ImageBatch) -> Float[np.ndarray, " B"]:
    return _sums(translated, cv2.NORM_L1) / translated.peak


def _of_piq(translated: ImageBatch) -> Float[np.ndarray, " B"]:
    return np.sqrt(_sums(translated, cv2.NORM_L2SQR)) / translated.peak


def _sums(images: ImageBatch, norm: int) -> Float[np.ndarray, " B"]:
    """The sum of |difference| or difference^2 over all neighbouring pixels of each image, in levels of the peak."""
    # cv2 widens integers before it subtracts; numpy would wrap around
    return np.array([_norm(x[1:], x[:-1], norm) + _norm(x[:, 1:], x[:, :-1], norm) for x in images.pixels])


def _norm(a: Shaped[np.ndarray, "h w C"], b: Shaped[np.ndarray, "h w C"], norm: int) -> float:
    return cv2.norm(a, b, norm) if a.size else 0.0


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

compat = {
    "torchmetrics": replace(
        metric,
        name="total_variation@torchmetrics",
        signature="total_variation@torchmetrics;l1-anisotropic;sum;range1;v1",
        unit="",
        rows=_of_torchmetrics,
        undefined="",
    ),
    "piq": replace(
        metric,
        name="total_variation@piq",
        signature="total_variation@piq;l2;root-of-sum;range1;v1",
        unit="",
        rows=_of_piq,
        undefined="",
    ),
}
