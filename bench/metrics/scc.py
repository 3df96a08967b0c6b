"""Spatial correlation coefficient: does the fine structure of an image go along with that of its reference?

Unit: none, in [-1, 1]; higher is better; 1 for identical images without flat areas.
Formula: both images pass the Laplacian high-pass filter with eight neighbours (symmetric padding); the correlation of the
two results is taken in every 8x8 window (zero padding, the window reaching 4 px up and left and 3 px down and right); a
window in which one side is constant counts as 0; the mean over windows and bands. Brightness and contrast play no part.
Source: the filter of Zhou, Civco and Silander, Int. J. Remote Sensing 19(4), 1998, https://doi.org/10.1080/014311698215973,
in the windowed form that sewar and torchmetrics compute; the paper itself takes one correlation of the whole image.
Misleads: flat areas count as 0 even where both sides agree, so values of scenes with much water are low for every method,
and an identical pair can score below 1.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._pairs import check_pairs

LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float64)
SIDE = 8  # px


def scc(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """SCC of each pair, (B,) float64. ContractError for unlike sides, and for images smaller than the window (8 px)."""
    check_pairs(translated, reference, "scc", least_px=SIDE)
    bands = translated.pixels.shape[3]
    pairs = zip(translated.pixels, reference.pixels, strict=True)
    return np.array([np.mean([_of_band(x[:, :, i], y[:, :, i]) for i in range(bands)]) for x, y in pairs])


def _of_band(x: Shaped[np.ndarray, "H W"], y: Shaped[np.ndarray, "H W"]) -> float:
    # every number up to the division is an integer below 2^53, so float64 is exact: a flat window is exactly flat
    x, y = _high_pass(x), _high_pass(y)
    n = SIDE * SIDE
    sum_x, sum_y = _window_sum(x), _window_sum(y)
    variances = (n * _window_sum(x * x) - sum_x**2) * (n * _window_sum(y * y) - sum_y**2)
    covariance = n * _window_sum(x * y) - sum_x * sum_y
    defined = variances > 0
    return float(np.sum(covariance[defined] / np.sqrt(variances[defined])) / defined.size)


def _high_pass(x: Shaped[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    return cv2.filter2D(np.ascontiguousarray(x), cv2.CV_64F, LAPLACIAN, borderType=cv2.BORDER_REFLECT)


def _window_sum(x: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    anchor = (SIDE // 2, SIDE // 2)
    return cv2.boxFilter(x, cv2.CV_64F, (SIDE, SIDE), anchor=anchor, normalize=False, borderType=cv2.BORDER_CONSTANT)


metric = Metric(
    name="scc",
    signature="scc;laplacian8-symmetric;window8-zeropad;flat0;rgb-mean;v1",
    unit="",
    higher_is_better=True,
    rows=scc,
)
