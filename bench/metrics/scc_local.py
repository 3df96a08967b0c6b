"""Spatial correlation coefficient in small windows: does the fine structure go along with the reference's, place by place?

Unit: none, in [-1, 1]; higher is better; 1 for identical images without flat areas.
Formula: both images pass the Laplacian high-pass filter with eight neighbours (symmetric padding); the correlation of the two
results is taken in every 8x8 window (zero padding, the window reaching 4 px up and left and 3 px down and right); a window in
which one side is constant counts as 0; the mean over windows and bands. Brightness and contrast play no part.
Conventions: torchmetrics and sewar define it so; cdiffset clamps v + 0.5 to [0, 1] for v in [-1, 1] first. Given images in
[0, 1] in place of levels, torchmetrics takes rounding errors in flat areas for structure, and can be 0.1 higher.
Source: the filter of Zhou, Civco and Silander, Int. J. Remote Sensing 19(4), 1998, https://doi.org/10.1080/014311698215973,
in the windowed form that sewar and torchmetrics compute; the paper itself takes one correlation of the whole image, see scc.
Misleads: flat areas count as 0 even where both sides agree, so values of scenes with much water are low for every method, and
an identical pair can score below 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from sarbench.bench.metric import ImageBatch, Metric
from sarbench.bench.metrics._conventions import stretched
from sarbench.bench.metrics._pairs import check_pairs
from sarbench.bench.metrics._parallel import each

LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float64)
SIDE = 8  # px


def scc_local(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    """Local SCC of each pair, (B,) float64. ContractError for unlike sides, and for images smaller than the window (8 px)."""
    check_pairs(translated, reference, "scc_local", least_px=SIDE)
    return _mean_correlation(translated.pixels, reference.pixels)


def _of_cdiffset(translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
    check_pairs(translated, reference, "scc_local@cdiffset", least_px=SIDE)
    # in half levels of the peak, which are whole numbers again, so that a flat window is exactly flat
    x, y = (np.rint(stretched(images) * (2 * images.peak)) for images in (translated, reference))
    return _mean_correlation(x, y)


def _mean_correlation(x: Shaped[np.ndarray, "B H W C"], y: Shaped[np.ndarray, "B H W C"]) -> Float[np.ndarray, " B"]:
    """The mean over windows and bands; of whole numbers in any dtype."""
    tasks = [(i, band) for i in range(len(x)) for band in range(x.shape[3])]

    def work(task: tuple[int, int], planes: _Planes) -> float:
        i, band = task
        return planes.correlation(cv2.extractChannel(x[i], band), cv2.extractChannel(y[i], band))

    height, width = x.shape[1:3]
    return np.reshape(each(work, tasks, lambda: _Planes(height, width)), (len(x), -1)).mean(1)


class _Planes:
    """The memory that one band needs, to be used again for the next one: fresh memory costs as much as the work."""

    def __init__(self, height: int, width: int) -> None:
        self.planes = [np.empty((height, width)) for _ in range(8)]

    def correlation(self, x: Shaped[np.ndarray, "H W"], y: Shaped[np.ndarray, "H W"]) -> float:
        """The mean over all windows of one band."""
        # every number up to the division is an integer below 2^53, so float64 is exact: a flat window is exactly flat
        n = SIDE * SIDE
        high_x, high_y, square, sum_x, sum_y, power_x, power_y, covariance = self.planes
        for plane, high, total, power in ((x, high_x, sum_x, power_x), (y, high_y, sum_y, power_y)):
            cv2.filter2D(plane, cv2.CV_64F, LAPLACIAN, dst=high, borderType=cv2.BORDER_REFLECT)
            _window_sum(high, total)
            _window_sum(np.multiply(high, high, out=square), power)
            power *= n
            power -= np.multiply(total, total, out=square)
        _window_sum(np.multiply(high_x, high_y, out=square), covariance)
        covariance *= n
        covariance -= np.multiply(sum_x, sum_y, out=square)
        power_x *= power_y
        defined = power_x > 0
        np.sqrt(power_x, out=power_x)
        np.divide(covariance, power_x, out=covariance, where=defined)
        return float(covariance.sum(where=defined)) / defined.size


def _window_sum(x: Float[np.ndarray, "H W"], out: Float[np.ndarray, "H W"]) -> None:
    anchor = (SIDE // 2, SIDE // 2)
    size = (SIDE, SIDE)
    cv2.boxFilter(x, cv2.CV_64F, size, dst=out, anchor=anchor, normalize=False, borderType=cv2.BORDER_CONSTANT)


metric = Metric(
    name="scc_local",
    signature="scc_local;laplacian8-symmetric;window8-zeropad;flat0;rgb-mean;v1",
    unit="",
    higher_is_better=True,
    rows=scc_local,
)


def _convention(name: str, change: str = "", **fields: Any) -> Metric:
    signature = metric.signature.replace("scc_local;", f"scc_local@{name};{change}")
    return replace(metric, name=f"scc_local@{name}", signature=signature, **fields)


compat = {
    "torchmetrics": _convention("torchmetrics"),
    "sewar": _convention("sewar"),
    "cdiffset": _convention("cdiffset", "clamp(v+0.5);", rows=_of_cdiffset),
}
